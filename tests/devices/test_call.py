"""Work in another process: what it raises is raised here as it was."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from edgeft.core.errors import KINDS, EdgeftError, InternalError, UsageError
from edgeft.devices.call import call, held
from edgeft.devices.device import Here
from edgeft.devices.link import Link

pytestmark = pytest.mark.board


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_child_process_raises_the_same_class_with_place_and_remedy(name: str) -> None:
    code = f"from edgeft.core import errors\nraise errors.{name}('message', where='place', remedy='remedy')"
    with pytest.raises(EdgeftError) as raised:
        call(Here(), code, options={}, where=Path("bundle"))
    assert type(raised.value) is KINDS[name]
    assert (raised.value.message, raised.value.where, raised.value.remedy) == ("message", "place", "remedy")


def test_a_fault_in_a_child_process_is_called_what_it_is() -> None:
    # Left to the interpreter it may end by a signal, since the threads of a runtime still run.
    code = "import atexit, os\natexit.register(os.abort)\nobject().missing"
    with pytest.raises(InternalError, match="AttributeError: 'object' object has no attribute 'missing'"):
        call(Here(), code, options={}, where=Path("bundle"))


def test_a_worker_raises_the_same_class() -> None:
    with Link() as link, pytest.raises(UsageError, match="a worker cannot 'dance'") as raised:
        link.ask("dance")
    assert "known: open" in raised.value.remedy


def test_ctrl_c_at_the_start_ends_the_child_and_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        held([sys.executable, "-c", "import time; time.sleep(60)"])
    assert time.monotonic() - begun < 30, "the child was not waited for"
