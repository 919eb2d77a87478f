"""The task control-discrete: a policy that chooses one of a few actions, judged as `classify` judges its classes."""

from dataclasses import replace

from ..classify import TASK as _CLASSES
from ..control import TASK as _CONTROL
from . import decoding

TASK = replace(
    _CLASSES,
    name="control-discrete",
    configure=_CONTROL.configure,
    read=_CONTROL.read,
    parse=_CONTROL.parse,
    preprocess=_CONTROL.preprocess,
    draw=_CONTROL.draw,
    action=decoding.action,
    suits=decoding.suits,
    show_sample=decoding.show,
    formats=("trajectories",),
    default=False,
    hub_tag="",
    auto_class="",
    auto_reads="",
    real_time=True,
    learning_module="edgeft.tasks.control_discrete.learning",
    template="edgeft.tasks.control_discrete:template.toml",
)
