"""`edgeft cpp`: a bundle as a C++ program."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "cpp",
    examples="""
    edgeft cpp bundles/intel-nuc --out runner
    cd runner && cmake -S . -B build && cmake --build build && ctest --test-dir build
    """,
)
@click.argument("bundle", type=PATH)
@click.option("--out", type=PATH, required=True, help="New folder of the project.")
@trust_option
@click.option("--overwrite", is_flag=True, help="Write into an --out that is not empty.")
def command(console: Console, bundle: Path, out: Path, trust: Path | None, overwrite: bool) -> Outcome:
    """Write BUNDLE as a CMake project in C++17 that proves itself on the bundle's samples."""
    from .. import api
    from ..core import files
    from ..cpp import project

    opened = api.load(bundle, trust)
    project.check(opened)
    with files.whole_out(out, overwrite=overwrite) as folder:
        result = {**project.write(opened, folder, say=console.say), "path": str(out)}

    return Outcome(result, f"{result['name']}: proves itself on {result['samples']} samples; {result['path']}")
