"""Calibration: ranges of activations from observed values, scales of weights from the weights themselves.

Estimators: `minmax` (every value on the grid), `moving_average` (of each batch's ends), `percentile` (clips the tails),
`mse` (the clip that loses least, searched on a histogram; Banner et al., "Post training 4-bit quantization", 2019, use
the same criterion in closed form). With several processes the statistics are reduced, so all of them get equal ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import fx, nn

from ..core.errors import DataError
from ..graph.nodes import attribute
from .fakequant import MIN_SCALE, ActivationFakeQuant, WeightFakeQuant
from .rules import rule_of

BINS = 2048
#: XNNPACK takes sums that are worth less than 256 steps of the output (`xnn_create_convolution2d_nhwc_qs8`)
FINEST = 255
#: bytes of inputs that go through a network at once: the activations of a large picture's batch leave the processor's
#: caches, which costs twice the time and memory for the whole batch
PIECE_BYTES = 2**21
MOMENTUM = 0.1
#: {fake-quantize module: (low, high)}
Ranges = dict[str, tuple[float, float]]


def reduced(values: Sequence[float] | np.ndarray, how: str) -> np.ndarray:
    """`values` reduced over the processes of a distributed run ("min", "max", "sum"); unchanged in a single one."""
    tensor = torch.as_tensor(np.asarray(values, dtype=np.float64))
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        operations = {"min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX, "sum": dist.ReduceOp.SUM}
        dist.all_reduce(tensor, op=operations[how])

    combined: np.ndarray = tensor.numpy()
    return combined


def in_pieces(batch: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, ...]]:
    """The rows of a batch, as many at a time as `PIECE_BYTES` hold, at least one.

    A batch whose inputs have not all the same number of rows stays whole.
    """
    rows = {int(t.shape[0]) if t.dim() else 0 for t in batch}
    count = max(rows, default=0)
    size = sum(t.numel() * t.element_size() for t in batch)

    if len(rows) != 1 or count < 2 or size <= PIECE_BYTES:
        yield tuple(batch)
        return

    step = max(1, PIECE_BYTES * count // size)
    for start in range(0, count, step):
        yield tuple(t[start : start + step] for t in batch)


def _wider(first: tuple[float, ...], second: tuple[float, ...]) -> tuple[float, float]:
    """The range that holds both, (low, high); NaN stays, which Python's own `min` drops."""
    return float(np.minimum(first[0], second[0])), float(np.maximum(first[1], second[1]))


class RangeObserver(nn.Module):
    """Smallest and largest value seen, and the moving average of each batch's ends."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = float("inf"), float("-inf")
        self.batch = float("inf"), float("-inf")
        self.average: tuple[float, float] | None = None

    def forward(self, x: torch.Tensor) -> None:
        self.batch = _wider(self.batch, tuple(float(v) for v in torch.aminmax(x)))

    def end_batch(self) -> None:
        """Take the ends of the batch that has gone through, in however many pieces, into the ranges."""
        low, high = self.batch
        self.batch = float("inf"), float("-inf")
        if low > high:  # nothing came here
            return

        self.low, self.high = _wider((self.low, self.high), (low, high))
        old = self.average or (low, high)
        self.average = (old[0] + MOMENTUM * (low - old[0]), old[1] + MOMENTUM * (high - old[1]))

    def reduce(self) -> None:
        self.low, self.high = float(reduced([self.low], "min")[0]), float(reduced([self.high], "max")[0])
        # a process that saw nothing takes part in the exchange and counts for nothing
        count, low, high = reduced([1.0, *self.average] if self.average else [0.0, 0.0, 0.0], "sum")
        if count:
            self.average = float(low / count), float(high / count)


class HistogramObserver(nn.Module):
    """Counts in `BINS` equal bins between the ends that a first pass found."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.counts = np.zeros(BINS)

    def forward(self, x: torch.Tensor) -> None:
        self.counts += torch.histc(x.float(), BINS, self.low, self.high).double().numpy(force=True)

    @property
    def centers(self) -> np.ndarray:
        width = (self.high - self.low) / BINS
        return self.low + width * (np.arange(BINS) + 0.5)


def observe(graph: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]]) -> int:
    """Run the float graph in observe mode over batches of example inputs; returns how many samples it saw."""
    observers = [m for m in graph.modules() if isinstance(m, RangeObserver)]
    samples = 0
    with torch.no_grad():
        for batch in batches:
            for piece in in_pieces(batch):
                graph(*piece)
            for observer in observers:
                observer.end_batch()
            samples += int(batch[0].shape[0])

    return samples


def calibrate(
    graph: nn.Module,
    batches: Callable[[], Iterable[tuple[torch.Tensor, ...]]],
    *,
    estimator: str = "mse",
    percentile: float = 99.99,
) -> int:
    """Set every activation range of `graph` from the calibration batches; returns the number of samples seen.

    `batches()` starts the same data anew (two passes where a histogram is needed). Raises `DataError` when there is
    no sample, or a tensor holds NaN or infinity.
    """
    samples, by_estimator = observed_ranges(graph, batches, (estimator,), percentile)
    set_ranges(graph, by_estimator[estimator])
    return samples


def observed_ranges(
    graph: nn.Module,
    batches: Callable[[], Iterable[tuple[torch.Tensor, ...]]],
    estimators: Sequence[str],
    percentile: float = 99.99,
) -> tuple[int, dict[str, Ranges]]:
    """(samples seen, {estimator: {fake-quantize module: (low, high)}}) from one or two passes over the float network.

    Leaves all fake-quantize modules in the mode "quantize". Raises what `calibrate` raises.
    """
    modules = {n: m for n, m in graph.named_modules() if isinstance(m, ActivationFakeQuant) and not m.fixed}
    others = [m for m in _fakes(graph) if m not in modules.values()]
    for other in others:
        other.mode = "off"  # ranges are those of the float network

    observers: dict[str, RangeObserver] = {}
    for name, module in modules.items():
        observers[name] = RangeObserver()
        module.mode, module.observer = "observe", observers[name]

    samples = int(reduced([observe(graph, batches())], "sum")[0])
    if samples == 0:
        raise DataError("the calibration set is empty", remedy="calibration takes training images; give some")

    extremes: Ranges = {}
    for name, observer in observers.items():
        observer.reduce()
        if not np.isfinite([observer.low, observer.high]).all():
            raise DataError(
                f"activations in front of {name} are not finite ({observer.low}, {observer.high})",
                remedy="look for NaN in the inputs or in the weights",
            )
        extremes[name] = (observer.low, observer.high)

    by_estimator: dict[str, Ranges] = {"minmax": extremes}
    by_estimator["moving_average"] = {n: o.average or extremes[n] for n, o in observers.items()}
    if {"mse", "percentile"} & set(estimators):
        histograms = _histograms(graph, modules, extremes, batches)
        if "mse" in estimators:
            by_estimator["mse"] = {n: least_squares_range(h, modules[n]) for n, h in histograms.items()}
        if "percentile" in estimators:
            by_estimator["percentile"] = {n: percentile_range(h, percentile) for n, h in histograms.items()}

    for module in modules.values():
        module.observer = None

    for fake in _fakes(graph):
        fake.mode = "quantize"

    return samples, {estimator: by_estimator[estimator] for estimator in estimators}


def set_ranges(graph: nn.Module, ranges: Ranges) -> None:
    """Give every activation its range, and weights the scales at which biases fit."""
    for name, (low, high) in ranges.items():
        module = graph.get_submodule(name)
        assert isinstance(module, ActivationFakeQuant)
        module.set_range(low, high)
    if isinstance(graph, fx.GraphModule):
        floor_weight_scales(graph)
        floor_activation_scales(graph)  # by the scales of the weights, whose floors follow from those of their inputs
        floor_weight_scales(graph)


def floor_activation_scales(graph: fx.GraphModule) -> None:
    """Keep the step of a layer's output at or above 1/`FINEST` of what one step of its sums is worth.

    A finer one resolves nothing. Layers whose outputs are (almost) all zero would have one, behind a ReLU that never
    opens for example, and XNNPACK (LiteRT, ExecuTorch) refuses to load such a layer.
    """
    for node in graph.graph.nodes:
        if node.op != "call_function" or len(node.args) < 2 or not all(isinstance(a, fx.Node) for a in node.args[:2]):
            continue

        modules = [graph.get_submodule(str(a.target)) if a.op == "call_module" else None for a in node.args[:2]]
        source, weight = modules
        if not isinstance(source, ActivationFakeQuant) or not isinstance(weight, WeightFakeQuant):
            continue

        unit = source.parameters_of_grid()[0] * float(weight.scale().detach().max())
        for after in _grids_after(graph, node):
            if not after.fixed and after.parameters_of_grid()[0] * FINEST < unit:
                after.widen_to(unit / FINEST)


def _grids_after(graph: fx.GraphModule, node: fx.Node) -> Iterator[ActivationFakeQuant]:
    """The grids of a layer's output, behind its own clamp."""
    for user in node.users:
        module = graph.get_submodule(str(user.target)) if user.op == "call_module" else None
        rule = rule_of(user)
        if isinstance(module, ActivationFakeQuant):
            yield module
        elif rule is not None and rule.kind == "fuse":
            yield from _grids_after(graph, user)


def _fakes(graph: nn.Module) -> list[ActivationFakeQuant | WeightFakeQuant]:
    return [m for m in graph.modules() if isinstance(m, (ActivationFakeQuant, WeightFakeQuant))]


def _histograms(
    graph: nn.Module,
    modules: Mapping[str, ActivationFakeQuant],
    extremes: Ranges,
    batches: Callable[[], Iterable[tuple[torch.Tensor, ...]]],
) -> dict[str, HistogramObserver]:
    """What `modules` see in another pass over `batches`, of all processes."""
    histograms = {}
    for name, module in modules.items():
        low, high = extremes[name]
        histograms[name] = module.observer = HistogramObserver(low, high if high > low else low + 1e-6)

    observe(graph, batches())
    for histogram in histograms.values():
        histogram.counts = reduced(histogram.counts, "sum")

    return histograms


def floor_weight_scales(graph: fx.GraphModule) -> None:
    """Keep every bias inside int32: runtimes store it in units of input scale x weight scale.

    A channel whose weights are (almost) zero has a tiny scale, and its bias would saturate silently. The floor leaves
    a factor of 2^8 for scales that move in training; such a channel's weights round to zero either way. Steps of
    16-bit activations are 256 times finer, so that the same factor would make ordinary weights coarse: it is 2^2.
    """
    for module in graph.modules():
        if isinstance(module, WeightFakeQuant):
            module.floor.fill_(MIN_SCALE)  # that of an earlier calibration belongs to other ranges

    for node in graph.graph.nodes:
        if node.op != "call_function" or len(node.args) < 3 or not all(isinstance(a, fx.Node) for a in node.args[:3]):
            continue

        source, weight, bias = node.args[:3]
        factor = getattr(graph, str(bias.target)) if bias.op == "call_module" else None
        if factor is not None:
            (bias,) = bias.all_input_nodes

        if bias.op != "get_attr" or weight.op != "call_module" or source.op != "call_module":
            continue

        fake, before = getattr(graph, str(weight.target)), getattr(graph, str(source.target))
        if isinstance(fake, WeightFakeQuant) and isinstance(before, ActivationFakeQuant):
            values = attribute(graph, str(bias.target)).detach()
            values = (values if factor is None else factor(values)).abs()
            values = values.amax().expand(1) if fake.axis is None else values
            room = 23 if before.numeric.bits <= 8 else 29
            least = values / (before.parameters_of_grid()[0] * 2.0**room)
            fake.floor.copy_(torch.maximum(fake.floor, least.to(fake.floor)))


def percentile_range(histogram: HistogramObserver, percentile: float) -> tuple[float, float]:
    """The central `percentile` per cent of the values, ends of their bins."""
    total = np.cumsum(histogram.counts)
    tail = (1 - percentile / 100) / 2 * total[-1]
    width = (histogram.high - histogram.low) / BINS
    first = int(np.searchsorted(total, tail, side="right"))
    last = int(np.searchsorted(total, total[-1] - tail, side="left"))
    low = histogram.low if histogram.low >= 0 else histogram.low + width * first

    return low, min(histogram.high, histogram.low + width * (last + 1))


def least_squares_range(histogram: HistogramObserver, module: ActivationFakeQuant) -> tuple[float, float]:
    """The clipped range with the least squared error of rounding and clipping, each end searched in turn."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    used = histogram.counts > 0
    x, count = histogram.centers[used], histogram.counts[used]
    ratios = np.linspace(0.3, 1.0, 71)

    def errors(lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
        if module.symmetric:
            scale = np.maximum(np.maximum(-lows, highs) / module.q_max, 1e-12)
            zero = np.zeros_like(scale)
        else:
            scale = np.maximum((highs - lows) / (module.q_max - module.q_min), 1e-12)
            zero = np.clip(np.rint(module.q_min - lows / scale), module.q_min, module.q_max)

        q = np.clip(np.rint(x / scale[:, None]) + zero[:, None], module.q_min, module.q_max)
        errors: np.ndarray = (((q - zero[:, None]) * scale[:, None] - x) ** 2 * count).sum(1)
        return errors

    for _ in range(2):
        if high > 0:
            candidates = max(histogram.high, 0.0) * ratios
            high = float(candidates[np.argmin(errors(np.full_like(candidates, low), candidates))])
        if low < 0:
            candidates = min(histogram.low, 0.0) * ratios
            low = float(candidates[np.argmin(errors(candidates, np.full_like(candidates, high)))])

    full_range = (min(histogram.low, 0.0), max(histogram.high, 0.0))
    # A module's own scale is float32: where next to nothing is lost, that decides.
    return min((full_range, (low, high)), key=lambda ends: _error_on_grid(x, count, module, *ends))


def _error_on_grid(x: np.ndarray, count: np.ndarray, module: ActivationFakeQuant, low: float, high: float) -> float:
    """The squared error of values `x` on the very grid that the module makes of a range, which it is left with."""
    module.set_range(low, high)
    scale, zero = module.parameters_of_grid()
    q = np.clip(np.rint(x / scale) + zero, module.q_min, module.q_max)
    return float((((q - zero) * scale - x) ** 2 * count).sum())


#: weights searched at a time: they stay in the cache
PIECE = 2**15
#: weights of one channel that the clip search looks at; of a longer one it takes a fixed random choice
SEARCHED = 4096


def weight_scales(module: WeightFakeQuant, weight: torch.Tensor, method: str) -> None:
    """Set the scales of one weight: `minmax` (largest magnitude) or `mse` (the clip with the least squared error)."""
    rows = module._rows(weight)
    top = torch.maximum(rows.amax(1), -rows.amin(1)).double()
    best = top / module.q_max

    if method == "mse":
        searched = max(SEARCHED, 2**20 // rows.shape[0])
        if rows.shape[1] > searched:  # else a layer of a hundred million weights takes minutes
            chosen = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(0))[:searched]
            rows = rows[:, chosen.to(rows.device)]
        some = max(1, PIECE // rows.shape[1])
        best = torch.cat([_least_squares(r, t, module) for r, t in zip(rows.split(some), top.split(some))])

    # a channel of zeros still needs a positive scale of the layer's own size
    empty = top == 0
    if bool(empty.any()):
        best = torch.where(empty, best[~empty].mean() if bool((~empty).any()) else torch.ones_like(best), best)

    module.set_scale(best)


def _least_squares(rows: torch.Tensor, top: torch.Tensor, module: WeightFakeQuant) -> torch.Tensor:
    """The scale of each row whose rounding and clipping lose least.

    In numpy, since torch shares even small roundings out over its threads: on a busy machine that took minutes.
    """
    values, highest = rows.numpy(force=True).astype(np.float64), top.numpy(force=True)
    best, least = highest / module.q_max, np.full(len(highest), np.inf)
    for ratio in np.linspace(0.5, 1.0, 51):
        scale = np.maximum(highest * ratio / module.q_max, 1e-12)
        q = np.rint(values / scale[:, None])
        np.clip(q, module.q_min, module.q_max, out=q)
        q *= scale[:, None]
        q -= values
        error = np.einsum("rc,rc->r", q, q)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)

    return torch.from_numpy(best).to(top.device)
