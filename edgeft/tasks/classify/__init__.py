"""The task classify."""

from ..record import Task
from . import decoding

TASK = Task(
    name="classify",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    answer="class",
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
    formats=("embedded", "idx", "image-folder", "image-table", "npz", "hf", "pictures"),
    default=True,
    hub_tag="image-classification",
    auto_class="AutoModelForImageClassification",
    auto_reads="image",
    learning_module="edgeft.tasks.classify.learning",
    template="edgeft.tasks.classify:template.toml",
    run_part="edgeft.tasks.classify:run_part.py",
    step_loss="cross-entropy",
)
