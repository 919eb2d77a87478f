"""The inputs and outputs of an artifact under the names, and with the shapes, that a manifest states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import backends as runtimes
from ..core.errors import BundleError, nearest
from . import folders


class NamedSession:
    """A session under the names that the manifest gives its tensors."""

    def __init__(self, session: runtimes.Session, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        self._session, self._to_artifact = session, dict(inputs)
        self._to_manifest = {artifact: name for name, artifact in outputs.items()}
        self.inputs = _renamed(session.inputs, {artifact: name for name, artifact in inputs.items()})
        self.outputs = _renamed(session.outputs, self._to_manifest)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name in feeds:
            if name not in self._to_artifact:
                raise BundleError(f"the graph has no input {name!r}", remedy=nearest(name, self._to_artifact))
        results = self._session.run({self._to_artifact[name]: value for name, value in feeds.items()})
        return {self._to_manifest[name]: value for name, value in results.items()}

    def invoke(self) -> None:
        self._session.invoke()


def _renamed(tensors: tuple[runtimes.Tensor, ...], names: Mapping[str, str]) -> tuple[runtimes.Tensor, ...]:
    return tuple(
        runtimes.Tensor(names[t.name], t.shape, t.dtype, scale=t.scale, zero_point=t.zero_point) for t in tensors
    )


def named(session: runtimes.Session, graph: Mapping[str, Any], *, where: str) -> runtimes.Session:
    """`session` under the names of a manifest's graph: by name where the artifact kept them, else by position."""
    pairs = []
    for key, tensors in (("inputs", session.inputs), ("outputs", session.outputs)):
        expected, actual = [tensor["name"] for tensor in graph[key]], [tensor.name for tensor in tensors]
        if len(expected) != len(actual):
            raise BundleError(f"the artifact has {len(actual)} {key}, the manifest names {len(expected)}", where=where)
        pairs.append(dict(zip(expected, expected if set(expected) == set(actual) else actual)))

    if all(name == artifact for pair in pairs for name, artifact in pair.items()):
        return session
    return NamedSession(session, *pairs)


def check(session: runtimes.Session, graph: Mapping[str, Any], *, where: str) -> None:
    """Raise `BundleError` where a manifest's graph states another shape of a tensor than its artifact has.

    A dynamic dimension (-1) of either takes any size.
    """
    for key, tensors in (("inputs", session.inputs), ("outputs", session.outputs)):
        by_name = {tensor.name: tensor for tensor in tensors}
        names = [entry["name"] for entry in graph[key]]
        ordered = [by_name[name] for name in names] if set(names) == set(by_name) else tensors
        for entry, tensor in zip(graph[key], ordered):
            sizes = zip(entry["shape"], tensor.shape)
            same = len(entry["shape"]) == len(tensor.shape) and all(a == b or -1 in (a, b) for a, b in sizes)
            if not same:
                raise BundleError(
                    f"{key[:-1]} {entry['name']!r} is {list(tensor.shape)} in the artifact, and the manifest says "
                    f"{entry['shape']}",
                    where=where,
                    remedy=folders.EXPORT_AGAIN,
                )
