"""The task tabular-anomaly: rows that are not like the training rows."""

from ...inputs import columns
from ..record import Task
from . import decoding

TASK = Task(
    name="tabular-anomaly",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    parse=columns.parse,
    rows=columns.rows,
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
    statistics=decoding.statistics,
    metric_of=decoding.metric_of,
    tell=decoding.tell,
    settle=decoding.settle,
    settled=decoding.settled,
    formats=("table-anomaly",),
    learning_module="edgeft.tasks.tabular_anomaly.learning",
    template="edgeft.tasks.tabular_anomaly:template.toml",
    run_part="edgeft.tasks.tabular_anomaly:run_part.py",
    discrete=False,
)
