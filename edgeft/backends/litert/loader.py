"""A part of run.py: models in LiteRT."""

import numpy as np

from ...core.runner import Stop

RUNTIME = "litert"


def open_model(path, threads, options):
    interpreter, reasons = None, []
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter"):
        try:  # tflite_runtime imports beside numpy 2 and fails only when it is used
            interpreter_module = __import__(module, fromlist=["Interpreter"])
            chosen = {}
            if hasattr(interpreter_module, "OpResolverType"):  # the oldest releases have one resolver only
                chosen["experimental_op_resolver_type"] = getattr(
                    interpreter_module.OpResolverType, options.get("op_resolver", "AUTO")
                )
            interpreter = interpreter_module.Interpreter(model_path=path, num_threads=threads, **chosen)
            interpreter.allocate_tensors()
            break
        except Exception as error:  # a broken install fails in many ways, and the next one may work
            interpreter = None
            reasons.append(f"{module}: {error}")

    if interpreter is None:
        tried = "; ".join(reasons)
        raise Stop(4, f"no LiteRT interpreter loads this model ({tried}): pip install ai-edge-litert")

    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(feeds):
        for detail, value in zip(inputs, feeds):
            interpreter.set_tensor(detail["index"], as_stored(value, detail["dtype"], detail["quantization"]))
        interpreter.invoke()
        return [real(interpreter.get_tensor(detail["index"]), detail["quantization"]) for detail in outputs]

    return [d["name"] for d in inputs], [d["name"] for d in outputs], run


def as_stored(value, dtype, quantization):
    scale, zero_point = quantization
    if not scale or value.dtype.kind != "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(value / np.float32(scale)) + np.float32(zero_point), limits.min, limits.max).astype(dtype)


def real(value, quantization):
    scale, zero_point = quantization
    return value if not scale else (value.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
