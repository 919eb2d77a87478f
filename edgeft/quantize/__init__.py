"""Quantization: capture a module, annotate it by op rules, train or calibrate fake-quantize, lower to explicit Q/DQ.

capture.py     torch.export -> one functional graph of ATen ops
normalize.py   in-place ops, dropout, BatchNorm folded, global pools in one form
rules.py       what each op means to quantization (data)
annotate.py    which values are quantized and who shares parameters
fakequant.py   the fake-quantize modules (LSQ)
ranges.py      calibration
graph.py       `prepare`: all of it, and `QuantizedGraph`
lower.py       integer weights and explicit Q/DQ
sensitivity.py error per layer, all quantized at once; layer_noise.py: of one layer alone
"""

from __future__ import annotations
