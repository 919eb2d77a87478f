"""The task tabular-values: a number from the columns of a row."""

from ..record import Task
from . import decoding

TASK = Task(
    name="tabular-values",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
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
    extra_metrics=decoding.extra_metrics,
    formats=("table-values",),
    learning_module="edgeft.tasks.tabular_values.learning",
    template="edgeft.tasks.tabular_values:template.toml",
    run_part="edgeft.tasks.control:run_part.py",
    step_loss="mse",
    discrete=False,
    outputs_apart=True,
)
