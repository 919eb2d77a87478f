"""The task regress: a model of any inputs and outputs, judged by how far its numbers are off."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="regress",
    answer="arrays",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    preprocess=decoding.preprocess,
    decode=decoding.decode,
    tell=decoding.tell,
    describe=decoding.describe,
    draw=decoding.draw,
    pictures=decoding.pictures,
    arrays=decoding.arrays,
    join=decoding.join,
    per_sample=decoding.per_sample,
    decisions=decoding.decisions,
    alike=decoding.alike,
    margins=decoding.margins,
    compare=decoding.compare,
    decision_unit="samples that differ from the mean answer",
    per_class=decoding.per_class,
    chance=decoding.chance,
    extra_metrics=decoding.extra_metrics,
    show_sample=sample.show,
    formats=("tensors", "pictures"),
    learning_module="edgeft.tasks.regress.learning",
    template="edgeft.tasks.regress:template.toml",
    run_part="edgeft.tasks.regress:run_part.py",
    discrete=False,
    any_outputs=True,
)
