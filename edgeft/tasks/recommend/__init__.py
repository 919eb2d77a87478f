"""The task recommend."""

from ..record import Task
from . import decoding, histories, sample

TASK = Task(
    name="recommend",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    parse=decoding.parse,
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
    tell=decoding.tell,
    refuse_unseen=decoding.refuse_unseen,
    show_sample=sample.show,
    count_labels=sample.count,
    formats=("ratings",),
    learning_module="edgeft.tasks.recommend.learning",
    template="edgeft.tasks.recommend:template.toml",
    embeddings=True,
    float_tables=(
        "model.name=neumf",
        "model.args={ factors = 32, hidden = [64, 32, 16], dropout = 0.3 }",
        "train.epochs=12",
        "quantize.method=qat",
        "quantize.embeddings=float",
    ),
    learn=histories.learn,
    run_part="edgeft.tasks.recommend:run_part.py",
    step_loss="ranking",
)
