"""JSON that would overflow a stack or a number is broken JSON, in one error, at once."""

from __future__ import annotations

import json

import pytest

from edgeft.core import strict_json


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 400, "[-" + "9" * 5000 + "]", b"[" * 100_000])
def test_what_would_overflow_is_broken(text):
    with pytest.raises(json.JSONDecodeError):
        strict_json.loads(text)


@pytest.mark.parametrize("text", ["18446744073709551615", "-9223372036854775808", '{"a": [1.5e3, null, "x"]}'])
def test_all_else_is_read_as_json_is(text):
    assert strict_json.loads(text) == json.loads(text)
