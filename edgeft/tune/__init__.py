"""Tuning: float fine-tune, then quantization-aware training of the captured graph.

run.py         `tune`: a recipe becomes a run directory; training_run.py, what its stages hand to each other
fit.py         the training loop, read top to bottom
updates.py     the trainable parameters of a policy
memory.py      the measured memory of a training step
checkpoint.py  atomic, resumable state
"""

from __future__ import annotations
