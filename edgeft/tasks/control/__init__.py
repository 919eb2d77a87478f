"""The task control."""

from ..record import Task
from . import decoding, sample

TASK = Task(
    name="control",
    metric=decoding.METRIC,
    further_metrics=decoding.EXTRA_METRICS,
    score=decoding.metric,
    configure=decoding.configure,
    read=decoding.read,
    answer="values",
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
    action=decoding.action,
    suits=decoding.suits,
    show_sample=sample.show,
    formats=("trajectories", "environment"),
    hub_tag="robotics",
    learning_module="edgeft.tasks.control.learning",
    template="edgeft.tasks.control:template.toml",
    run_part="edgeft.tasks.control:run_part.py",
    step_loss="mse",
    discrete=False,
    outputs_apart=True,
    real_time=True,
)
