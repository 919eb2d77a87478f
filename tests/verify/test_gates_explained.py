"""Every gate that the code can write into a report has a row in docs/verdicts.md."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeft.core.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
#: what a report shows of a gate by its unit or by the metric of a task
UNITS = {"MB", "mJ", "rules broken"}


def explained() -> dict[str, set[str]]:
    """The subjects that the page lists of each gate, "" for a row of the gate by itself."""
    table = (ROOT / "docs" / "verdicts.md").read_text().partition("## The gates")[2].partition("\n## ")[0]
    names: dict[str, set[str]] = {}
    for name, subjects in re.findall(r"^\| `([\w]+)`(?: \(([^)]*)\))? \|", table, re.MULTILINE):
        names.setdefault(name, set()).update([subjects, *subjects.split(", ")])
    return names


def written(module: Path) -> Iterator[tuple[str, str]]:
    """(gate, subject) of what a module makes of `Verdict`, as far as they are constants; else ""."""
    tree = ast.parse(module.read_text())
    bound = vars(importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Verdict" and node.args:
            yield str(constant(node.args[0], bound)), ""
        if isinstance(node, ast.Call):
            yield from (("", constant(k.value, bound)) for k in node.keywords if k.arg == "metric")
        if isinstance(node, ast.Dict):
            keys = (getattr(key, "value", None) for key in node.keys)
            yield from (("", constant(v, bound)) for key, v in zip(keys, node.values) if key == "metric")
        if isinstance(node, ast.FunctionDef):
            given = zip(node.args.kwonlyargs, node.args.kw_defaults)
            yield from (("", constant(v, bound)) for name, v in given if name.arg == "metric" and v is not None)


def constant(node: ast.expr, bound: dict[str, object]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    value = bound.get(node.id) if isinstance(node, ast.Name) else None
    return value if isinstance(value, str) else ""


def test_every_gate_has_a_row() -> None:
    pytest.importorskip("torch")
    rooms = [ROOT / "edgeft" / name for name in ("verify", "personalize", "training_step")]
    modules = [ROOT / "edgeft" / "export" / "compiling.py", *(path for room in rooms for path in room.glob("*.py"))]
    gates = {gate for module in modules for gate in written(module)}
    names, subjects = ({gate[at] for gate in gates} - {""} for at in (0, 1))
    rows = explained()

    assert len(names) > 8 and names <= rows.keys()
    shown = {subject.removesuffix("_ms").replace("_", " ") for subject in subjects - UNITS}
    assert len(shown) > 20 and shown <= set.union(*rows.values()), shown - set.union(*rows.values())
    assert all(f"`{name}`" in (ROOT / "docs" / "verdicts.md").read_text() for name in ("pass", "unverified"))


def test_every_gate_that_the_record_names_has_a_row() -> None:
    (listed,) = re.findall(r"one of ([a-z,\s]+)\.", Verdict.__doc__ or "")
    assert set(re.split(r",\s+", listed)) == set(explained())
