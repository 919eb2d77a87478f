"""Products and sums with a number in front of a concatenation, where they would cut the integer region in two.

`cat([p(y), q(y) * 3.0])` is the kind: the product alone stays float, and LiteRT's converter then moves it over the
quantization of its input, which changes what is computed. The number goes into the weights of the layer before it, and
where there is none it becomes a constant that is quantized like any tensor.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from .nodes import COMPUTED_FROM, CONV, CONV_TRANSPOSE, LINEAR, aten, attribute, set_attribute

_PRODUCTS = (aten.mul.Tensor, aten.div.Tensor)
_SUMS = (aten.add.Tensor, aten.sub.Tensor)
_MATMULS, _SOFTMAXES = (aten.matmul.default, aten.bmm.default), (aten.softmax.int, aten._softmax.default)
#: a product with a positive number may pass these
_POSITIVE = (aten.relu.default, aten.leaky_relu.default)


def sums_with_factors(module: fx.GraphModule) -> None:
    """`torch.add(x, y, alpha=a)` is the sum of x and the product of y with a."""
    graph = module.graph
    for node in list(graph.nodes):
        alpha = node.kwargs.get("alpha", 1)
        if node.target not in _SUMS or alpha == 1 or not isinstance(node.args[1], fx.Node):
            continue

        with graph.inserting_before(node):
            product = graph.call_function(aten.mul.Tensor, (node.args[1], alpha))
        product.meta.update(node.args[1].meta)
        node.args, node.kwargs = (node.args[0], product), {}
        _absorb(module, product)


def before_concats(module: fx.GraphModule) -> None:
    """Numbers whose product or sum goes into a concatenation, directly or through what only moves or clamps."""
    for node in list(module.graph.nodes):
        if node.target in (*_PRODUCTS, *_SUMS) and any(u.target is aten.cat.default for u in node.users):
            _absorb(module, node)


def before_softmaxes(module: fx.GraphModule) -> None:
    """The factor of attention scores, `softmax(q @ k * factor)`, as a constant: so that where matmul and softmax are
    integer ops the product between them is one too."""
    for node in list(module.graph.nodes):
        scored = node.target in _PRODUCTS and getattr(node.args[0], "target", None) in _MATMULS
        if scored and all(user.target in _SOFTMAXES for user in node.users):
            _absorb(module, node)


def _absorb(module: fx.GraphModule, node: fx.Node) -> None:
    """Put the number of a product or sum into the weights of the layer that it follows, else into a constant."""
    source, number = node.args[0], node.args[1]
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not isinstance(source, fx.Node):
        return
    if not node.meta["val"].is_floating_point() or node.kwargs.get("alpha", 1) != 1 or "rounding_mode" in node.kwargs:
        return

    layer = _layer(module, source, through=_POSITIVE if node.target in _PRODUCTS and number > 0 else ())
    if layer is None:
        _constant(module, node, float(number))
        return

    if node.target in _PRODUCTS:
        factor = float(number) if node.target is aten.mul.Tensor else 1.0 / float(number)
        _scale(module, layer, factor)
    else:
        _shift(module, layer, float(number) if node.target is aten.add.Tensor else -float(number))

    node.replace_all_uses_with(source)
    module.graph.erase_node(node)


def _layer(module: fx.GraphModule, node: fx.Node, through: tuple[Any, ...]) -> fx.Node | None:
    """The layer whose output this is, if nothing else reads it or its weights."""
    uses = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
    while len(node.users) == 1 and node.target in through:
        node = node.args[0]

    if len(node.users) != 1 or node.target not in (*CONV, *CONV_TRANSPOSE, *LINEAR):
        return None

    constants = [argument for argument in node.args[1:3] if argument is not None]
    own = all(isinstance(a, fx.Node) and a.op == "get_attr" and uses[str(a.target)] == 1 for a in constants)
    return node if own else None


def _scale(module: fx.GraphModule, layer: fx.Node, factor: float) -> None:
    for argument in layer.args[1:3]:
        if argument is not None:
            value = attribute(module, str(argument.target)).detach().double() * factor
            set_attribute(module, str(argument.target), nn.Parameter(value.float()))


def _shift(module: fx.GraphModule, layer: fx.Node, number: float) -> None:
    if len(layer.args) > 2 and layer.args[2] is not None:
        name = str(layer.args[2].target)
        set_attribute(module, name, nn.Parameter(attribute(module, name).detach() + number))
        return

    weight = attribute(module, str(layer.args[1].target))
    transposed = layer.target in CONV_TRANSPOSE
    groups = int(layer.args[6]) if transposed and len(layer.args) > 6 else 1
    size = weight.shape[1] * groups if transposed else weight.shape[0]
    name = f"{str(layer.args[1].target).rpartition('.')[0]}.bias".lstrip(".")
    set_attribute(module, name, nn.Parameter(torch.full((size,), number)))
    module.meta.setdefault(COMPUTED_FROM, {})[name] = [str(layer.args[1].target)]
    with module.graph.inserting_before(layer):
        bias = module.graph.get_attr(name)

    bias.meta["val"] = attribute(module, name).detach()
    layer.args = (layer.args[0], layer.args[1], bias, *layer.args[3:])


def _constant(module: fx.GraphModule, node: fx.Node, number: float) -> None:
    if node.target is aten.div.Tensor:
        node.target, number = aten.mul.Tensor, 1.0 / number

    name = f"{node.name}_number"
    value = torch.tensor([number])
    set_attribute(module, name, value)
    with module.graph.inserting_before(node):
        constant = module.graph.get_attr(name)

    constant.meta["val"] = value
    node.args = (node.args[0], constant)
