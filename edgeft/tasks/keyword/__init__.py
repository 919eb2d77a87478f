"""The task keyword."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="keyword",
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
    measure=decoding.measure,
    suits=sample.suits,
    show_sample=sample.show,
    formats=("wav-folder", "sound-table", "hf"),
    extra="audio",
    packages=("soundfile",),
    hub_tag="audio-classification",
    learning_module="edgeft.tasks.keyword.learning",
    template="edgeft.tasks.keyword:template.toml",
    run_part="edgeft.tasks.classify:run_part.py",
    step_loss="cross-entropy",
)
