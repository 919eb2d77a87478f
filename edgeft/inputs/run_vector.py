"""Rows of numbers: the same arithmetic as edgeft/inputs/vector.py."""

import os

import numpy as np

from ..core.runner import Stop, load_npy

INPUTS = 'rows of numbers such as "0.1, -0.2", files that hold one row, or .npy files'


def read(path, spec=None):
    """float32 (K,) of a row, of a text file with one row, or of a .npy file."""
    text = path
    try:
        if os.path.isfile(path) and path.lower().endswith(".npy"):
            row = np.array(load_npy(path), np.float32).reshape(-1)
        else:
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as handle:
                    text = handle.read()
            rows = [line for line in text.replace(";", ",").splitlines() if line.strip()]
            if len(rows) != 1:
                raise ValueError(f"{len(rows)} rows")
            row = np.array([float(v) for v in rows[0].replace(",", " ").split()], np.float32)
    except (OSError, ValueError, TypeError) as error:
        raise Stop(3, f"{path[:80]}: neither a file nor a row of numbers ({error})") from error

    if not row.size or not np.isfinite(row).all():
        raise Stop(3, f"{path[:80]}: holds no numbers, or some that are not finite")
    return row


def feeds(raw, spec):
    """{input name: float32 (1, K)}: (x - mean) / std by column."""
    row = np.asarray(raw, np.float32).reshape(-1)
    if row.size != spec["size"][0]:
        raise Stop(3, "a row has {} values, the model takes {}".format(row.size, spec["size"][0]))
    scaled = (row - np.asarray(spec["mean"], np.float32)) / np.asarray(spec["std"], np.float32)
    return {spec["input"]: scaled[None]}
