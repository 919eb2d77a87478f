"""Update policies: a policy chooses the trainable parameters by names and kinds of modules, in both stages.

`full` everything · `head` the classifier · `last` the last block and the head · `bias` all biases (a BatchNorm's
shift is one) and the head · `norm` normalization parameters and the head · `lora` low-rank adapters (`lora.py`) and the
head · `sparse`, `auto` what a plan says (`sparse.py`, `planner.py`) and the head. `last:N` is the last N blocks and the
head. `bias` follows Cai et al., "TinyTL" (2020); `norm` follows Frankle et al., "Training BatchNorm and only BatchNorm"
(2021).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import fx, nn

from ..core.errors import RecipeError, nearest
from ..graph.nodes import COMPUTED_FROM, NORM_IN
from ..learning.blocks import ADAPTER, blocks, under
from ..quantize.fakequant import ActivationFakeQuant, WeightFakeQuant
from ..quantize.graph import QuantizedGraph
from . import lora, sparse

POLICIES = ("full", "head", "last", "bias", "norm", "lora", "sparse", "auto")
#: policies that keep the calibrated grids of activations: the gradient of a grid needs the whole activation, which
#: is what these policies save
STILL_GRIDS = ("bias", "sparse", "auto")
#: policies that follow a plan. BatchNorm's statistics are kept under them: with those of a batch its gradient needs
#: the whole input
PLANNED = ("sparse", "auto")
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.LocalResponseNorm,
)


def trainable(module: nn.Module, head: str, policy: str, plan: sparse.Plan | None = None) -> set[str]:
    """Names of the float module's trainable parameters. Raises `RecipeError` for an unknown policy, and
    for `head` where there is none.

    Under `lora` those of the adapters that hang in it, and the head; under `sparse` and `auto` those of the plan.
    """
    policy, _, count = policy.partition(":")
    if policy not in POLICIES or (count and (policy != "last" or not count.isdigit())):
        raise RecipeError(f"unknown update policy {policy!r}", remedy=nearest(policy, POLICIES))

    names = {n for n, _ in module.named_parameters()}
    in_head = {n for n in names if under(n, head)}
    if policy == "full":
        return names
    if policy in PLANNED:
        return in_head | (plan.names(names) if plan else set())

    if policy == "head":
        if not in_head:
            raise RecipeError(
                "= 'head', and the network has no head", where="update.policy", remedy="full, last or lora"
            )
        return in_head

    if policy == "lora":
        adapters = lora.adapted(module)
        return in_head | {f"{n}.{ADAPTER}.{leaf}" for n, a in adapters.items() for leaf, _ in a.named_parameters()}

    if policy == "last":
        block_names = blocks(module, head)
        if int(count or 1) > len(block_names):
            raise RecipeError(
                f"= 'last:{count}', and the network has {len(block_names)} blocks below its head", where="update.policy"
            )
        return in_head.union(*block_names[-int(count or 1) :])

    if policy == "bias":
        return in_head | {n for n in names if n.endswith(".bias") or n == "bias"}

    norms = {n for n, m in module.named_modules() if isinstance(m, _NORMS)}
    return in_head | {n for n in names if n.rpartition(".")[0] in norms}


def apply(module: nn.Module, names: Iterable[str]) -> None:
    """Let exactly these parameters require gradients."""
    names = set(names)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)


def train_mode(module: nn.Module, freeze: bool = False) -> None:
    """`module.train()`, except that a BatchNorm whose parameters are frozen keeps its statistics too.

    One without parameters goes with those of the module that holds it. `freeze` keeps the statistics of all of them,
    while scale and shift go on learning: with little data a pretrained net is often better off, and where it is new
    statistics of nearly silent channels that make a net hard to quantize, much better.
    """
    module.train()
    for parent in module.modules():
        for child in parent.children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                parameters = list(child.parameters(recurse=False)) or list(parent.parameters())
                if freeze or (parameters and not any(p.requires_grad for p in parameters)):
                    child.eval()


def apply_to_graph(
    graph: QuantizedGraph,
    float_module: nn.Module,
    head: str,
    policy: str,
    adapted: Collection[str] = (),
    plan: sparse.Plan | None = None,
) -> set[str]:
    """The same policy on the captured graph, where BatchNorm is folded; returns the trainable names.

    The scale of a weight is trainable when the weight is, that of an activation when a trainable parameter precedes it;
    everything before the first trainable layer is constant and stays bit-identical.

    `adapted` are the layers with merged adapters. Their weights are frozen here, since a run with adapters is to train
    few parameters; their scales, one a channel, and the following quantization parameters are trainable.
    """
    names = names_in_graph(graph, float_module, head, policy, adapted, plan)
    sparse.mark(graph.module, plan or sparse.Plan())
    apply(graph.module, names)
    return names


def names_in_graph(
    graph: QuantizedGraph,
    float_module: nn.Module,
    head: str,
    policy: str,
    adapted: Collection[str] = (),
    plan: sparse.Plan | None = None,
) -> set[str]:
    """The names of the parameters that `apply_to_graph` makes trainable."""
    original = {n for n, _ in float_module.named_parameters()}
    chosen = trainable(float_module, head, policy, plan)
    planned, kind = plan or sparse.Plan(), policy.partition(":")[0]
    norms = set(graph.captured.module.meta.get(NORM_IN, ()))
    computed_from = graph.captured.module.meta.get(COMPUTED_FROM, {})
    known = [name for name, _ in graph.module.named_parameters()]
    names: set[str] = set()

    for name in known:
        owner, _, leaf = name.rpartition(".")
        if isinstance(graph.module.get_submodule(owner), (ActivationFakeQuant, WeightFakeQuant)):
            continue
        if policy == "full" or name in chosen or chosen.intersection(computed_from.get(name, ())):
            names.add(name)
        elif policy == "norm" or (policy == "bias" and "bias" in leaf):
            names |= {name} & norms
        elif leaf == "bias" and name in norms and planned.has_bias(owner):
            names.add(name)
        elif kind == "last" and name not in original and f"{owner}.weight" in chosen:
            names.add(name)  # the bias that a norm's shift made

    merged = {f"{layer}.weight" for layer in adapted}
    moved = names | merged
    for weight, fake in graph.weight_of.items():
        # a scale is shared by channels that must stay as they are where only some of them are trainable
        if weight in moved and weight.rpartition(".")[0] not in planned.channels:
            names.add(f"{fake}.log_scale")

    if policy not in STILL_GRIDS:
        names |= {f"{name}.log_scale" for name in _activations_after(graph, moved)}

    return names.intersection(known)


def _activations_after(graph: QuantizedGraph, trained: set[str]) -> set[str]:
    """Activation fake-quantize modules that a trained parameter reaches."""
    reached: set[fx.Node] = set()
    names = set()
    for node in graph.module.graph.nodes:
        if node.op == "get_attr":
            if node.target in trained:
                reached.add(node)
        elif any(a in reached for a in node.all_input_nodes):
            reached.add(node)
            if node.op == "call_module":
                fake = getattr(graph.module, str(node.target))
                if isinstance(fake, ActivationFakeQuant) and not fake.fixed:
                    names.add(str(node.target))

    return names
