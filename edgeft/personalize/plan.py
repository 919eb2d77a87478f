"""The table `personalize` of a manifest and the graphs that belong to it, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle.reader import Bundle
from ..config import numeric
from ..config.formats import int8
from ..core.errors import BundleError

GRAPHS = ("trunk", "tail", "step")
LOSSES = ("cross-entropy", "mse", "prototype", "ranking")
_AGAIN = "export the bundle again"


@dataclass(frozen=True)
class Latent:
    """An output of the trunk: `shape` of a sample; integers of the type `dtype` where `scale` is set, else float32."""

    name: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    dtype: str = int8.AFFINE.dtype

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of the values in the files of a bundle."""
        return np.dtype(np.float32 if self.scale is None else self.dtype)


@dataclass(frozen=True)
class Parameter:
    """A trainable tensor of the tail, under the model's name for it."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """How the tail of a bundle is trained.

    `loss` "prototype": the steps train the features, and the last layer is set to the class means afterwards.
    `loss` "ranking": the parameters are vectors of one user, float32 (1, width); a latent's first axis is candidates.
    `batch` samples a step, `rate` the learning rate, `state` the optimizer's tensors by name with their shapes, `ones`
    those of them that start at 1 (the others at 0). `spare` outputs stand ready for classes that are not known yet;
    `head` are the positions of the last layer's weight and bias among the parameters. `outputs` are the model's.
    """

    tail: str
    latents: tuple[Latent, ...]
    parameters: tuple[Parameter, ...]
    state: tuple[tuple[str, tuple[int, ...]], ...]
    ones: tuple[str, ...]
    outputs: tuple[str, ...]
    loss: str
    optimizer: str
    rate: float
    batch: int
    steps: int
    max_forget: float
    spare: int
    head: tuple[int, int]
    file: str


def of(bundle: Bundle) -> Plan:
    """The plan of an opened bundle; `BundleError` for one that was exported without, or whose table is wrong."""
    table = bundle.manifest.get("personalize")
    if table is None:
        raise BundleError(
            "was exported without personalization",
            where=str(bundle.path),
            remedy="add a [personalize] table to the recipe and export it again",
        )

    try:
        plan = read(table)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"is not a plan of personalization ({error})", where=_where(bundle), remedy=_AGAIN) from error

    known = {graph["name"] for graph in bundle.manifest["graphs"]}
    for name in GRAPHS:
        if name not in known:
            raise BundleError(f"the graph {name!r} is missing", where=_where(bundle), remedy=_AGAIN)

    if plan.file not in bundle.manifest["files"]:
        raise BundleError(f"{plan.file!r} is not in files", where=_where(bundle), remedy=_AGAIN)
    if len(plan.outputs) != 1:
        raise BundleError("only models of one output can be personalized", where=_where(bundle), remedy=_AGAIN)

    return plan


def _where(bundle: Bundle) -> str:
    return f"{bundle.path / 'manifest.json'}: personalize"


def _shape(value: Any) -> tuple[int, ...]:
    sides = tuple(int(side) for side in value)
    if any(side < 1 for side in sides) or math.prod(sides) > 1 << 28:
        raise ValueError(f"the shape {list(sides)} cannot be")
    return sides


def _integers(dtype: Any) -> str:
    if dtype not in numeric.STORED_WEIGHTS:
        raise ValueError(f"{dtype!r} is no type of latents")
    return str(dtype)


def read(table: Mapping[str, Any]) -> Plan:
    """The plan of a manifest's table; raises LookupError, TypeError, ValueError or OverflowError where it is none."""
    if table["loss"] not in LOSSES:
        raise ValueError(f"the loss {table['loss']!r} is not known here")

    plan = Plan(
        tail=str(table["tail"]),
        latents=tuple(
            Latent(
                str(latent["name"]),
                _shape(latent["shape"]),
                None if latent["scale"] is None else float(latent["scale"]),
                None if latent["zero_point"] is None else int(latent["zero_point"]),
                _integers(latent.get("dtype", int8.AFFINE.dtype)),
            )
            for latent in table["latents"]
        ),
        parameters=tuple(Parameter(str(latent["name"]), _shape(latent["shape"])) for latent in table["parameters"]),
        state=tuple((str(latent["name"]), _shape(latent["shape"])) for latent in table["state"]),
        ones=tuple(str(name) for name in table["ones"]),
        outputs=tuple(str(name) for name in table["outputs"]),
        loss=table["loss"],
        optimizer=str(table["optimizer"]),
        rate=float(table["rate"]),
        batch=int(table["batch"]),
        steps=int(table["steps"]),
        max_forget=float(table["max_forget"]),
        spare=int(table["spare"]),
        head=(int(table["head"][0]), int(table["head"][1])),
        file=str(table["file"]),
    )
    if not plan.parameters or not plan.latents or plan.batch < 1 or plan.steps < 0 or plan.spare < 0:
        raise ValueError("it has no parameters, no latents or no batch")
    if not all(-1 <= at < len(plan.parameters) for at in plan.head) or not 0 < plan.rate < math.inf:
        raise ValueError("the place of the head or the rate is wrong")

    return plan
