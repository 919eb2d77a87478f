"""A conversion is a value: it can be pickled, and what is read back converts to a model that computes the same."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import backends
from edgeft.config import target
from edgeft.export.convert import conversion, convert
from edgeft.export.quantized_run import open_run


@pytest.mark.parametrize("name", ["host", "host-litert"])
def test_a_conversion_survives_pickling_and_converts_to_the_same_function(
    shapes: Any, tmp_path: Path, name: str
) -> None:
    profile = target.load(name)
    machine = backends.get(profile.backend)
    pytest.importorskip({"host": "onnxscript", "host-litert": "litert_torch"}[name])
    run = open_run(
        shapes.run,
        [profile],
        [name],
        ptq=False,
        overrides=(),
        allow_code=False,
        model=None,
        dataset=None,
        say=lambda text: None,
    )
    job = conversion(run, profile, tmp_path / "here")
    copy = dataclasses.replace(pickle.loads(pickle.dumps(job)), staging=tmp_path / "copy")  # noqa: S301 (our own bytes)
    feeds = {"x": np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)}

    outputs = []
    for conversion_job in (job, copy):
        quantized, baseline = convert(conversion_job)
        assert quantized["file"] in quantized["files"] and baseline["file"].startswith("baseline/")
        sessions = [machine.load(conversion_job.staging / artifact["file"]) for artifact in (quantized, baseline)]
        outputs.append([next(iter(session.run(feeds).values())) for session in sessions])
    for here, there in zip(*outputs):
        assert here.shape == (4, 3) and np.array_equal(here, there)
