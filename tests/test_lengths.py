"""Files and functions stay short: 400 lines a file, 60 lines a function from its `def` to its last line. Blank lines
part the steps of a function that has several.

A longer file says why in its docstring, in a sentence that begins with "Longer than 400 lines because". A longer
function has no such way out: it is split. `tests/fixtures` has what earlier versions wrote.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("edgeft", "scripts", "benchmarks", "tests", "examples")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
#: a function of as many statements in as many lines of code has steps that a blank line parts
STEPS, LINES_OF_STEPS = 6, 15
REASON = "Longer than 400 lines because "


def sources() -> list[Path]:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in paths if ROOT / "tests" / "fixtures" not in path.parents]


def stated(docstring: str) -> bool:
    """Whether a docstring has the sentence that says why a file is long: more than the words it begins with."""
    _, begins, reason = " ".join(docstring.split()).partition(REASON)
    return bool(begins) and "." in reason and len(reason.split(".")[0].split()) >= 4


def long_functions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Name, line and length of every function above the limit, nested ones and methods too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield node.name, node.lineno, length


def without_steps(tree: ast.AST, lines: list[str]) -> Iterator[tuple[str, int]]:
    """Name and line of every function of several steps that has no blank line behind its docstring."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        begins_with_text = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
        body = node.body[1:] if begins_with_text else node.body
        if len(body) < STEPS:
            continue
        first, last = body[0].lineno, body[-1].end_lineno or body[-1].lineno
        if last - first + 1 >= LINES_OF_STEPS and all(line.strip() for line in lines[first - 1 : last]):
            yield node.name, node.lineno


def too_long(source: str) -> list[str]:
    """What of a file is too long."""
    tree = ast.parse(source)
    lines = len(source.splitlines())
    faults = [f"{line}: {name} has {length} lines" for name, line, length in long_functions(tree)]
    if lines > LONGEST_FILE and not stated(ast.get_docstring(tree) or ""):
        faults.append(f"1: the file has {lines} lines and no reason in its docstring")
    return faults


def test_files_and_functions_are_short() -> None:
    paths = sources()
    assert len(paths) > 500, "the checkout was not read"
    faults = [f"{path.relative_to(ROOT)}:{fault}" for path in paths for fault in too_long(path.read_text("utf-8"))]
    assert not faults, "\n".join(faults)


def test_blank_lines_part_the_steps_of_functions() -> None:
    faults = []
    for path in sources():
        if ROOT / "tests" in path.parents:
            continue
        source = path.read_text("utf-8")
        for name, line in without_steps(ast.parse(source), source.splitlines()):
            faults.append(f"{path.relative_to(ROOT)}:{line}: {name} has no blank line between its steps")
    assert not faults, "\n".join(faults)

    source = "def f():\n" + "    pass\n" * 15
    assert list(without_steps(ast.parse(source), source.splitlines())) == [("f", 1)]
    parted = "def f():\n" + "    pass\n" * 7 + "\n" + "    pass\n" * 8
    assert not list(without_steps(ast.parse(parted), parted.splitlines()))


def test_the_limits_are_exact() -> None:
    def function(lines: int) -> str:
        return "def f():\n" + "    pass\n" * (lines - 1)

    assert too_long(function(60)) == [] and too_long(function(61)) == ["1: f has 61 lines"]
    method = "class A:\n    async " + function(61).replace("\n    ", "\n        ")
    assert too_long(method) == ["2: f has 61 lines"]
    assert too_long("x = 1\n" * 400) == [] and len(too_long("x = 1\n" * 401)) == 1


def test_only_a_reason_in_the_docstring_excuses_a_long_file() -> None:
    body = "x = 1\n" * 401
    assert too_long(f'"""A. {REASON}its tables\nare one list."""\n{body}') == []
    for docstring in ("A table.", f"{REASON}it is.", f"{REASON}of what it holds in one place"):
        assert len(too_long(f'"""{docstring}"""\n{body}')) == 1
    assert len(too_long(f"# {REASON}its tables are one list.\n{body}")) == 1
    assert len(too_long(f'"""A. {REASON}its tables are one list."""\n{body}' + "def f():\n" + "    pass\n" * 60)) == 1
