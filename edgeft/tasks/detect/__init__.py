"""The task detect."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="detect",
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
    compare=decoding.compare,
    decision_unit="boxes",
    per_class=decoding.per_class,
    chance=decoding.chance,
    extra_metrics=decoding.extra_metrics,
    statistics=decoding.statistics,
    metric_of=decoding.metric_of,
    tell=decoding.tell,
    draw_beside=decoding.draw_beside,
    show_sample=sample.show,
    count_labels=sample.count,
    formats=("coco", "cvat", "label-studio", "via", "voc", "yolo"),
    extra="detect",
    packages=("pycocotools",),
    learning_module="edgeft.tasks.detect.learning",
    template="edgeft.tasks.detect:template.toml",
    run_part="edgeft.tasks.detect:run_part.py",
)
