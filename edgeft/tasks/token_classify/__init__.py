"""The task token-classify."""

from ...inputs import words
from ..record import Task
from . import decoding, sample

TASK = Task(
    name="token-classify",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    parse=words.parse,
    preprocess=decoding.preprocess,
    locate=decoding.locate,
    decode=decoding.decode,
    describe=decoding.describe,
    draw=decoding.draw,
    join=decoding.join,
    per_sample=decoding.per_sample,
    decisions=decoding.decisions,
    alike=decoding.alike,
    answered=decoding.answered,
    decision_unit="tokens",
    margins=decoding.margins,
    per_class=decoding.per_class,
    chance=decoding.chance,
    extra_metrics=decoding.extra_metrics,
    statistics=decoding.statistics,
    metric_of=decoding.metric_of,
    tell=decoding.tell,
    show_sample=sample.show,
    count_labels=sample.count,
    formats=("conll", "tokens"),
    extra="text",
    packages=("tokenizers",),
    hub_tag="token-classification",
    auto_class="AutoModelForTokenClassification",
    auto_reads="words",
    learning_module="edgeft.tasks.token_classify.learning",
    template="edgeft.tasks.token_classify:template.toml",
    run_part="edgeft.tasks.token_classify:run_part.py",
)
