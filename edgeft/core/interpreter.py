"""How every Python process that edgeft starts is started: isolated, here and on boards.

`python -c` and `python -m` put the current folder first on the import path, and PYTHONPATH may name it: a `random.py`
or `numpy.py` that lies there would be executed. An isolated interpreter (`-I`) imports from neither. It ignores the
user's site-packages too, so what a process needs beyond its own installation is added by folder: those of this process,
or the site-packages of the board's user. edgeft itself is loaded from its own folder, whatever else lies beside that.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_EDGEFT = """
import importlib.util, os, sys
folder = os.path.abspath({package})
spec = importlib.util.spec_from_file_location("edgeft", os.path.join(folder, "__init__.py"))
sys.modules["edgeft"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["edgeft"])
del folder, spec
"""
_FOLDERS = """
import sys
sys.path[:] = [*(own := {folders}), *(folder for folder in sys.path if folder not in own)]
"""
_USER_SITE = """
import os, site, sys
if sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE"):
    if os.path.isdir(site.getusersitepackages()):
        site.addsitedir(site.getusersitepackages())
"""


def script(code: str, *args: str, python: str = sys.executable) -> list[str]:
    """The command that runs Python code that needs the standard library alone, with `args` in sys.argv[1:]."""
    return [python, "-I", "-c", code, *args]


def module(name: str, *args: str, python: str = sys.executable) -> list[str]:
    """The command that runs an installed module (`pip`, `venv`)."""
    return [python, "-I", "-m", name, *args]


def here(code: str, *args: str) -> list[str]:
    """The command that runs code with this interpreter, which imports what this process imports, this edgeft included.

    The current folder and the folder of the script that was started are left out.
    """
    package = Path(__file__).resolve().parents[1]
    return script(_FOLDERS.format(folders=ascii(import_folders())) + _edgeft(str(package)) + code, *args)


def there(python: str, package: str, code: str, *args: str) -> list[str]:
    """The command that runs code on a board, with the edgeft in the folder `package` (of the current one, or absolute)
    and the packages of the board's interpreter, those of its user included."""
    return script(_USER_SITE + _edgeft(package) + code, *args, python=python)


def emulated(python: str, package: str, folders: Sequence[str], code: str, *args: str) -> list[str]:
    """The command that runs code in an emulated system, whose packages lie in `folders`; this user's do not suit it.

    Nothing is written beside the sources, which may be in use by several processes.
    """
    start = f"import sys\nsys.path += {list(folders)!a}\n" + _edgeft(package)
    command, *rest = script(start + code, *args, python=python)
    return [command, "-B", *rest]


def import_folders() -> list[str]:
    """sys.path of this process without relative entries, the current folder, and the folder of the started script."""
    left_out = set()
    with contextlib.suppress(OSError):  # the current folder may be gone
        left_out.add(os.path.realpath(os.getcwd()))

    started = getattr(sys.modules.get("__main__"), "__file__", None)
    if started:
        left_out.add(os.path.dirname(os.path.realpath(started)))

    return [folder for folder in sys.path if os.path.isabs(folder) and os.path.realpath(folder) not in left_out]


def _edgeft(package: str) -> str:
    return _EDGEFT.format(package=ascii(package))
