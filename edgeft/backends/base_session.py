"""What every session does the same way: match names, check shapes and dtypes, convert at the border, batch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BundleError, nearest
from . import Tensor

#: a dynamic batch is run in pieces of at most so many samples and so many bytes of input.
CHUNK_SAMPLES, CHUNK_BYTES = 64, 1 << 24
#: of an option that is a number (threads, streams): by larger ones runtimes crash, or take all memory
MOST = 1024


def existing(path: Path | str) -> Path:
    """`path`, refused (`BundleError`) when there is no such file."""
    path = Path(path)
    if not path.is_file():
        raise BundleError("there is no such file", where=str(path), remedy="check the bundle, or export it again")
    return path


def reason(error: BaseException) -> str:
    """What a runtime's error says, in one line and without the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception from ")] or lines or [type(error).__name__]
    return " ".join(telling[:2])[:300]


def settings(
    options: Mapping[str, Any] | None, defaults: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], Sequence[str] | None, Sequence[str] | None]:
    """`defaults` overridden by `options`, and the positional input and output names that `options` may hold.

    Options come from a manifest, so only the keys of `defaults` are taken: anything else is a `BundleError`.
    """
    merged = dict(defaults)
    names: dict[str, Sequence[str] | None] = {"input_names": None, "output_names": None}
    for key, value in (options or {}).items():
        if key in names:
            if value is not None and (isinstance(value, str) or not all(isinstance(v, str) for v in value)):
                raise BundleError(f"the runtime option {key!r} is a list of names", where=str(path))
            names[key] = value
        elif key not in defaults:
            raise BundleError(
                f"unknown runtime option {key!r}", where=str(path), remedy=nearest(key, (*defaults, *names))
            )
        elif type(value) is not type(defaults[key]):
            raise BundleError(
                f"the runtime option {key!r} is {value!r}, expected a {type(defaults[key]).__name__} "
                f"like {defaults[key]!r}",
                where=str(path),
            )
        elif _number(value) is not None and not 0 <= (_number(value) or 0) <= MOST:
            raise BundleError(f"the runtime option {key!r} is {value!r}, expected 0 to {MOST}", where=str(path))
        else:
            merged[key] = value

    return merged, names["input_names"], names["output_names"]


def _number(value: Any) -> int | None:
    """A whole number, also where it is written as text; None for anything else."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,20}", value) else None
    return value if type(value) is int else None


def rename(tensors: Sequence[Tensor], names: Sequence[str] | None, what: str, path: Path) -> tuple[Tensor, ...]:
    """The tensors under the names given by position (a converter may have mangled the artifact's own)."""
    if names is None:
        return tuple(tensors)
    if len(names) != len(tensors) or len(set(names)) != len(names):
        raise BundleError(
            f"{len(names)} {what} names {list(names)} for {len(tensors)} {what}s of the artifact", where=str(path)
        )

    return tuple(Tensor(n, t.shape, t.dtype, t.scale, t.zero_point) for n, t in zip(names, tensors))


def describe(tensor: Tensor) -> str:
    dims = ", ".join("n" if d < 0 else str(d) for d in tensor.shape)
    real = "float32" if tensor.scale is not None or tensor.dtype.startswith("float") else tensor.dtype
    return f"{real} ({dims})"


def quantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values to the stored integers of a quantized border: round half to even, then saturate."""
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(values.astype(np.float32) / np.float32(tensor.scale)) + np.float32(tensor.zero_point or 0)
    stored: np.ndarray = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
    return stored


def dequantize(stored: np.ndarray, tensor: Tensor) -> np.ndarray:
    return (stored.astype(np.float32) - np.float32(tensor.zero_point or 0)) * np.float32(tensor.scale)


class BaseSession:
    """Half of a session: a runtime adds `_call` and `invoke`.

    `inputs` and `outputs` are as the artifact declares them, in its order; `blocks` are the shapes that one call
    takes (they differ from the declared ones only where a runtime cannot change a dynamic batch cheaply).
    """

    #: sessions that this process has made: from the first on, a runtime has threads of its own here
    made = 0

    def __init__(
        self,
        path: Path,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        blocks: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        BaseSession.made += 1
        self.path, self.inputs, self.outputs = path, tuple(inputs), tuple(outputs)
        self._blocks = list(blocks) if blocks is not None else [t.shape for t in inputs]

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """One call of the artifact on stored values, in its own order of inputs and outputs."""
        raise NotImplementedError

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run batched feeds: {name: (n, ...)} -> {name: (n, ...)}; float32 real values where the border is quantized.

        A fixed batch is looped over (the last piece is filled up by its last sample), a dynamic one is cut into
        chunks. Raises `BundleError` naming the tensor when a name, a shape or a dtype is not what is declared.
        """
        arrays = [self._stored(self._feed(feeds, t), t) for t in self._matched(feeds)]
        results = self._batches(arrays)
        return {
            t.name: dequantize(a, t) if t.scale is not None else a.astype(np.float32) if a.dtype.kind == "f" else a
            for t, a in zip(self.outputs, results)
        }

    def _fault(self, message: str, remedy: str = "") -> BundleError:
        return BundleError(message, where=str(self.path), remedy=remedy)

    def _matched(self, feeds: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        names = [t.name for t in self.inputs]
        if set(feeds) == set(names) or (len(names) == 1 and len(feeds) == 1):
            return self.inputs

        wrong = sorted(set(feeds) - set(names))
        absent = [n for n in names if n not in feeds]
        parts = [f"no input is called {wrong[0]!r}"] if wrong else []
        parts += [f"the input {absent[0]!r} is not fed"] if absent else []
        expected = ", ".join(f"{t.name}: {describe(t)}" for t in self.inputs)
        raise self._fault("; ".join(parts), f"the inputs are {expected}")

    def _feed(self, feeds: Mapping[str, np.ndarray], tensor: Tensor) -> np.ndarray:
        array = np.asarray(feeds[tensor.name] if tensor.name in feeds else next(iter(feeds.values())))
        declared = tensor.shape
        if array.ndim != len(declared) or any(d >= 0 and a != d for a, d in zip(array.shape[1:], declared[1:])):
            raise self._fault(
                f"the input {tensor.name!r} has shape {array.shape}, expected {describe(tensor)}",
                "feed a batch on axis 0, every other axis as declared",
            )
        if array.size == 0:
            raise self._fault(f"the input {tensor.name!r} is empty, shape {array.shape}")

        return array

    def _stored(self, array: np.ndarray, tensor: Tensor) -> np.ndarray:
        kind = np.dtype(tensor.dtype).kind
        real = tensor.scale is not None or kind == "f"
        if array.dtype.kind not in ("f" if real else {"i": "iu", "u": "iu", "b": "b"}[kind]):
            raise self._fault(
                f"the input {tensor.name!r} has dtype {array.dtype}, expected {describe(tensor)}",
                "preprocess it as the manifest says",
            )

        if tensor.scale is not None:
            if np.isnan(array).any():
                raise self._fault(f"the input {tensor.name!r} holds NaN, which {tensor.dtype} cannot express")
            array = quantize(array, tensor)
        elif kind in "iu" and array.dtype != tensor.dtype:
            limits = np.iinfo(tensor.dtype)
            if int(array.min()) < limits.min or int(array.max()) > limits.max:
                raise self._fault(f"the input {tensor.name!r} holds values that {tensor.dtype} cannot express")

        return np.asarray(array, dtype=tensor.dtype, order="C")

    def _batches(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        sizes = {t.name: (a.shape[0], b[0]) for t, a, b in zip(self.inputs, arrays, self._blocks) if b}
        dynamic = {size for size, block in sizes.values() if block < 0}
        wrong = [(n, size, block) for n, (size, block) in sizes.items() if block >= 0 and size != block]

        if dynamic and wrong:
            name, size, block = wrong[0]
            raise self._fault(f"the input {name!r} has {size} rows on axis 0, expected {block}")

        if dynamic:
            count, all_free = max(dynamic), len(sizes) == len(arrays) and all(b < 0 for _, b in sizes.values())
            bytes_each = sum(a.nbytes for a in arrays) // count
            step = max(1, min(CHUNK_SAMPLES, CHUNK_BYTES // max(bytes_each, 1)))
            batched = all(t.shape and t.shape[0] < 0 for t in self.outputs)
            if not (all_free and batched and len(dynamic) == 1) or count <= step:
                return self._call(arrays)
            return self._looped(arrays, count, step)

        if not wrong:
            return self._call(arrays)

        if len(set(sizes.values())) > 1:
            text = ", ".join(f"{name!r} has {size} of {block}" for name, (size, block) in sizes.items())
            raise self._fault(f"the inputs do not hold the same number of batches on axis 0: {text}")

        _, count, step = wrong[0]
        return self._looped(arrays, count, step, fill=True)

    def _looped(self, arrays: list[np.ndarray], count: int, step: int, *, fill: bool = False) -> list[np.ndarray]:
        """`step` samples a call, outputs joined on axis 0; `fill` repeats the last sample in a short last piece."""
        parts: list[list[np.ndarray]] = []
        for start in range(0, count, step):
            piece = [a[start : start + step] if a.ndim else a for a in arrays]
            if fill and start + step > count:
                missing = start + step - count
                piece = [np.concatenate([p, np.repeat(p[-1:], missing, axis=0)]) if p.ndim else p for p in piece]

            valid_rows = step if fill else min(step, count - start)
            parts.append(self._call(piece))
            for tensor, array in zip(self.outputs, parts[-1]):
                if array.ndim == 0 or array.shape[0] != valid_rows:
                    raise self._fault(
                        f"the output {tensor.name!r} has no batch axis (shape {array.shape} for {valid_rows} samples)",
                        "feed one batch of the declared shape at a time",
                    )

        return [np.concatenate(column)[:count] for column in zip(*parts)]


def started() -> bool:
    """Whether a runtime has computed in this process, so that it has threads of its own here."""
    return BaseSession.made > 0
