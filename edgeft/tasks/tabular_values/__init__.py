"""The task tabular-values: a number from the columns of a row, judged as `control` judges its values."""

from dataclasses import replace

from ...inputs import columns
from ..control import TASK as _VALUES

TASK = replace(
    _VALUES,
    name="tabular-values",
    configure=columns.configure,
    read=columns.read,
    parse=columns.parse,
    rows=columns.rows,
    preprocess=columns.preprocess,
    draw=columns.draw,
    action=None,
    show_sample=None,
    formats=("table-values",),
    hub_tag="tabular-regression",
    learning_module="edgeft.tasks.tabular_values.learning",
    template="edgeft.tasks.tabular_values:template.toml",
    real_time=False,
)
