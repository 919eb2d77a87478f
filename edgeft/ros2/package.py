"""Writes a bundle as a ROS 2 package of the build type ament_python."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .._version import __version__
from ..bundle.reader import Bundle, recorded_report
from ..core import files
from ..core.errors import UsageError

Say = Callable[[str], None]
#: the part that reads a message, by the kind of a bundle's inputs; every other kind is words
INPUTS = {
    **dict.fromkeys(("image", "letterbox", "windows"), "input_image"),
    "vector": "input_values",
    "sound": "input_sound",
    "tensors": "input_arrays",
}
WORDS = "input_words"
#: packages of messages that the node itself needs
_NEEDED = ("diagnostic_msgs", "rcl_interfaces")
_IMPORT = re.compile(r"^from (\w+_msgs)\.msg import", re.M)
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def name_of(bundle: Bundle) -> str:
    """The name of a bundle's package: that of the bundle as ROS 2 allows it."""
    words = re.findall(r"[a-z0-9]+", bundle.name.lower())
    return "_".join(["edgeft", *words])


def check(bundle: Bundle, name: str = "") -> str:
    """The name of the package that `write` would write; raises what it raises, before a folder is made."""
    name = name or name_of(bundle)
    if not _NAME.fullmatch(name):
        remedy = "take lower-case letters, digits and single underscores, a letter first"
        raise UsageError(f"{name!r} is no name of a ROS 2 package", where="--name", remedy=remedy)
    _parts(bundle)
    return name


def write(bundle: Bundle, out: Path, *, name: str = "", say: Say = lambda text: None) -> dict[str, Any]:
    """Write the package into `out`, a new or empty folder, with a copy of the bundle in it.

    `name` is that of the package (lower case, digits, underscores); "" makes one of the bundle's name. Returns {"path",
    "package", "input", "answer" (the message types), "files"}. Raises `UsageError` for a name that ROS 2 does not take
    and for a task whose inputs have no message.
    """
    name = check(bundle, name)
    reading, answering = _parts(bundle)
    verdict = (recorded_report(bundle.path) or {}).get("verdict")
    if verdict != "pass":
        say(f"WARNING: the verdict on the bundle {bundle.name} is {verdict or 'unknown: it has no report'}.")

    messages = _messages(reading, answering)
    code = {"__init__.py": "", "node.py": _part("node.py"), "messages.py": messages}
    needed = sorted({*_NEEDED, *_IMPORT.findall(messages)})
    texts = {f"{name}/{file}": text for file, text in code.items()}
    texts |= {
        "package.xml": _package_xml(bundle, name, needed),
        "setup.py": _SETUP.format(name=name, version=__version__),
        "setup.cfg": f"[develop]\nscript_dir=$base/lib/{name}\n[install]\ninstall_scripts=$base/lib/{name}\n",
        f"resource/{name}": "",
        f"launch/{name}.launch.py": _LAUNCH.format(name=name),
        "config/parameters.yaml": _PARAMETERS.format(name=name),
        "test/test_parity.py": _part("test_parity.py.txt").replace("@package@", name),
        "README.md": _readme(bundle, name, messages),
    }

    for file, text in texts.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(out / file, text)

    shutil.copytree(bundle.path, out / "bundle")
    types = _types(messages)
    return {
        "path": str(out),
        "package": name,
        "input": types["Input"],
        "answer": types["Answer"],
        "files": sorted(texts),
    }


def _parts(bundle: Bundle) -> tuple[str, str]:
    """The files of the part that reads messages and of the one that writes answers."""
    kind = str(bundle.preprocess.get("kind"))
    reading = INPUTS.get(kind, WORDS)
    if kind == "frames":
        raise UsageError(
            "the model takes a stack of frames, and a message holds one",
            where=str(bundle.path),
            remedy="collect the frames in a node of your own, which loads the bundle by `edgeft.load`",
        )
    if reading == WORDS and bundle.task.parse is None:
        raise UsageError(f"inputs of the task {bundle.task.name} have no message", where=str(bundle.path))
    return f"{reading}.py", f"answer_{bundle.task.answer or 'json'}.py"


def _part(file: str) -> str:
    return resources.files(__package__).joinpath("parts", file).read_text(encoding="utf-8")


def _messages(reading: str, answering: str) -> str:
    """messages.py: both parts as one module, its imports first."""
    heads, bodies = [], []
    for text in (_part(reading), _part(answering)):
        _, docstring, rest = text.split('"""', 2)
        imports = re.match(r"(?:\s*(?:import|from) [^\n]*\n)*", rest)
        assert imports is not None
        heads += [line for line in imports.group().splitlines() if line]
        bodies.append(f"# {docstring.strip().splitlines()[0]}\n{rest[imports.end() :].strip()}")

    plain = sorted({line for line in heads if line.startswith("import ")})
    others = sorted({line for line in heads if not line.startswith("import ")})
    words = f"#: whether inputs are words that the task parses\nWORDS = {reading == f'{WORDS}.py'}"
    parts = ['"""The messages of the node: what it reads and what it answers."""', "\n".join([*plain, *others]), words]

    return "\n\n".join([*parts, *(f"\n{body}" for body in bodies)]) + "\n"


def _types(messages: str) -> dict[str, str]:
    """{"Input": "sensor_msgs/Image", "Answer": ...}."""
    found = re.findall(r"^from (\w+)\.msg import (\w+) as (Input|Answer)$", messages, re.M)
    return {role: f"{package}/{kind}" for package, kind, role in found}


def _package_xml(bundle: Bundle, name: str, needed: list[str]) -> str:
    depends = "\n".join(f"  <exec_depend>{package}</exec_depend>" for package in ("rclpy", "launch_ros", *needed))
    what = escape(
        f"Runs {bundle.name}, a model for the task {bundle.task.name}, exported by edgeft for {bundle.target}."
    )

    return f"""<?xml version="1.0"?>
<?xml-model href="http://download.ros.org/schema/package_format3.xsd" schematypens="http://www.w3.org/2001/XMLSchema"?>
<package format="3">
  <name>{name}</name>
  <version>{__version__}</version>
  <description>{what}</description>
  <maintainer email="maintainer@example.com">maintainer</maintainer>
  <license>Apache-2.0</license>

  <!-- pip brings edgeft and the runtime: see README.md. -->
{depends}
  <test_depend>python3-pytest</test_depend>

  <export>
    <build_type>ament_python</build_type>
  </export>
</package>
"""


def _readme(bundle: Bundle, name: str, messages: str) -> str:
    types = _types(messages)
    runtime = next((each for each in bundle.runtime.boards if not each.isas), None)
    packages = " ".join(
        ["edgeft", *(runtime.requirements if runtime else bundle.runtime.packages), *bundle.task.packages]
    )

    return f"""# {name}

A ROS 2 node for the bundle `{bundle.name}` (task {bundle.task.name}, target {bundle.target}),
written by edgeft {__version__}.

```sh
pip install {packages}                          # edgeft: its wheel, version {__version__}; no torch
colcon build --packages-select {name} && source install/setup.bash
colcon test --packages-select {name}            # every sample of the bundle through the message, decided as recorded
ros2 launch {name} {name}.launch.py
```

| topic | type | |
| --- | --- | --- |
| `input` | `{types["Input"]}` | subscribed; remap it to your source |
| `answer` | `{types["Answer"]}` | published |
| `/diagnostics` | `diagnostic_msgs/DiagnosticArray` | heartbeat: latency, errors, whether the rate is held |

Parameters stand in `config/parameters.yaml`; `{name}/node.py` explains them. The node is yours to change. The license
in `package.xml` is that of the node; that of the model and its data is for you to state.
"""


_SETUP = '''"""Builds the package, the bundle in it."""

from pathlib import Path

from setuptools import setup

NAME = "{name}"
# Beside the code and not in it: pip compiles every .py of a package, and a bundle with further files is refused.
FOLDERS = ["bundle", *sorted(str(path) for path in Path("bundle").rglob("*") if path.is_dir())]
FILES = {{folder: [str(path) for path in Path(folder).iterdir() if path.is_file()] for folder in FOLDERS}}
BUNDLE = [(f"share/{{NAME}}/{{folder}}", files) for folder, files in FILES.items()]

setup(
    name=NAME,
    version="{version}",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{{NAME}}"]),
        (f"share/{{NAME}}", ["package.xml"]),
        (f"share/{{NAME}}/launch", [f"launch/{{NAME}}.launch.py"]),
        (f"share/{{NAME}}/config", ["config/parameters.yaml"]),
        *BUNDLE,
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={{"console_scripts": [f"node = {{NAME}}.node:main"]}},
)
'''
_LAUNCH = '''"""Starts the node with config/parameters.yaml; remap `input` to your source here."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch_ros.actions import Node


def generate_launch_description():
    """The node, started again where it ends."""
    parameters = Path(get_package_share_directory("{name}"), "config", "parameters.yaml")
    node = Node(package="{name}", executable="node", name="{name}", parameters=[str(parameters)], respawn=True)
    return LaunchDescription([node])
'''
_PARAMETERS = """# {name}: see PARAMETERS in node.py for what each means.
{name}:
  ros__parameters:
    rate_hz: 0.0
    heartbeat_s: 1.0
    stale_s: 5.0
    measure_calls: 299
    reliable: false
    min_score: 0.0
    threads: 0
"""
