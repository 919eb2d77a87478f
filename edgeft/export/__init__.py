"""Export: a run's quantized graphs become one verified bundle per target.

run.py             the order of the steps
quantized_run.py   what an export takes, opened from a run directory
reference.py       1. what the quantized torch graph of each scheme computes
convert.py         2. graphs to artifacts; aside.py runs it in copies of this process
prove.py           3. artifacts in their runtime over the test split, and the gates; tail_proof.py of a trainable tail
pack.py            4. samples, manifest, verification by itself, report and rename
"""

from __future__ import annotations
