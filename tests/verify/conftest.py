"""The helpers of neighbouring test folders: `simulated` (a machine in software) and `tiny_bundle` (a real bundle)."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
