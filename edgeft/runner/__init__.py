"""A bundle's `run.py`: `core.py`, and after it one part for the kind of input and one for the task, as one file.

    core.py           the bundle's files, the runtimes, prediction and self-check
    <kind>.py         INPUTS (words for the help), read(path) -> raw, feeds(raw, spec) -> {input: tensor of one},
                      stored(samples, i) -> raw sample i of samples.npz, tolerance(spec) of what `feeds` gives
    say_<task>.py     tell(outputs, raw, spec, labels) -> words; decisions(expected, got, allowed) -> (same, all, fine);
                      compose(calls by graph name, spec) -> one call, where a model has several graphs

What a part leaves out has a default in `core.py`; a kind or task without a part only checks itself. Parts are Python
3.6 and numpy, import at their top only what `core.py` imports there, may import from `.core` and the parts before
them, and take none of their names.
"""

from __future__ import annotations

import ast
from importlib import resources

#: tasks that speak like another one
SAYS = {"keyword": "classify", "text-classify": "classify"}
#: kinds of input that share a part, which comes before theirs
NEEDS = {"image": "pixels", "letterbox": "pixels"}
_MAIN = 'if __name__ == "__main__":'


def text(kind: str, task: str) -> str:
    """The whole of run.py for models of `task` that take inputs of `kind` (the `preprocess` table's)."""
    folder = resources.files(__package__)
    before, main, after = folder.joinpath("core.py").read_text(encoding="utf-8").partition(_MAIN)
    names = (NEEDS.get(kind, "core"), kind, f"say_{SAYS.get(task, task)}".replace("-", "_"))
    files = [folder.joinpath(f"{name}.py") for name in names if name.isidentifier() and name != "core"]
    parts = [_own_lines(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return "".join([before, *(f"{part}\n\n" for part in parts), main, after])


def _own_lines(source: str) -> str:
    """A part without its imports, under its docstring as a comment."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    title = (ast.get_docstring(tree) or "").splitlines()[0]
    last = max(
        (node.end_lineno or 0 for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr))),
        default=0,
    )
    return f"# {title}\n\n{''.join(lines[last:]).strip()}\n"
