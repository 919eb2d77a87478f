"""The task speech."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="speech",
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
    measure=decoding.measure,
    suits=sample.suits,
    show_sample=sample.show,
    count_labels=sample.count,
    formats=("wav-folder",),
    extra="audio",
    packages=("soundfile",),
    hub_tag="automatic-speech-recognition",
    learning_module="edgeft.tasks.speech.learning",
    template="edgeft.tasks.speech:template.toml",
    run_part="edgeft.tasks.speech:run_part.py",
)
