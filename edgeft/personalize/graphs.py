"""Trunk, tail and training step in their runtime, and a session that predicts with given parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..backends import Session, Tensor
from ..bundle.reader import Bundle
from ..core.errors import BundleError
from .plan import Latent, Plan

Arrays = list[np.ndarray]


def load(bundle: Bundle, name: str, threads: int | None = None) -> Session:
    """The session of `trunk`, `tail` or `step`."""
    return bundle.session(threads=threads, name=name)


def latents_of(trunk: Session, plan: Plan, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """The latents of preprocessed samples, (n, ...) each: integers on the plan's grid, or float32."""
    outputs = trunk.run(feeds)
    return [_stored(outputs[latent.name], latent) for latent in plan.latents]


def _stored(values: np.ndarray, latent: Latent) -> np.ndarray:
    if values.shape[1:] != latent.shape:
        raise BundleError(
            f"the trunk gives {values.shape[1:]} where the plan says {latent.shape}", where=f"tensor {latent.name}"
        )
    if latent.scale is None:
        return values.astype(np.float32)

    steps = np.rint(values / np.float32(latent.scale)) + (latent.zero_point or 0)
    ends = np.iinfo(latent.stored)
    stored: np.ndarray = np.clip(steps, ends.min, ends.max).astype(latent.stored)
    return stored


def real(stored: np.ndarray, latent: Latent) -> np.ndarray:
    """float32 values of stored latents."""
    if latent.scale is None:
        return np.ascontiguousarray(stored, np.float32)
    return (stored.astype(np.float32) - np.float32(latent.zero_point or 0)) * np.float32(latent.scale)


def outputs_of(tail: Session, plan: Plan, parameters: Arrays, latents: Arrays) -> tuple[np.ndarray, np.ndarray | None]:
    """The model's output (n, ...) and the input of its last layer (n, D), sample by sample.

    The second is None where the tail's last layer cannot take a new class.
    """
    fixed = {f"parameter_{i}": value for i, value in enumerate(parameters)}
    scores, feature_batches = [], []
    for row in range(len(latents[0])):
        feeds = {f"latent_{i}": real(v[row : row + 1], grid) for i, (v, grid) in enumerate(zip(latents, plan.latents))}
        result = tail.run({**feeds, **fixed})
        scores.append(result["output"])
        feature_batches.append(result.get("features"))

    features = (
        None
        if not feature_batches or feature_batches[0] is None
        else np.concatenate([np.asarray(grid) for grid in feature_batches])
    )

    return np.concatenate(scores), features


class Personal:
    """A session of trunk and tail with one set of parameters: what `predict` runs where the bundle has a state.

    `classes` cuts off spare outputs that no class has yet.
    """

    def __init__(self, trunk: Session, tail: Session, plan: Plan, parameters: Arrays, classes: int = 0) -> None:
        self._trunk, self._tail, self._plan = trunk, tail, plan
        self._parameters, self._classes = parameters, classes
        self.inputs: tuple[Tensor, ...] = trunk.inputs
        (name,) = plan.outputs
        self.outputs: tuple[Tensor, ...] = (Tensor(name, (-1, *tail.outputs[0].shape[1:]), "float32"),)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        latents = latents_of(self._trunk, self._plan, feeds)
        scores, _ = outputs_of(self._tail, self._plan, self._parameters, latents)
        return {self.outputs[0].name: scores[:, : self._classes] if self._classes else scores}

    def invoke(self) -> None:
        self._trunk.invoke()
        self._tail.invoke()


def step_feeds(
    plan: Plan, parameters: Sequence[np.ndarray], state: Sequence[np.ndarray], latents: Arrays, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """The inputs of the training step but for the rate, by name."""
    feeds = {f"parameter_{i}": value for i, value in enumerate(parameters)}
    feeds |= {name: value for (name, _), value in zip(plan.state, state)}
    feeds |= {f"latent_{i}": real(value, grid) for i, (value, grid) in enumerate(zip(latents, plan.latents))}
    return {**feeds, "targets": targets.astype(np.float32)}


def fresh_state(plan: Plan) -> Arrays:
    """The optimizer's state before the first step."""
    return [np.full(shape, 1.0 if name in plan.ones else 0.0, np.float32) for name, shape in plan.state]
