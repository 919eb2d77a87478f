"""NNCF's post-training quantization of an OpenVINO model.

    python by_nncf.py SOURCE CALIBRATION OUT SETTING      SETTING: performance (the default preset), mixed, transformer

Runs in the environment of `requirements/nncf.txt`. CALIBRATION is an .npz of {input: (N, ...)}; "transformer" is the mixed
preset with NNCF's own settings for that kind of model.
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import openvino as ov


def main() -> None:
    source, calibration, out, setting = sys.argv[1:]
    nncf.set_log_level(40)
    with np.load(calibration) as arrays:
        values = {name: arrays[name] for name in arrays.files}

    count = len(next(iter(values.values())))
    samples = [{name: value[i : i + 1] for name, value in values.items()} for i in range(count)]
    kind = nncf.ModelType.TRANSFORMER if setting == "transformer" else None
    preset = nncf.QuantizationPreset("mixed" if kind else setting)

    model = ov.Core().read_model(source)
    quantized = nncf.quantize(model, nncf.Dataset(samples), preset=preset, model_type=kind, subset_size=count)
    ov.save_model(quantized, out, compress_to_fp16=False)


if __name__ == "__main__":
    main()
