"""Damaged `.npy` files: one kind of error, on the host and in run.py, whatever numpy raises inside."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeft.core import npy, runner
from edgeft.core.errors import DataError
from edgeft.inputs import mask, picture_file, run_picture_file, run_vector, vector


def stored(header: str | None = None) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=np.uint8).reshape(3, 4))
    content = buffer.getvalue()
    if header is None:
        return content
    return content[:8] + len(header).to_bytes(2, "little") + header.encode("latin-1") + content[-12:]


#: what numpy raised for them: tokenize.TokenError, SyntaxError, RecursionError or MemoryError, TypeError, OverflowError
HEADERS = [
    "{'descr': ('|u1', 'fortran_order': False, 'shape': (3, 4), }\n",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), '''\n",
    "-" * 9000 + "1\n",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (3, {}), }\n",
    "{'descr': [('a', '|u1', {})], 'fortran_order': False, 'shape': (3, 4), }\n",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (10**400, 4), }\n",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999, 4), }\n",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-3, -4), }\n",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }\n",
    "{'descr': '<f8\\x00', 'fortran_order': False, 'shape': (3, 4), }\n",
]


def readers(path: Path) -> list[tuple[Callable[[], object], type[Exception]]]:
    return [
        (lambda: npy.mapped(path), ValueError),
        (lambda: vector.read(path), DataError),
        (lambda: mask.stored(path), DataError),
        (lambda: picture_file.read(path, {}), DataError),
        (lambda: run_picture_file.read(str(path)), runner.Stop),
        (lambda: run_vector.read(str(path)), runner.Stop),
    ]


def outcomes(path: Path) -> list[bool]:
    """Which readers read the file; all others raised the error that they declare."""
    success = []
    for read, error in readers(path):
        try:
            read()
            success.append(True)
        except error:
            success.append(False)
    return success


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_make_numpy_stumble(header: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(stored(header))
    assert not any(outcomes(path)), header[:60]


def test_an_old_header_is_read_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(stored("{'descr': '|u1', 'fortran_order': False, 'shape': (3L, 4L), }\n"))
    np.testing.assert_array_equal(npy.mapped(path), np.arange(12).reshape(3, 4))


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(ValueError, match="several arrays"):
        npy.mapped(tmp_path / "x.npy")


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(6, len(stored()) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(stored())),
)
@example([(18, 40)], 0)
def test_altered_bytes(tmp_path: Path, changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(stored())
    for place, value in changes:
        content[place] = value
    path = tmp_path / "x.npy"
    path.write_bytes(content[:end] or content)
    outcomes(path)
