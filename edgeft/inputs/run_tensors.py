"""Arrays as they are: as in edgeft/inputs/tensors.py."""

import numpy as np

from ..core.runner import Stop, load_npy

INPUTS = ".npy files, or .npz files of several arrays, one sample each"


def read(path, spec=None):
    """{name: array} of one sample."""
    if path.lower().endswith(".npy"):
        return {"x": load_npy(path)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile and numpy raise errors of many types for damaged files
        raise Stop(3, f"{path}: neither a .npy nor an .npz file ({error})") from error


def feeds(raw, spec):
    """{input: (1, ...)} in the model's order; floats are (x - mean) / std where the table has them."""
    tensors = {}
    for item in spec["inputs"]:
        shape, key = tuple(item["shape"]), item["key"]
        if key not in raw and not len(raw) == len(spec["inputs"]) == 1:
            raise Stop(3, f"a sample has no array {key!r}")
        values = np.asarray(raw[key] if key in raw else next(iter(raw.values())))
        if values.shape not in (shape, (1, *shape)) or values.dtype.kind not in "fiub":
            raise Stop(3, f"array {key!r} is {values.dtype} {values.shape}, the model takes {shape}")
        values = values.reshape(shape)
        if item["dtype"] == "float32":
            values = values.astype(np.float32)
            if "mean" in spec or "std" in spec:
                values = (values - along(spec.get("mean", [0.0]), shape)) / along(spec.get("std", [1.0]), shape)
            if not np.isfinite(values).all():
                raise Stop(3, f"array {key!r} holds values that are not finite")
        tensors[item["name"]] = values.astype(item["dtype"])[None]

    return tensors


def along(values, shape):
    numbers = np.asarray(values, np.float32)
    return numbers if len(values) == 1 else numbers.reshape((-1,) + (1,) * (len(shape) - 1))


def stored(samples, i):
    prefix = f"raw_{i}/"
    return {name[len(prefix) :]: values for name, values in samples.items() if name.startswith(prefix)}
