"""Strict TOML tables: types, line numbers, and text that parses back to the same values."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.config import tables
from edgeft.core.errors import RecipeError, SystemFailure

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

scalars = (
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_value_text_is_toml_that_parses_back(value: Any) -> None:
    back = tomllib.loads(f"v = {tables.value_text(value)}")["v"]
    assert back == value
    assert repr(back) == repr(value)  # 1 stays an int, 1.0 a float, True a bool


words = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)


@given(st.dictionaries(words, st.dictionaries(words, scalars, min_size=1, max_size=4), min_size=1, max_size=4))
def test_locate_finds_every_key_of_a_written_text(document: dict[str, dict[str, Any]]) -> None:
    lines: list[str] = []
    for table, entries in document.items():
        lines += ["", f"[{table}]  # about [{table}]"]
        lines += [f"{key} = {tables.value_text(value)}" for key, value in entries.items()]
    text = "\n".join(lines)
    for table, entries in document.items():
        for key in entries:
            number = tables.locate(text, (table, key))
            assert lines[number - 1].startswith(f"{key} = ")
            assert f"[{table}]  #" in "\n".join(lines[:number])


def test_locate_is_not_fooled_by_strings_arrays_comments_or_inline_tables() -> None:
    text = '''# epochs = 1
note = """
[train]
epochs = 2
"""
list = [
  "[train]", # epochs = 3
  """epochs = 4""",
]
model.name = "x = 5"
[ "train" ]
lr = 1
epochs = 6
[data]
split = { epochs = 7 }
[[boards]]
name = "a"
'''
    found = {
        path: tables.locate(text, path)
        for path in [
            ("train", "epochs"),
            ("train",),
            ("train", "absent"),
            ("model", "name"),
            ("data", "split", "epochs"),
            ("boards", "name"),
            ("nothing",),
        ]
    }
    assert list(found.values()) == [13, 11, 11, 10, 15, 17, 0]


@given(st.text())
def test_any_text_is_parsed_or_refused_with_its_place(text: str) -> None:
    source = tables.Source("any.toml", text, RecipeError)
    try:
        table = tables.parse(source)
    except RecipeError as error:
        assert error.where.startswith("any.toml")
    else:
        assert isinstance(table, dict)
        assert tables.locate(text, ("a", "b")) >= 0


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = = 2\n", 2), ("a = 1\na = 2\n", 2), ('a = "open\n', 1), ("a = [1,\n2", 2), ("a = 1\n\n[t\nb = 1", 3)],
)
def test_syntax_errors_carry_the_line(text: str, line: int) -> None:
    with pytest.raises(RecipeError) as caught:
        tables.parse(tables.Source("r.toml", text, RecipeError))
    assert caught.value.where == f"r.toml:{line}"
    assert "not valid TOML" in caught.value.message


def test_a_text_nested_too_deeply_and_a_huge_number_are_refused() -> None:
    for text in ("a = " + "[" * 100_000, "a = " + "9" * 10_000):
        with pytest.raises(RecipeError):
            tables.parse(tables.Source("r.toml", text, RecipeError))


def test_read_says_why_a_file_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        tables.read(tmp_path / "absent.toml", RecipeError)
    (tmp_path / "recipe.toml").write_text("a = 1")
    with pytest.raises(RecipeError, match=r"did you mean '.*recipe\.toml'"):
        tables.read(tmp_path / "recepi.toml", RecipeError)
    with pytest.raises(RecipeError, match="directory"):
        tables.read(tmp_path, RecipeError)
    with pytest.raises(RecipeError, match="cannot be read"):
        tables.read("a\x00b", RecipeError)
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(RecipeError, match="not UTF-8") as caught:
        tables.read(tmp_path / "latin.toml", RecipeError)
    assert caught.value.where.endswith("latin.toml:2")
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    assert tables.parse(tables.read(tmp_path / "bom.toml", RecipeError)) == {"a": 1, "b": 2}

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(SystemFailure) as refused:
        tables.read(tmp_path / "bom.toml", RecipeError)
    assert refused.value.exit_code == 6


@dataclass(frozen=True)
class Inner:
    ratio: float = 0.5


@dataclass(frozen=True)
class Outer:
    title: str
    count: int = 0
    maybe: float | None = None
    flag: bool = False
    pair: tuple[int, int] | None = None
    many: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


def build(table: dict[str, Any], text: str = "") -> Outer:
    return tables.build(Outer, table, tables.Source("o.toml", text, RecipeError))


def test_build_converts_what_toml_means() -> None:
    free = {"a": [1, {"b": 2.0}], "c": True}
    made = build(
        {
            "title": "t",
            "maybe": 1,
            "pair": [1, 2],
            "many": ["x"],
            "sizes": {"*": 5},
            "free": free,
            "inner": {"ratio": 1},
        }
    )
    assert made == Outer("t", 0, 1.0, False, (1, 2), ("x",), {"*": 5}, free, Inner(1.0))
    assert isinstance(made.maybe, float)
    assert isinstance(made.inner.ratio, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "'title' is missing"),
        ({"title": 1}, "'title' must be a string, not 1 (a whole number)"),
        ({"title": "t", "count": True}, "'count' must be a whole number, not True (true or false)"),
        ({"title": "t", "count": 1.0}, "'count' must be a whole number"),
        ({"title": "t", "flag": 1}, "'flag' must be true or false"),
        ({"title": "t", "maybe": "1"}, "'maybe' must be a number"),
        ({"title": "t", "maybe": float("nan")}, "'maybe' must be a finite number"),
        ({"title": "t", "maybe": 10**400}, "'maybe' must be a finite number"),
        ({"title": "t", "pair": [1]}, "'pair' must have 2 members"),
        ({"title": "t", "pair": [1, "2"]}, "'pair[1]' must be a whole number"),
        ({"title": "t", "many": "x"}, "'many' must be a list"),
        ({"title": "t", "sizes": {"a": "b"}}, "'sizes.a' must be a whole number"),
        ({"title": "t", "inner": 3}, "'inner' must be a table"),
        ({"title": "t", "inner": {"ration": 3}}, "unknown key 'inner.ration'"),
        ({"title": "t", "free": {"when": object()}}, "'free.when' must be a string, number, list or table"),
    ],
)
def test_build_refuses_and_says_what(table: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build(table)
    assert message in caught.value.message


def test_build_names_line_and_nearest_key() -> None:
    text = 'title = "t"\n[inner]\n\nration = 3\n'
    with pytest.raises(RecipeError) as caught:
        build(tomllib.loads(text), text)
    assert caught.value.where == "o.toml:4"
    assert caught.value.remedy == "did you mean 'ratio'?"
    text = 'title = "t"\n\nmany = ["a",\n 5]\n'
    with pytest.raises(RecipeError) as caught:
        build(tomllib.loads(text), text)
    assert caught.value.where == "o.toml:3"
