"""A task: one number from the other columns of a table."""

from __future__ import annotations

from edgeft.tasks.record import Task

from . import decoding

TASK = Task(
    name="tabular-regress",
    metric=decoding.METRIC,
    score=decoding.score,
    configure=decoding.configure,
    read=decoding.read,
    preprocess=decoding.preprocess,
    decode=decoding.decode,
    describe=decoding.describe,
    draw=decoding.draw,
    join=decoding.join,
    per_sample=decoding.per_sample,
    decisions=decoding.decisions,
    alike=decoding.alike,
    margins=decoding.margins,
    per_class=decoding.per_class,
    chance=decoding.chance,
    formats=("number-table",),
    learning_module="edgeft_example.tabular.learning",
    template="edgeft_example.tabular:template.toml",
    run_part="edgeft_example.tabular:run_part.py",
    step_loss="mse",
    discrete=False,
    outputs_apart=True,
)
