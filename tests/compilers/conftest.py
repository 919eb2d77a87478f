"""Environments of compilers: stand-ins of the tests, and the vendors' own, which the slow tests install once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeft import compilers
from edgeft.compilers import environment as environments
from edgeft.compilers.environment import Environment
from edgeft.core.errors import Missing

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))


@pytest.fixture
def nothing_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folders in which no compiler was set up yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Environment]]:
    """The environment of a vendor's compiler, which stays in the user's cache; skipped where it cannot be made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))

        def environment(name: str) -> Environment:
            compiler = compilers.get(name)
            try:
                environments.setup(compiler)
            except Missing as error:
                pytest.skip(f"{compiler.title} cannot be installed here: {error.message}")
            made = environments.installed(compiler)
            assert made is not None
            return made

        yield environment
