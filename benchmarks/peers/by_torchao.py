"""torchao's PT2E quantization after training, with litert-torch's quantizer, converted for LiteRT.

    python by_torchao.py SOURCE CALIBRATION OUT SETTING      SOURCE: a torch.export program (.pt2); SETTING: static

Runs in the environment of `requirements/torchao.txt`. CALIBRATION is an .npz of {input: (N, ...)}, in the order of the
program's arguments.
"""

from __future__ import annotations

import sys

import litert_torch
import numpy as np
import torch
from litert_torch.quantize import pt2e_quantizer, quant_config
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


def main() -> None:
    source, calibration, out, setting = sys.argv[1:]
    torch.set_num_threads(1)
    with np.load(calibration) as arrays:
        values = [torch.from_numpy(arrays[name]) for name in arrays.files]

    config = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=setting == "dynamic")
    quantizer = pt2e_quantizer.PT2EQuantizer().set_global(config)

    module = prepare_pt2e(torch.export.load(source).module(), quantizer)
    for i in range(len(values[0])):
        module(*(value[i : i + 1] for value in values))

    module = convert_pt2e(module, fold_quantize=False)

    example = tuple(value[:1] for value in values)
    edge = litert_torch.convert(module, example, quant_config=quant_config.QuantConfig(pt2e_quantizer=quantizer))
    edge.export(out)


if __name__ == "__main__":
    main()
