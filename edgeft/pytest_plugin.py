"""pytest and exported models: a fixture that compares latency, and every gate of a bundle as a test.

    def test_latency(edgeft_bench):
        edgeft_bench("bundles/rpi5", against="main/rpi5")

    pytest --edgeft-bundle bundles/rpi5 --edgeft-data data/ --edgeft-against main/ --edgeft-markdown summary.md

A verdict of `fail` fails the test, `inconclusive` skips it with the reason (fails under `--edgeft-strict`). What was
not measured at all (no baseline, no runtime, a damaged bundle) fails: it is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .core.errors import EdgeftError

#: the gates that a report may have; those that a bundle's own report names are asked for
GATES = ("integer", "parity", "accuracy", "agreement", "latency", "size", "energy", "compatibility")
_RESULTS = pytest.StashKey[list[dict[str, Any]]]()
REGRESSION = "regression"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("edgeft", "exported models (edgeft)")
    group.addoption(
        "--edgeft-bundle",
        action="append",
        default=[],
        metavar="BUNDLE",
        help="verify this bundle, each gate one test; may be given several times",
    )

    group.addoption("--edgeft-data", metavar="DIR", help="data for the gates of accuracy and agreement")
    group.addoption(
        "--edgeft-against",
        metavar="DIR",
        help="compare latency with this bundle, or with the bundle of the same folder name in this folder",
    )

    group.addoption("--edgeft-baselines", metavar="DIR", help="folder of accepted bundles (edgeft bench --accept)")
    group.addoption("--edgeft-tolerance", type=float, metavar="PCT", help="slower by more than this fails (2)")
    group.addoption("--edgeft-seconds", type=float, metavar="S", help="time that a comparison may take (60)")
    group.addoption("--edgeft-strict", action="store_true", help="inconclusive and unverified verdicts fail")
    group.addoption("--edgeft-markdown", metavar="FILE", help="write all results as a summary for a pull request")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RESULTS] = []


@pytest.fixture
def edgeft_bench(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """A function `(bundle, against=None, *, tolerance=None, threads=None, seconds=None)` that judges a latency.

    Without `against`, `--edgeft-against` or the accepted baseline of the bundle counts. It returns the bench result
    where the verdict is `pass` or `advisory`, fails the test on `fail` and skips it on `inconclusive`.
    """
    config = request.config

    def bench(
        bundle: str | Path,
        against: str | Path | None = None,
        *,
        tolerance: float | None = None,
        threads: int | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        __tracebackhide__ = True
        return _compared(config, Path(bundle), against, tolerance, threads, seconds)

    return bench


@pytest.hookimpl(tryfirst=True)  # so that -k sees ours
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    for place in config.getoption("--edgeft-bundle"):
        node = _Bundle.from_parent(session, name=f"edgeft/{Path(place).name}", place=Path(place))
        items.extend(node.collect())


class _Bundle(pytest.Collector):
    """One bundle; verified once, in a process of its own, when the first of its tests runs."""

    def __init__(self, *, place: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = place
        self._report: dict[str, Any] | EdgeftError | None = None

    def collect(self) -> Iterator[pytest.Item]:
        config = self.config
        for gate in _gates(self.place):
            yield _Gate.from_parent(self, name=gate)
        if config.getoption("--edgeft-against") or config.getoption("--edgeft-baselines"):
            yield _Regression.from_parent(self, name=REGRESSION)

    def report(self) -> dict[str, Any]:
        from .core.errors import EdgeftError
        from .verify import isolated

        if self._report is None:
            try:
                self._report = isolated.run(self.place, data=self.config.getoption("--edgeft-data"))
                self.config.stash[_RESULTS].append({**self._report, "path": str(self.place)})
            except EdgeftError as error:
                self._report = error

        if isinstance(self._report, EdgeftError):
            pytest.fail(str(self._report), pytrace=False)

        return self._report


class _Gate(pytest.Item):
    def runtest(self) -> None:
        assert isinstance(self.parent, _Bundle)
        gate_results = [gate for gate in self.parent.report()["gates"] if gate["name"] == self.name]
        if not gate_results:
            pytest.fail(f"{self.name} was not measured", pytrace=False)

        ranks = ("fail", "inconclusive", "unverified", "advisory", "pass")
        _judge(
            self.config, min(gate_results, key=lambda gate: ranks.index(gate["verdict"]) + 9 * (not gate["required"]))
        )

    def reportinfo(self) -> tuple[Path, int | None, str]:
        assert isinstance(self.parent, _Bundle)
        return self.parent.place, None, f"{self.parent.name}::{self.name}"


class _Regression(_Gate):
    def runtest(self) -> None:
        assert isinstance(self.parent, _Bundle)
        _compared(self.config, self.parent.place, None, None, None, None)


def _gates(place: Path) -> list[str]:
    """The names of the gates in the report beside a bundle, each once; all that there are where it has none."""
    from .core import strict_json

    try:
        gates = strict_json.loads((place / "report.json").read_text(encoding="utf-8"))["gates"]
        return list(dict.fromkeys(str(gate["name"]) for gate in gates)) or list(GATES)
    except (OSError, ValueError, KeyError, TypeError):
        return list(GATES)


def _compared(
    config: pytest.Config,
    bundle: Path,
    against: str | Path | None,
    tolerance: float | None,
    threads: int | None,
    seconds: float | None,
) -> dict[str, Any]:
    __tracebackhide__ = True
    from . import api
    from .core.errors import EdgeftError

    against = against or config.getoption("--edgeft-against")
    if against is not None and not (Path(against) / "manifest.json").exists():
        against = Path(against) / bundle.name  # a folder of bundles

    try:
        result = api.bench(
            bundle,
            against,
            tolerance=tolerance if tolerance is not None else config.getoption("--edgeft-tolerance"),
            threads=threads,
            seconds=seconds or config.getoption("--edgeft-seconds") or 60.0,
            baselines=config.getoption("--edgeft-baselines"),
        )
    except EdgeftError as error:
        pytest.fail(str(error), pytrace=False)

    if "against" not in result:
        pytest.fail(f"{bundle}: there is nothing to compare with: edgeft bench {bundle} --accept", pytrace=False)

    config.stash[_RESULTS].append(result)
    from .report import words

    _judge(config, {**result, "why": words.slowdown(result), "required": True})
    return result


def _judge(config: pytest.Config, gate: Mapping[str, Any]) -> None:
    """Pass, fail or skip as a gate's verdict says."""
    __tracebackhide__ = True
    verdict, why, required = gate["verdict"], gate["why"], gate.get("required", True)
    if verdict == "pass" or (verdict == "advisory" and "against" in gate):
        return

    strict = config.getoption("--edgeft-strict") and verdict in ("inconclusive", "unverified")
    if (verdict == "fail" and required) or (strict and (required or verdict == "unverified")):
        pytest.fail(f"{verdict}: {why}", pytrace=False)

    pytest.skip(f"{verdict}: {why}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    place = session.config.getoption("--edgeft-markdown")
    results = session.config.stash[_RESULTS]
    if place and results:
        from .core import files
        from .report import markdown

        files.write_text(Path(place), markdown.render(results))
