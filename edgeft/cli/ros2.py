"""`edgeft ros2`: a bundle as a ROS 2 package."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "ros2",
    examples="""
    edgeft ros2 bundles/rpi5 --out ~/robot/src/edgeft_classifier
    cd ~/robot && colcon build && ros2 launch edgeft_digits edgeft_digits.launch.py
    """,
)
@click.argument("bundle", type=PATH)
@click.option("--out", type=PATH, required=True, help="New folder of the package, below the src of a workspace.")
@click.option("--name", default="", help="Name of the package.  [default: edgeft_ and that of the bundle]")
@trust_option
@click.option("--overwrite", is_flag=True, help="Write into an --out that is not empty.")
def command(console: Console, bundle: Path, out: Path, name: str, trust: Path | None, overwrite: bool) -> Outcome:
    """Write BUNDLE as a ROS 2 package (ament_python): a node with typed messages, parameters and a heartbeat."""
    from .. import api
    from ..core import files
    from ..ros2 import package

    opened = api.load(bundle, trust)
    package.check(opened, name)
    with files.whole_out(out, overwrite=overwrite) as folder:
        result = {**package.write(opened, folder, name=name, say=console.say), "path": str(out)}

    words = f"{result['package']}: reads {result['input']}, answers {result['answer']}; {result['path']}"
    return Outcome(result, words)
