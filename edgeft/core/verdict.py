"""One small type for every decision: the figure, its interval, the limit, and a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from .errors import InternalError
from .metric import gate_unit

PASS, FAIL, INCONCLUSIVE, ADVISORY, UNVERIFIED = "pass", "fail", "inconclusive", "advisory", "unverified"
VERDICTS = (PASS, FAIL, INCONCLUSIVE, ADVISORY, UNVERIFIED)
_BADNESS = {PASS: 0, INCONCLUSIVE: 1, FAIL: 2}


#: keys of a gate that are left out where they are empty
_OPTIONAL = ("graph", "recorded", "needs", "remedy", "n_to_decide")

Number = float  # a field of `Verdict` is itself called float


@dataclass(frozen=True)
class Verdict:
    """What one gate found.

    `name` is one of accuracy, agreement, parity, integer, latency, size, energy, compatibility, personalize,
    return. `drop` is
    positive when the quantized artifact is worse, in the metric's own unit. `ci95` is the interval of `drop` (or of the
    figure where there is no drop). `metric` says what was judged where a report has several gates of one name:
    parity of "preprocessing", with the "recorded outputs", with the "quantized graph". `graph` names the graph that was
    judged, in bundles of several. A gate that is not `required`, or whose verdict is `advisory` or `unverified`, does
    not affect the bundle's verdict. `unit` is the unit of the figures, see `core.metric`.
    `recorded` is the verdict that an earlier report records of a gate whose figures this run did not measure, None
    where it measured them. `needs` names what has to run before a gate that is `unverified` can be judged (a vendor's
    compiler), `remedy` the command that makes it run. `n_to_decide` is about how many samples would settle a decision
    that `n` leave open, 0 where they settle it or no number would.
    """

    name: str
    verdict: str
    why: str
    metric: str = ""
    float: Number | None = None
    quantized: Number | None = None
    drop: Number | None = None
    ci95: tuple[Number, Number] | None = None
    limit: Number | None = None
    n: int = 0
    required: bool = True
    graph: str = ""
    recorded: str | None = None
    unit: str = ""
    needs: str = ""
    remedy: str = ""
    n_to_decide: int = 0

    def __post_init__(self) -> None:
        if not self.unit:  # of the figures that only gates have
            object.__setattr__(self, "unit", gate_unit(self.name, self.metric))
        if self.verdict not in VERDICTS:  # a misspelt verdict would be no failure and so pass
            raise InternalError(f"{self.verdict!r} is not a verdict", where=self.name)

    def as_dict(self) -> dict[str, object]:
        """JSON values; without `graph` of a gate that judged the whole bundle, `recorded` of one that measured, and
        `needs`, `remedy` and `n_to_decide` of one that needs nothing."""
        return {key: value for key, value in asdict(self).items() if key not in _OPTIONAL or value}


def worst(verdicts: Iterable[Verdict]) -> str:
    """The verdict of a bundle: the worst of its required gates; nothing required was measured = `fail`."""
    deciding = [v.verdict for v in verdicts if v.required and v.verdict in _BADNESS]
    return max(deciding, key=_BADNESS.__getitem__) if deciding else FAIL


def exit_code(verdict: str, *, unverified: bool = False, strict: bool = False) -> int:
    """The exit code: 0 pass, 1 fail, 5 inconclusive; `strict` turns inconclusive and unverified into 1."""
    if verdict not in _BADNESS:
        raise InternalError(f"{verdict!r} is not a verdict of a bundle")
    if verdict == FAIL:
        return 1
    if verdict == INCONCLUSIVE:
        return 1 if strict else 5
    return 1 if strict and unverified else 0
