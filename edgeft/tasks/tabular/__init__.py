"""The task tabular: a class from the columns of a row."""

from ..record import Task
from . import decoding

TASK = Task(
    name="tabular",
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
    confusion=decoding.confusion,
    formats=("table",),
    learning_module="edgeft.tasks.tabular.learning",
    template="edgeft.tasks.tabular:template.toml",
    run_part="edgeft.tasks.classify:run_part.py",
    step_loss="cross-entropy",
)
