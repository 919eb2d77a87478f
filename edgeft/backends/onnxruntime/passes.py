"""Passes over an ONNX graph. Each is one small rewrite that keeps the numbers: `pass(model) -> how many rewrites`.

The model arrives as torch's exporter wrote it: activations as signed int8 QuantizeLinear/DequantizeLinear pairs,
weights as int8 initializers followed by DequantizeLinear.
"""

from __future__ import annotations

import numpy as np
import onnx

from ...config import numeric
from ...core.errors import ModelError
from .index import Index, attributes, drop_attributes, insert_before, ranks, same_grid, shapes

#: ops whose second input is a weight: its integers stay signed
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def inline_functions(model: onnx.ModelProto) -> int:
    """Local functions become plain nodes: runtimes on boards know only the standard ops."""
    count = len(model.functions)
    if count:
        import onnx.inliner

        model.CopyFrom(onnx.inliner.inline_local_functions(model))

    used = {node.domain for node in model.graph.node} | {""}
    for entry in [o for o in model.opset_import if o.domain not in used]:
        model.opset_import.remove(entry)

    return count


def strip_metadata(model: onnx.ModelProto) -> int:
    """Remove stack traces, paths and stale shapes: the same model gives the same bytes on every machine."""
    parts = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]
    count = sum(len(part.metadata_props) for part in parts)
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""

    del model.graph.value_info[:]
    return count


def constants_to_initializers(model: onnx.ModelProto) -> int:
    """Constant nodes become initializers, where compilers look for scales and zero points."""
    graph, count = model.graph, 0
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        value = attributes(node).get("value")
        if isinstance(value, onnx.TensorProto):
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            graph.node.remove(node)
            count += 1

    return count


def drop_unused_initializers(model: onnx.ModelProto) -> int:
    used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    unused = [i for i in model.graph.initializer if i.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)
    return len(unused)


def mean_to_global_pool(model: onnx.ModelProto) -> int:
    """ReduceMean over the last two of four axes -> GlobalAveragePool, which runtimes have an integer kernel for.

    Without kept axes the Squeeze goes behind the QuantizeLinear, so that DQ, pool and Q stay neighbours.
    """
    index, count = Index(model), 0
    rank_of = ranks(model)
    for node in list(model.graph.node):
        axes = index.value(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        if axes is None or rank_of.get(node.input[0]) != 4 or sorted(int(a) % 4 for a in axes) != [2, 3]:
            continue

        keep = attributes(node).get("keepdims", 1)
        after = index.only_consumer(node.output[0])
        if not keep:
            last = after if after is not None and after.op_type == "QuantizeLinear" else node
            pooled = f"{last.output[0]}_4d"
            squeeze = onnx.helper.make_node(
                "Squeeze",
                [pooled, index.constant("spatial_axes", np.array([2, 3], np.int64))],
                [last.output[0]],
                name=f"{node.name or node.output[0]}_squeeze",
            )
            last.output[0] = pooled
            position = list(model.graph.node).index(last)
            model.graph.node.insert(position + 1, squeeze)

        node.op_type = "GlobalAveragePool"
        del node.input[1:]
        drop_attributes(node, "keepdims", "noop_with_empty_axes")
        count += 1

    return count


def pad_in_integers(model: onnx.ModelProto) -> int:
    """DQ -> Pad -> Q on one grid becomes Pad on the integers, filled with the quantized value.

    The same numbers without a float detour; and OpenVINO fills a quantized tensor with the integer 0 instead of its
    zero point when it moves a float Pad behind the quantization by itself.
    """
    index, count = Index(model), 0
    for pad in [n for n in model.graph.node if n.op_type == "Pad"]:
        before, after = index.made_by(pad.input[0], "DequantizeLinear"), index.only_consumer(pad.output[0])
        if before is None or after is None or after.op_type != "QuantizeLinear" or not same_grid(index, before, after):
            continue

        scale, zero = index.value(before.input[1]), index.value(before.input[2])
        fill = index.value(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else np.float32(0)
        if scale is None or zero is None or scale.size != 1 or fill is None:
            continue

        pad.input[0] = before.input[0]
        if attributes(pad).get("mode", b"constant") == b"constant":
            info = np.iinfo(zero.dtype)
            stored = np.clip(np.rint(np.float64(fill) / scale) + zero, info.min, info.max).astype(zero.dtype)
            rest = list(pad.input[3:])
            del pad.input[2:]
            pad.input.append(index.constant(f"{pad.output[0]}_fill", stored.reshape(())))
            pad.input.extend(rest)

        pad.output[0] = after.output[0]
        model.graph.node.remove(after)
        count += 1

    drop_dead_nodes(model)
    return count


def clip_in_integers(model: onnx.ModelProto) -> int:
    """op -> Relu or Clip -> Q becomes op -> Q -> Clip on the integers, where Q's own saturation does not clip already.

    Quantizing is monotone, so it commutes with clipping: the same numbers. ONNX Runtime can only fuse a convolution
    whose activation vanishes in the saturation; a wider grid (shared with a signed tensor, say) would leave it float.
    """
    index, count = Index(model), 0
    for clip in [n for n in model.graph.node if n.op_type in ("Relu", "Clip")]:
        after, source = index.only_consumer(clip.output[0]), index.producer.get(clip.input[0])
        if after is None or after.op_type != "QuantizeLinear" or source is None:
            continue
        if source.op_type == "DequantizeLinear" or index.only_consumer(clip.input[0]) is None:
            continue

        scale, zero = index.value(after.input[1]), index.value(after.input[2])
        bounds = _bounds(index, clip)
        if scale is None or zero is None or scale.size != 1 or bounds is None:
            continue

        info = np.iinfo(zero.dtype)
        low, high = (
            int(np.clip(np.rint(np.float32(bound) / scale) + zero, info.min, info.max).reshape(())) for bound in bounds
        )
        if (low, high) == (info.min, info.max):
            continue

        after.input[0] = clip.input[0]
        limits = [
            index.constant(f"{clip.output[0]}_{side}", np.array(value, zero.dtype))
            for side, value in (("low", low), ("high", high))
        ]
        stored = f"{after.output[0]}_unclipped"
        again = onnx.helper.make_node("Clip", [stored, *limits], [after.output[0]], name=f"{clip.output[0]}_clip")
        after.output[0] = stored
        model.graph.node.remove(clip)
        model.graph.node.insert(list(model.graph.node).index(after) + 1, again)
        count += 1

    return count


def _bounds(index: Index, clip: onnx.NodeProto) -> tuple[float, float] | None:
    """The constant limits of a Relu or Clip; None when they are computed."""
    if clip.op_type == "Relu":
        return 0.0, np.inf

    limits = [-np.inf, np.inf]
    for k, name in enumerate(clip.input[1:3]):
        if name:
            value = index.value(name)
            if value is None:
                return None
            limits[k] = float(value.reshape(()))

    return limits[0], limits[1]


def pad_average_pool_in_integers(model: onnx.ModelProto) -> int:
    """A padded AveragePool that counts the padding -> Pad on the integers, then an unpadded AveragePool.

    OpenVINO pads a quantized tensor with the integer 0 here, which is not real zero unless the zero point is 0.
    """
    index, count = Index(model), 0
    for pool in [n for n in model.graph.node if n.op_type == "AveragePool"]:
        known = attributes(pool)
        pads, dq = known.get("pads", []), index.made_by(pool.input[0], "DequantizeLinear")
        if not any(pads) or not known.get("count_include_pad") or known.get("ceil_mode") or dq is None:
            continue

        zero = index.value(dq.input[2])
        if zero is None:
            continue

        half = len(pads) // 2
        full = [0, 0, *pads[:half], 0, 0, *pads[half:]]
        name = pool.output[0]
        padded, real = f"{name}_padded_q", f"{name}_padded"
        amounts = index.constant(f"{name}_pads", np.array(full, np.int64))
        pad = onnx.helper.make_node("Pad", [dq.input[0], amounts, dq.input[2]], [padded], name=f"{name}_pad")
        insert_before(model.graph, pool, pad)
        again = onnx.helper.make_node("DequantizeLinear", [padded, *dq.input[1:]], [real], name=f"{name}_pad_dq")
        insert_before(model.graph, pool, again)
        pool.input[0] = real
        drop_attributes(pool, "pads", "count_include_pad")
        count += 1

    drop_dead_nodes(model)
    return count


def average_pool_without_ceil(model: onnx.ModelProto) -> int:
    """AveragePool with ceil_mode -> the same windows by explicit padding that is not counted.

    ONNX Runtime's integer kernel divides the windows that hang over the edge by the whole kernel size.
    """
    count, known_shapes = 0, shapes(model)
    for pool in [n for n in model.graph.node if n.op_type == "AveragePool" and attributes(n).get("ceil_mode")]:
        known, shape = attributes(pool), known_shapes.get(pool.input[0])
        kernel = known["kernel_shape"]
        strides = known.get("strides", [1] * len(kernel))
        pads = list(known.get("pads", [0] * (2 * len(kernel))))
        size = shape[2:] if shape else []
        if len(size) != len(kernel) or None in size or set(known.get("dilations", [1])) != {1}:
            continue
        if any(pads) and known.get("count_include_pad"):
            continue

        for k, length in enumerate(size):
            assert length is not None
            span = length + pads[k] + pads[k + len(kernel)] - kernel[k]
            windows = -(-span // strides[k]) + 1
            # A window that starts in the padding behind the tensor is left out.
            windows -= (windows - 1) * strides[k] >= length + pads[k]
            pads[k + len(kernel)] += max(0, (windows - 1) * strides[k] - span)

        drop_attributes(pool, "ceil_mode", "pads", "count_include_pad")
        if any(pads):
            pool.attribute.append(onnx.helper.make_attribute("pads", pads))
        count += 1

    return count


def integer_bias(model: onnx.ModelProto) -> int:
    """Float biases of quantized Conv and Gemm -> int32 with scale = input scale x weight scale.

    It is what runtimes do when they load the file; older ones only find the integer kernel when it is written out.
    Raises `ModelError` for a bias beyond int32 on that grid: runtimes would saturate it without a word.
    """
    index, count = Index(model), 0
    for node in [n for n in model.graph.node if n.op_type in ("Conv", "Gemm") and len(n.input) == 3]:
        x, w = (index.made_by(name, "DequantizeLinear") for name in node.input[:2])
        bias = index.value(node.input[2])
        if x is None or w is None or bias is None or w.input[0] not in index.initializer or bias.ndim != 1:
            continue

        sx, sw = index.value(x.input[1]), index.value(w.input[1])
        known = attributes(node)
        if sx is None or sw is None or sx.size != 1 or sw.size not in (1, bias.size):
            continue
        if node.op_type == "Gemm" and (known.get("beta", 1.0) != 1.0 or known.get("alpha", 1.0) != 1.0):
            continue

        scale = (sx.reshape(()) * sw.reshape(-1)).astype(np.float32)
        steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
        if np.abs(steps).max() >= 2**31 - 1:
            raise ModelError(
                f"the bias of channel {int(np.abs(steps).argmax())} does not fit int32: its weight scale is too small",
                where=f"weight {w.input[0]}",
                remedy="raise the scale of that nearly empty channel, or keep the layer float (quantize.keep_float)",
            )

        name = f"{node.output[0]}_bias"
        inputs = [index.constant(f"{name}_i32", steps.astype(np.int32))]
        if scale.size == 1:
            inputs.append(index.constant(f"{name}_scale", scale.reshape(())))
        else:
            inputs.append(index.constant(f"{name}_scale", scale))

        dq = onnx.helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_dq", axis=0)
        insert_before(model.graph, node, dq)
        node.input[2] = name
        count += 1

    return count


def unsigned_activations(model: onnx.ModelProto) -> int:
    """Activations signed -> unsigned: every zero point moves by half the range, so every real value stays what it was.

    ONNX Runtime's x86 kernels want unsigned activations and signed weights; with signed ones most of the graph stays
    float there. Weights keep their bytes. Quantized constants of elementwise ops move along with the activations.
    """
    index, count = Index(model), 0

    def shifted(name: str) -> str:
        value = index.value(name)
        if value is None or value.dtype.name not in numeric.STORED_WEIGHTS:
            return name
        return index.constant(f"{name}_u{value.dtype.itemsize * 8}", numeric.unsigned(value))

    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in index.initializer:
            if any(_is_weight_of(index, node.output[0], user) for user in index.consumers[node.output[0]]):
                continue
            values = index.value(node.input[0])
            if values is None or values.dtype.name not in numeric.STORED_WEIGHTS:
                continue
            node.input[0] = shifted(node.input[0])

        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            node.input[2] = shifted(node.input[2])
            drop_attributes(node, "output_dtype")
            count += 1
        elif node.op_type in ("Pad", "Clip"):  # those that work on integers
            for k, name in enumerate(node.input):
                node.input[k] = shifted(name)

    return count


def _is_weight_of(index: Index, name: str, user: onnx.NodeProto) -> bool:
    if user.op_type in ("Transpose", "Reshape", "Squeeze", "Unsqueeze"):
        return any(_is_weight_of(index, user.output[0], after) for after in index.consumers[user.output[0]])
    # A table that is looked up (an embedding) is a weight too.
    return user.op_type in (*_WEIGHTED, "Gather")


def drop_dead_nodes(model: onnx.ModelProto) -> int:
    """Remove nodes whose outputs nobody takes, until none is left."""
    count = 0
    while True:
        index = Index(model)
        dead = [n for n in model.graph.node if not any(index.consumers[o] or o in index.outputs for o in n.output)]
        for node in dead:
            model.graph.node.remove(node)
        if not dead:
            return count
        count += len(dead)
