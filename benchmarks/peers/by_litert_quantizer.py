"""LiteRT's litert-quantizer (formerly ai-edge-quantizer) on a float .tflite file.

    python by_litert_quantizer.py SOURCE CALIBRATION OUT SETTING      SETTING: a recipe of the tool, such as static_wi8_ai8

Runs in the environment of `requirements/litert_quantizer.txt`. CALIBRATION is an .npz of {input: (N, ...)}.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe


def main() -> None:
    source, calibration, out, setting = sys.argv[1:]
    signature, names = next(iter(Interpreter(source).get_signature_list().items()))
    with np.load(calibration) as arrays:
        # a signature of a converted torch module numbers its arguments: args_0, args_1
        values = dict(zip(sorted(names["inputs"]), (arrays[name] for name in arrays.files), strict=True))

    count = len(next(iter(values.values())))
    samples = [{name: value[i : i + 1] for name, value in values.items()} for i in range(count)]

    tool = quantizer.Quantizer(source, getattr(recipe, setting)())
    tool.quantize(tool.calibrate({signature: samples})).export_model(out)


if __name__ == "__main__":
    main()
