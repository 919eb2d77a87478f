"""The task translate."""

from ...inputs import text
from ..record import Task
from . import composed, decoding, sample

TASK = Task(
    name="translate",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    answer="text",
    parse=text.parse,
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
    learn=decoding.learn,
    compose=composed.compose,
    part=composed.part,
    calls=composed.calls,
    show_sample=sample.show,
    formats=("pairs", "hf"),
    extra="translate",
    packages=("tokenizers", "sacrebleu"),
    hub_tag="translation",
    auto_class="AutoModelForSeq2SeqLM",
    auto_reads="pairs",
    learning_module="edgeft.tasks.translate.learning",
    template="edgeft.tasks.translate:template.toml",
    run_part="edgeft.tasks.translate:run_part.py",
)
