"""The task text-classify."""

from ...inputs import text
from ..record import Task
from . import decoding

TASK = Task(
    name="text-classify",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    answer="class",
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
    confusion=decoding.confusion,
    formats=("csv", "jsonl", "parquet", "text-folder", "hf"),
    extra="text",
    packages=("tokenizers",),
    hub_tag="text-classification",
    auto_class="AutoModelForSequenceClassification",
    auto_reads="text",
    learning_module="edgeft.tasks.text_classify.learning",
    template="edgeft.tasks.text_classify:template.toml",
    embeddings=True,
    run_part="edgeft.tasks.classify:run_part.py",
    step_loss="cross-entropy",
)
