"""The task embed."""

from ...inputs import lines
from ..record import Task
from . import decoding

TASK = Task(
    name="embed",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    parse=lines.parse,
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
    relate=decoding.relate,
    formats=("text-pairs",),
    extra="text",
    packages=("tokenizers",),
    hub_tag="sentence-similarity",
    auto_class="AutoModel",
    auto_reads="lines",
    learning_module="edgeft.tasks.embed.learning",
    template="edgeft.tasks.embed:template.toml",
    embeddings=True,
    run_part="edgeft.tasks.embed:run_part.py",
    decision_unit="vectors",
    discrete=False,
)
