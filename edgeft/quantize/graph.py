"""`insert`: fake-quantize modules in a captured graph. The result is the one graph that is trained and lowered."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from ..config.graph_summary import GraphSummary
from ..config.scheme import Scheme
from ..core.errors import ModelError
from ..graph import scalars
from ..graph.captured import Captured
from ..graph.from_torch import capture_float
from ..graph.nodes import aten, attribute
from . import channels
from .annotate import Annotation, Site, annotate
from .fakequant import ActivationFakeQuant, WeightFakeQuant, weight_fake_quant
from .layers import ValueOf
from .ranges import weight_scales


@dataclass
class QuantizedGraph:
    """The captured graph with fake-quantize modules in it.

    `weight_of` maps a weight's name (the model's own parameter name, e.g. "layer1.0.conv1.weight") to the name of its
    fake-quantize module; `value_of` maps an activation's fake-quantize module to the layers whose value it rounds.
    `spreads` are the values with a factor a channel (`channels.py`).
    """

    module: fx.GraphModule
    captured: Captured
    scheme: Scheme
    summary: GraphSummary
    weight_of: dict[str, str] = field(default_factory=dict)
    value_of: dict[str, ValueOf] = field(default_factory=dict)
    spreads: list[channels.Spread] = field(default_factory=list)

    def activations(self) -> dict[str, ActivationFakeQuant]:
        return {n: m for n, m in self.module.named_modules() if isinstance(m, ActivationFakeQuant)}

    @property
    def only_tables(self) -> bool:
        """Whether every quantized weight is looked up: such a graph has no activation to quantize."""
        nodes = [node for node in self.module.graph.nodes if node.op == "call_module"]
        weights = [node for node in nodes if isinstance(getattr(self.module, str(node.target)), WeightFakeQuant)]
        return all(user.target is aten.embedding.default for node in weights for user in node.users)

    def weight(self, name: str) -> WeightFakeQuant:
        """The fake-quantize module of the weight `name`."""
        fake = getattr(self.module, self.weight_of[name])
        assert isinstance(fake, WeightFakeQuant)
        return fake

    def weights(self) -> dict[str, WeightFakeQuant]:
        """By the weight's own name."""
        return {name: getattr(self.module, fq) for name, fq in self.weight_of.items()}

    def set_mode(self, mode: str) -> None:
        """ "off": the float network; "quantize": on the grid."""
        for module in self.module.modules():
            if isinstance(module, (ActivationFakeQuant, WeightFakeQuant)):
                module.mode = mode

    def output_steps(self) -> dict[str, float | list[float]]:
        """The quantization step of each output that is quantized, or of each of its channels where they differ."""
        (output,) = (n for n in self.module.graph.nodes if n.op == "output")
        values = output.args[0] if isinstance(output.args[0], (tuple, list)) else [output.args[0]]
        steps: dict[str, float | list[float]] = {}

        for name, value in zip(self.captured.output_names, values):
            if not isinstance(value, fx.Node) or value.op != "call_module":
                continue

            last = getattr(self.module, str(value.target))
            if isinstance(last, channels.Factor):
                step = getattr(self.module, str(value.all_input_nodes[0].target)).parameters_of_grid()[0]
                steps[name] = [step * float(factor) for factor in last.factor]
            else:
                steps[name] = last.parameters_of_grid()[0]

        return steps

    def spread_channels(self, batches: channels.Batches) -> None:
        """Factors for outlier channels from batches of example inputs; to be called once, before calibration."""
        if self.spreads:
            self.set_mode("off")
            channels.spread(self.module, self.spreads, {**self.weights()}, batches)
            self.set_mode("quantize")

    def calibrate_weights(self, method: str = "minmax") -> None:
        for name, module in self.weights().items():
            if module.numeric.kind == "int":
                weight_scales(module, attribute(self.module, name), method)

    def weight_dtypes(self) -> tuple[str, ...]:
        """The types that the weights of this graph are stored in, sorted."""
        return tuple(sorted({module.numeric.dtype for module in self.weights().values()}))


def insert(captured: Captured, scheme: Scheme, keep_float: Sequence[str] = ()) -> QuantizedGraph:
    """A copy of the captured graph with fake-quantize modules placed by the scheme's rules.

    Raises `ModelError` when nothing in the graph can be quantized, although the scheme asks for it.
    """
    module = copy.deepcopy(captured.module)
    if scheme.is_integer and {"matmul", "softmax"} <= set(scheme.ops):
        scalars.before_softmaxes(module)

    plan = annotate(module.graph, scheme, keep_float)
    if not plan.weights and scheme.quantized:
        raise ModelError(
            "no layer of this model has weights that can be quantized",
            where=f"the scheme {scheme.name}",
            remedy=(
                f"{', '.join(keep_float)} stay float by the recipe: set quantize.keep_float = [], or take targets of"
                if keep_float
                else "look at `edgeft targets show` for the op classes of the scheme, or take targets of"
            )
            + " this scheme (`edgeft targets list`) out of export.targets",
        )

    graph = QuantizedGraph(module, captured, scheme, _summary(captured, plan))
    mark = _unused_mark(module)
    _insert_weights(graph, plan, mark)
    _insert_activations(graph, plan, mark)
    module.graph.lint()
    module.recompile()

    return graph


def prepare(
    module: nn.Module, example: Sequence[torch.Tensor], scheme: Scheme, keep_float: Sequence[str] = ()
) -> QuantizedGraph:
    """Capture a float module and insert fake-quantize modules: `capture_float` then `insert`."""
    return insert(capture_float(module, example), scheme, keep_float)


def _unused_mark(module: nn.Module) -> str:
    """What stands before the numbers of this module's names, so that the model's own names are none of them."""
    names, mark = [*module._modules, *module._parameters, *module._buffers], ""
    while any(re.match(rf"(act_fq|weight_fq|spread)_{mark}\d", name) for name in names):
        mark += "_"
    return mark


def _insert_weights(graph: QuantizedGraph, plan: Annotation, mark: str) -> None:
    module = graph.module
    by_key: dict[tuple[str, int | None], str] = {}
    for site in plan.weights:
        if not site.numeric.quantized:
            continue
        name = str(site.node.target)
        key = (name, site.axis)
        if key not in by_key:
            by_key[key] = f"weight_fq_{mark}{len(by_key)}"
            weight = attribute(module, name)
            # other readers of a table come first, and with them their format
            module.add_submodule(by_key[key], weight_fake_quant(weight, site.numeric, site.axis))
            graph.weight_of.setdefault(name, by_key[key])
            if graph.weight_of[name] != by_key[key]:
                raise ModelError(
                    "one weight is used by two ops that need different scale axes",
                    where=name,
                    remedy="give it to keep_float, or use per-tensor weights",
                )

        with module.graph.inserting_before(site.user):
            quantized = module.graph.call_module(by_key[key], (site.node,))
        quantized.meta["val"] = site.node.meta.get("val")
        site.user.replace_input_with(site.node, quantized)


def _insert_activations(graph: QuantizedGraph, plan: Annotation, mark: str) -> None:
    module, scheme = graph.module, graph.scheme
    if not scheme.is_integer:
        return

    output_of: dict[Site, fx.Node] = {}
    reads = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
    pending: list[tuple[str, Site]] = []
    alone: set[str] = set()  # modules that share their grid with no other value

    for index, group in enumerate(plan.groups):
        name = f"act_fq_{mark}{index}"
        producers = [s for s in group if s.produces]
        ceilings = [s.ceiling for s in producers]
        fixed = next((s.fixed for s in group if s.fixed), None)
        ceiling = max(c for c in ceilings if c) if ceilings and all(ceilings) else None
        fake = ActivationFakeQuant(scheme.activations, fixed, ceiling)
        module.add_submodule(name, fake)
        graph.value_of[name] = plan.values[index]
        pending += [(name, s) for s in group]
        if len(group) == 1 and not fixed:
            alone.add(name)

    for name, site in sorted(pending, key=lambda item: item[1].after is not None):
        value = output_of[site.after] if site.after else site.node
        # seen before a reader is put in between
        is_output = graph.captured.apart and channels.said(site, plan)
        rows = name in alone and (is_output or channels.residual(site, plan))
        with module.graph.inserting_after(value):
            quantized = module.graph.call_module(name, (value,))
        quantized.meta["val"] = site.node.meta.get("val")
        output_of[site] = quantized
        if site.users is None:
            value.replace_all_uses_with(quantized, delete_user_cb=lambda user, q=quantized: user is not q)
        else:
            for user in site.users:
                user.replace_input_with(value, quantized)

        if rows or (name in alone and channels.norm_into_linear(site)):
            _insert_factors(graph, name, site, quantized, reads, rows, is_output, mark)


def _insert_factors(
    graph: QuantizedGraph,
    name: str,
    site: Site,
    quantized: fx.Node,
    reads: Mapping[str, int],
    rows: bool,
    is_output: bool = False,
    mark: str = "",
) -> None:
    """A factor a channel on this value, 1 until calibration, where all that reads the weights are these layers.

    `reads` is how often each constant of the graph is read.
    """
    module = graph.module
    layers = [site.node] if rows else list(site.users or ())
    weights = [str(n.args[1].all_input_nodes[0].target) for n in layers]
    bias = layers[0].args[2] if rows and len(layers[0].args) > 2 else None
    if any(reads[n] > 1 for n in weights) or (isinstance(bias, fx.Node) and reads[str(bias.target)] > 1):
        return

    fakes = [graph.weight(n) for n in weights]
    size = attribute(module, weights[0]).shape[0 if rows else 1]
    stem = f"spread_{mark}{len(graph.spreads)}"

    for fake in fakes:
        fake.register_buffer("row_factor" if rows else "column_factor", torch.ones((size, 1) if rows else (1, size)))

    for leaf in [stem, f"{stem}_bias"] if isinstance(bias, fx.Node) else [stem]:
        module.add_submodule(leaf, channels.Factor(size, shifted=is_output and isinstance(bias, fx.Node)))

    before = quantized if rows else quantized.all_input_nodes[0]
    with module.graph.inserting_after(before):
        scaled = module.graph.call_module(stem, (before,))

    scaled.meta["val"] = before.meta.get("val")
    if rows:
        before.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
    else:
        quantized.replace_input_with(before, scaled)

    if isinstance(bias, fx.Node):
        with module.graph.inserting_after(bias):
            bias_node = module.graph.call_module(f"{stem}_bias", (bias,))
        bias_node.meta["val"] = bias.meta.get("val")
        layers[0].replace_input_with(bias, bias_node)

    graph.spreads.append(
        channels.Spread(
            name, stem, tuple(weights), f"{stem}_bias" if isinstance(bias, fx.Node) else "", rows, is_output
        )
    )


def _summary(captured: Captured, plan: Annotation) -> GraphSummary:
    ranks = [n.meta["val"].dim() for n in captured.module.graph.nodes if hasattr(n.meta.get("val"), "dim")]
    return GraphSummary(
        ops=dict(plan.op_classes),
        max_rank=max(ranks, default=0),
        dynamic_batch=captured.dynamic,
        inputs={n: tuple(t.shape) for n, t in zip(captured.input_names, captured.example)},
        float_ops=dict(plan.float_ops),
    )
