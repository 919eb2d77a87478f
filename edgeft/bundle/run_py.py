"""A bundle's `run.py`: the common part, and one part each for the runtime, the kind of input and the task.

    core/runner.py             the bundle's files, prediction and self-check
    backends/<name>/loader.py  RUNTIME, its name; open_model(path, threads, options) -> (input names, output names,
                               run), where run takes and gives lists of arrays in that order
    metrics/run_<name>.py      what parts of tasks share, such as the search of a text
    inputs/run_<kind>.py       INPUTS (words for the help), read(path, spec) -> raw, feeds(raw, spec) -> {input: tensor
                               of one}, stored(samples, i) -> raw sample i of samples.npz, tolerance(spec) of `feeds`
    tasks/<task>/run_part.py   tell(outputs, raw, spec, labels) -> words; decisions(expected, got, allowed) ->
                               (same, all, fine) of an output, decides(its name) -> whether it decides anything;
                               in_order_of(expected, got) -> `got` with the rows of sets in the order of `expected`;
                               compose(calls by graph name, spec) -> one call, of several graphs;
                               `Task.run_part_of` has other parts for some kinds of input
    inputs/run_<kind>_stream.py and the task's stream_part.py, where the task answers streams: RULE, {option: default};
                               listen(call, name of the file, manifest, options) -> lines

What a part leaves out has a default in the common part; a kind or task without a part only checks itself. Parts are
Python 3.6 and numpy, import at their top only what `core/runner.py` imports there, may import from it and from the
parts before them, and take none of their names.
"""

from __future__ import annotations

import ast
from importlib import resources

from .. import backends
from ..plugins import TASKS

#: kinds of input whose models share parts, which come before theirs: "package/file"
PIXELS, FILES, CLIP = "inputs/run_pixels.py", "inputs/run_picture_file.py", "inputs/run_clip.py"
SEARCH = "metrics/run_beam_search.py"
NEEDS = {
    "image": (PIXELS, FILES),
    "frames": (PIXELS,),
    "letterbox": (PIXELS, FILES),
    "windows": (PIXELS, FILES),
    "sound": (CLIP,),
    "waveform": (CLIP,),
    "log_mel": (CLIP, SEARCH),
    "pairs": (SEARCH,),
}
_MAIN = 'if __name__ == "__main__":'


def text(backend: str, kind: str, task: str) -> str:
    """The whole of run.py for models of `task` in the runtime `backend`, with inputs of `kind` (of `preprocess`).

    Raises `UsageError` for an unknown runtime.
    """
    package = resources.files("edgeft")
    before, main, after = package.joinpath("core", "runner.py").read_text(encoding="utf-8").partition(_MAIN)
    own = (f"inputs/run_{kind}.py",) if kind.isidentifier() else ()
    parts = [package.joinpath(*name.split("/")) for name in (*NEEDS.get(kind, ()), *own)]
    record = TASKS.get(task)
    stream = record.stream_part_text()

    if stream and (package / "inputs" / f"run_{kind}_stream.py").is_file():
        parts.append(package.joinpath("inputs", f"run_{kind}_stream.py"))
    else:
        stream = ""

    sources = [backends.get(backend).loader_text(), *(p.read_text(encoding="utf-8") for p in parts if p.is_file())]
    texts = [_own_lines(source) for source in (*sources, record.run_part_text(kind), stream) if source]
    return "".join([before, *(f"{text}\n\n" for text in texts), main, after])


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
