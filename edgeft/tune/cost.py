"""The memory that a training step will need, before it is run: an account of the forward pass, op by op.

`record` follows one forward pass and notes which tensors each op reads and writes. `Trace.saved` then says, for any set
of trainable parameters, what the backward passes of `frugal` and of torch have to keep: nothing below the first
trainable parameter, one bit an element of a ReLU, an input only where the weight is trainable, and of it only the
trainable channels. A storage that several ops keep counts once; parameters exist anyway and do not count. After Lin et
al., "On-device training under 256KB memory" (2022). `memory.SavedBytes` measures the same thing in a real step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..quantize.fakequant import ActivationFakeQuant, WeightFakeQuant

#: what the gradient of an op needs, by the name under which torch calls it
_NOTHING = (
    "add add_ __add__ __radd__ __iadd__ iadd sub sub_ __sub__ __rsub__ rsub neg cat concat stack view reshape "
    "flatten permute transpose t mean sum pad chunk split unbind getitem __getitem__ expand contiguous unsqueeze "
    "squeeze to float clone interpolate upsample_nearest2d upsample_bilinear2d zero_pad2d narrow select slice "
    "movedim roll flip avg_pool1d channel_shuffle pixel_shuffle pixel_unshuffle unflatten repeat type_as view_as "
    "constant_pad_nd alias "
)
_KINDS: dict[str, str] = {
    **dict.fromkeys(_NOTHING.split(), "nothing"),
    **dict.fromkeys(("conv1d", "conv2d", "linear"), "weighted"),
    **dict.fromkeys(("relu", "relu_"), "mask"),
    **dict.fromkeys(("relu6", "hardtanh", "hardtanh_"), "clamp"),
    "batch_norm": "norm",
    **dict.fromkeys(
        ("gelu", "silu", "silu_", "hardswish", "hardswish_", "hardsigmoid", "log", "avg_pool2d", "leaky_relu", "mish"),
        "input",
    ),
    **dict.fromkeys(("sigmoid", "tanh", "softmax", "log_softmax", "exp", "sqrt", "rsqrt"), "output"),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__rmul__", "matmul", "__matmul__", "bmm", "mm", "einsum"), "product"),
    "max_pool2d": "max_pool",
    "layer_norm": "layer_norm",
    "embedding": "indices",
    "dropout": "dropout",
    "adaptive_avg_pool2d": "adaptive",
    "cross_entropy": "cross_entropy",
}


@dataclass(frozen=True)
class Call:
    """One op. Tensors are storages by key; `elements` are those of the output, `extra` bytes that it makes anew."""

    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    elements: int = 0
    extra: int = 0
    layer: str = ""  # the fake-quantize module


@dataclass
class Trace:
    """A forward pass: `calls` in order, `sizes` {storage: bytes}, `parameters` {storage: names}."""

    calls: list[Call] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    parameters: dict[int, tuple[str, ...]] = field(default_factory=dict)
    #: {fake-quantize module: the name of its scale}
    scales: dict[str, str] = field(default_factory=dict)

    def saved(
        self, trainable: Collection[str], shares: Mapping[str, float] | None = None, *, frugal: bool = True
    ) -> int:
        """Bytes that a step saves for its backward pass for the names in `trainable`.

        `shares` {weight: trainable share of its input channels}; a weight that is not in it is trained as a whole.
        Without `frugal` a ReLU keeps its output, as it does under the policy `full`.
        """
        return _Account(self, trainable, shares or {}, frugal).total()


class _Account:
    def __init__(self, trace: Trace, trainable: Collection[str], shares: Mapping[str, float], frugal: bool) -> None:
        self.trace, self.trainable, self.shares, self.frugal = trace, trainable, shares, frugal
        self.needs = {key for key, names in trace.parameters.items() if any(n in trainable for n in names)}
        self.kept: set[int] = set()
        self.own = 0  # bytes that ops make for themselves
        self.part: dict[int, float] = {}  # weight on its grid -> share
        self.again: set[int] = set()  # frozen weights on their grid: made again, not kept

    def total(self) -> int:
        for call in self.trace.calls:
            needs_grad = [key in self.needs for key in call.reads]
            if any(needs_grad) or self._scale(call):
                getattr(self, f"_{call.kind}")(call, needs_grad)
                self.needs.update(call.writes)
            elif call.kind == "weight":
                self.again.update(call.writes)
            else:
                self.needs.difference_update(k for k in call.writes if k not in self.trace.parameters)

        sizes = self.trace.sizes
        return self.own + sum(sizes[k] for k in self.kept if k not in self.trace.parameters)

    def _scale(self, call: Call) -> bool:
        return bool(call.layer) and self.trace.scales.get(call.layer, "") in self.trainable

    def _share(self, weight: int) -> float:
        if weight in self.part:
            return self.part[weight]
        return min((self.shares.get(n, 1.0) for n in self.trace.parameters.get(weight, ())), default=1.0)

    # -- what each kind of op keeps --------------------------------------------------------------------------------
    def _nothing(self, call: Call, needs_grad: list[bool]) -> None:
        pass

    def _weighted(self, call: Call, needs_grad: list[bool]) -> None:
        x, weight = call.reads[:2]
        if needs_grad[1]:
            share = self._share(weight)
            if share < 1:
                self.own += round(share * call.extra)
            else:
                self.kept.add(x)

        if needs_grad[0] and weight not in self.again:
            self.kept.add(weight)

    def _mask(self, call: Call, needs_grad: list[bool]) -> None:
        if self.frugal:
            self.own += -(-call.elements // 8)
        else:
            self.kept.update(call.writes)

    def _clamp(self, call: Call, needs_grad: list[bool]) -> None:
        if self.frugal:
            self.own += -(-call.elements // 8)
        elif call.reads[0] in call.writes:  # in place: torch keeps a copy of what was there
            self.own += call.extra
        else:
            self.kept.add(call.reads[0])

    def _norm(self, call: Call, needs_grad: list[bool]) -> None:
        x, weight = call.reads[0], call.reads[1] if len(call.reads) > 1 else -1
        if not call.layer or weight in self.needs:  # statistics of the batch
            self.kept.add(x)
        self.own += call.extra

    def _input(self, call: Call, needs_grad: list[bool]) -> None:
        self.kept.add(call.reads[0])

    def _output(self, call: Call, needs_grad: list[bool]) -> None:
        self.kept.update(call.writes)

    def _product(self, call: Call, needs_grad: list[bool]) -> None:
        for at, key in enumerate(call.reads):
            if any(needs_grad[:at] + needs_grad[at + 1 :]):
                self.kept.add(key)

    def _max_pool(self, call: Call, needs_grad: list[bool]) -> None:
        self.kept.add(call.reads[0])
        self.own += 8 * call.elements  # positions, int64

    def _layer_norm(self, call: Call, needs_grad: list[bool]) -> None:
        self.kept.add(call.reads[0])
        self.own += call.extra

    def _indices(self, call: Call, needs_grad: list[bool]) -> None:
        self.kept.add(call.reads[0])

    def _dropout(self, call: Call, needs_grad: list[bool]) -> None:
        self.own += call.extra

    def _adaptive(self, call: Call, needs_grad: list[bool]) -> None:
        if call.extra:
            self.kept.add(call.reads[0])

    def _cross_entropy(self, call: Call, needs_grad: list[bool]) -> None:
        self.own += call.extra
        self.kept.update(call.reads[1:2])

    def _unknown(self, call: Call, needs_grad: list[bool]) -> None:
        """An op without a rule is assumed to save all of its inputs and outputs."""
        self.kept.update(call.reads)
        self.kept.update(call.writes)

    def _weight(self, call: Call, needs_grad: list[bool]) -> None:
        """A fake-quantized trainable weight: it is saved where its scale is trainable too, else one bit an element."""
        if not self._scale(call):
            self.own += -(-call.elements // 8)
        else:
            self.own += call.extra
        self.part[call.writes[0]] = self._share(call.reads[0])

    def _activation(self, call: Call, needs_grad: list[bool]) -> None:
        if self._scale(call):
            self.kept.add(call.reads[0])
            self.own += call.extra
        else:
            self.own += -(-call.elements // 8)


class _Recorder(TorchFunctionMode):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.trace, self.inside = Trace(), 0
        self.alive: list[torch.Tensor] = []
        for name, parameter in module.named_parameters(remove_duplicate=False):
            key = self.key(parameter)
            self.trace.parameters[key] = (*self.trace.parameters.get(key, ()), name)

    def key(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        key: int = storage.data_ptr()
        if key not in self.trace.sizes:
            self.alive.append(tensor)  # so that no other storage takes its place
            self.trace.sizes[key] = storage.nbytes()
        return key

    def note(self, kind: str, reads: list[torch.Tensor], writes: list[torch.Tensor], **more: Any) -> None:
        self.trace.calls.append(
            Call(
                kind, tuple(map(self.key, reads)), tuple(map(self.key, writes)), sum(t.numel() for t in writes), **more
            )
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.inside or not torch.is_grad_enabled():
            return result

        writes = [t for t in _tensors(result) if t.is_floating_point()]
        if not writes:
            return result

        name = getattr(func, "__name__", str(func)).split(".")[0]
        tensors = list(_tensors((args, kwargs)))
        kind = _KINDS.get(name, "unknown")
        if all(any(w.untyped_storage().data_ptr() == g.untyped_storage().data_ptr() for g in tensors) for w in writes):
            kind = kind if name.endswith("_") or kind in ("mask", "clamp") else "nothing"  # a view, or `__get__`

        extra, layer = 0, ""
        if kind in ("weighted", "clamp"):
            extra = tensors[0].numel() * tensors[0].element_size()
        elif kind == "norm":
            tensors, extra, layer = _norm_tensors(args, kwargs)
        elif kind == "layer_norm":
            extra = 8 * (tensors[0].numel() // max(1, tensors[-1].numel()))
        elif kind == "dropout":
            training = kwargs.get("training", args[2] if len(args) > 2 else True)
            extra = writes[0].numel() * writes[0].element_size() if training and kwargs.get("p", 0.5) else 0
        elif kind == "adaptive":
            extra = int(writes[0].dim() < 4 or writes[0].shape[-1] * writes[0].shape[-2] > 1)
        elif kind == "cross_entropy":
            extra = 4 + tensors[0].numel() * tensors[0].element_size()
        elif kind == "unknown":
            tensors = [t for t in tensors if t.is_floating_point()]

        self.note(kind, tensors, writes, extra=extra, layer=layer)
        return result


def _norm_tensors(args: Any, kwargs: Any) -> tuple[list[torch.Tensor], int, str]:
    """What a BatchNorm reads as far as gradients are concerned, the small things it keeps, and "eval" if it is."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    arguments = {**dict(zip(names, args)), **kwargs}
    x, weight, bias = arguments["input"], arguments.get("weight"), arguments.get("bias")
    reads = [x, *(t for t in (weight, bias) if t is not None)]
    channels = x.shape[1] * x.element_size()
    if arguments.get("training") or arguments.get("running_mean") is None:
        return reads, 2 * channels + (0 if arguments.get("running_mean") is None else 2 * channels), ""
    return reads, 3 * channels, "eval"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


@contextlib.contextmanager
def _fake_quantizes(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Fake-quantize modules are one op each."""
    hooks = []

    def before(*_: Any) -> None:
        recorder.inside += 1

    def after(name: str, kind: str) -> Callable[..., None]:
        def note(fake: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            recorder.inside -= 1
            if torch.is_grad_enabled() and output is not inputs[0]:
                # a weight's scale is the larger of an exponential and its floor: those are kept beside it
                extra = (12 if kind == "weight" else 4) * fake.zero_point.numel()
                recorder.note(kind, [inputs[0]], [output], extra=extra, layer=name)

        return note

    for name, fake in module.named_modules():
        kind = {ActivationFakeQuant: "activation", WeightFakeQuant: "weight"}.get(type(fake))
        if kind:
            recorder.trace.scales[name] = f"{name}.log_scale"
            hooks += [fake.register_forward_pre_hook(before), fake.register_forward_hook(after(name, kind))]

    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def record(module: nn.Module, loss: Callable[[nn.Module], torch.Tensor]) -> Trace:
    """The trace of one forward pass of `module` up to its loss. All its tensors are held until it is done."""
    recorder = _Recorder(module)
    with torch.enable_grad(), _fake_quantizes(module, recorder), recorder:
        loss(module)
    return recorder.trace
