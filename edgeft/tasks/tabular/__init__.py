"""The task tabular: a class from the columns of a row, judged as `classify` judges its classes."""

from dataclasses import replace

from ...inputs import columns
from ..classify import TASK as _CLASSES

TASK = replace(
    _CLASSES,
    name="tabular",
    configure=columns.configure,
    read=columns.read,
    parse=columns.parse,
    rows=columns.rows,
    preprocess=columns.preprocess,
    draw=columns.draw,
    formats=("table",),
    default=False,
    hub_tag="tabular-classification",
    auto_class="",
    auto_reads="",
    learning_module="edgeft.tasks.tabular.learning",
    template="edgeft.tasks.tabular:template.toml",
)
