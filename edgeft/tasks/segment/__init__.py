"""The task segment."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="segment",
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
    statistics=decoding.statistics,
    metric_of=decoding.metric_of,
    tell=decoding.tell,
    draw_beside=decoding.draw_beside,
    pictures=decoding.pictures,
    show_sample=sample.show,
    count_labels=sample.count,
    formats=("masks",),
    hub_tag="image-segmentation",
    auto_class="AutoModelForSemanticSegmentation",
    auto_reads="image",
    learning_module="edgeft.tasks.segment.learning",
    template="edgeft.tasks.segment:template.toml",
    run_part="edgeft.tasks.segment:run_part.py",
)
