"""ONNX Runtime's quantize_static: QDQ, unsigned activations, signed weights per channel.

    python by_onnxruntime.py SOURCE CALIBRATION OUT SETTING      SETTING: MinMax, Entropy, Percentile

Runs in the environment of `requirements/onnxruntime.txt`. CALIBRATION is an .npz of {input: (N, ...)}.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Samples(CalibrationDataReader):
    """One sample after the other, as the tool asks for them."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.feeds = (
            {name: array[i : i + 1] for name, array in arrays.items()} for i in range(len(next(iter(arrays.values()))))
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def main() -> None:
    source, calibration, out, setting = sys.argv[1:]
    prepared = Path(out).with_name("prepared.onnx")
    quant_pre_process(source, str(prepared))

    with np.load(calibration) as arrays:
        quantize_static(
            str(prepared),
            out,
            Samples({name: arrays[name] for name in arrays.files}),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod[setting],
        )


if __name__ == "__main__":
    main()
