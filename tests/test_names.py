"""Names in edgeft say what a thing is (`report`, `gate_results`), not that it exists (`found`, `made`)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import edgeft

PACKAGE = Path(edgeft.__file__).parent
VAGUE = frozenset(
    [
        "found",
        "made",
        "said",
        "told",
        "given",
        "kept",
        "wanted",
        "seen",
        "taken",
        "one",
        "each",
        "own",
        "both",
        "other",
        "whole",
        "every",
        "there",
        "now",
        "thing",
    ]
)
#: the share of all bindings that may be vague
LIMIT = 0.01


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that `tree` binds, with its line: functions, classes, parameters, variables and aliases."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno


def vague(source: str) -> list[tuple[str, int]]:
    return [(name, line) for name, line in bindings(ast.parse(source)) if name.strip("_") in VAGUE]


def test_names_say_what_a_thing_is() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    total = sum(len(list(bindings(ast.parse(source)))) for source in sources.values())
    places = [f"{path.relative_to(PACKAGE)}:{line}: {name}" for path, s in sources.items() for name, line in vague(s)]
    assert total > 10_000, "the package was not read"
    assert len(places) <= LIMIT * total, "\n".join(places)


def test_every_kind_of_binding_is_read() -> None:
    source = (
        "import json as made\n"
        "def found(told, *given, **kept):\n"
        "    for one in told:\n"
        "        wanted = [each for each in one]\n"
        "    try:\n"
        "        pass\n"
        "    except ValueError as seen:\n"
        "        pass\n"
    )
    names = {name for name, _ in vague(source)}
    assert names == {"made", "found", "told", "given", "kept", "one", "wanted", "each", "seen"}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by their base name where they are collected together (`scripts/test-board`)."""
    counts = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert counts and not [name for name, count in counts.items() if count > 1]
