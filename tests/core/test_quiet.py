"""Blocks whose output is swallowed, whichever way it is printed."""

import ctypes
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from edgeft.core.quiet import quiet


def test_every_way_of_printing_is_swallowed_and_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as lines:
        print("from Python")
        os.write(2, b"from a descriptor\n")
        libc = ctypes.CDLL(None)
        libc.puts(b"from C")
        libc.fflush(None)
        logging.getLogger("a.package").warning("from a logger")
        warnings.warn("from a module", stacklevel=1)

    assert capfd.readouterr() == ("", "")
    assert {"from Python", "from a descriptor", "from C"} <= set(lines)
    assert not any("logger" in line or "module" in line for line in lines)


def test_what_follows_is_printed_again_after_an_error_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), quiet():
        raise ValueError("broken")
    print("heard")
    logging.getLogger("a.package").warning("logged")

    out, err = capfd.readouterr()
    assert out == "heard\n"
    assert logging.root.manager.disable < logging.WARNING
    assert "heard" not in err


@pytest.mark.parametrize(
    "code",
    [
        "from edgeft.models import pretrained; pretrained.package()",
        "from edgeft.backends.litert import session; session.version()",
    ],
    ids=["transformers", "litert"],
)
def test_packages_that_log_on_import_are_silent(code: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers" if "pretrained" in code else "ai_edge_litert")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
