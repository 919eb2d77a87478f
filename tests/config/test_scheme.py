"""Schemes: records with derived names; equal grids are equal records."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.config import numeric, scheme
from edgeft.config.formats import int8
from edgeft.config.numeric import Numeric
from edgeft.config.scheme import GAINS, OP_CLASSES, WEIGHTED, Scheme, SchemeTable
from edgeft.core.errors import TargetError

schemes = st.builds(
    lambda **keys: SchemeTable(**keys).scheme(),
    activation_symmetric=st.booleans(),
    weight_bits=st.sampled_from([7, 8]),
    per_tensor=st.lists(st.sampled_from(WEIGHTED), unique=True).map(tuple),
    residual=st.sampled_from(["all", "branch"]),
    ops=st.lists(st.sampled_from(OP_CLASSES), unique=True).map(lambda ops: ("conv", *ops)),
    embeddings=st.sampled_from(scheme.EMBEDDINGS),
)


def test_names() -> None:
    assert Scheme().name == "affine"
    assert SchemeTable(weight_bits=7).scheme().name == "affine-w7"
    assert SchemeTable(activation_symmetric=True, residual="branch").scheme().name == "symmetric-residual_branch"
    assert SchemeTable(per_tensor=WEIGHTED).scheme().name == "affine-per_tensor"
    assert SchemeTable(per_tensor=("linear",)).scheme().name == "affine-linear_per_tensor"
    assert Scheme(ops=OP_CLASSES).name == "affine-with_conv_transpose-with_matmul-with_softmax"
    assert Scheme(ops=tuple(op for op in GAINS if op != "mul")).name == "affine-no_mul"


def test_grids() -> None:
    assert Scheme().weights["conv"].range == (-127, 127)
    assert SchemeTable(weight_bits=7).scheme().weights["linear"].range == (-63, 63)
    assert Scheme().activations.range == (-128, 127)
    assert Scheme().activations.dtype == Scheme().widest.dtype == "int8" and Scheme().activations.steps == 255


def test_int8_is_the_default() -> None:
    assert SchemeTable().scheme() == Scheme()
    tables = SchemeTable(weight_bits=7, embeddings="int8").scheme()
    assert tables.tables == int8.weights(8), "a table enters no sum of products, so 7-bit weights do not cut it"


def test_what_follows_from_a_format() -> None:
    four, wide = Numeric(bits=4, symmetric=True, narrow=True), Numeric(bits=16, symmetric=True)
    assert four.range == (-7, 7) and four.dtype == "int8" and four.steps == 14
    assert wide.range == (-32768, 32767) and wide.dtype == "int16"
    assert Numeric(bits=8, signed=False).range == (0, 255) and Numeric(bits=8, signed=False).dtype == "uint8"
    assert Numeric("float", 16).dtype == "float16"
    assert int8.AFFINE.prescribed(0, 1) == (1 / 256, -128) and int8.SYMMETRIC.prescribed(0, 1) == (1 / 127, 0)
    assert int8.AFFINE.prescribed(-1, 1) == (1 / 128, 0) and int8.SYMMETRIC.prescribed(-1, 1) == (1 / 127, 0)


def test_unsigned_integers_are_the_signed_ones_moved() -> None:
    for dtype in (np.int8, np.int16):
        ends = np.array([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype)
        moved = numeric.unsigned(ends)
        assert moved.dtype.name == f"u{ends.dtype.name}" and moved[0] == 0 and moved[2] == np.iinfo(moved.dtype).max
        assert numeric.signed_zero_point(int(moved[1]), moved.dtype.name) == 0


def test_a_format_of_other_widths_has_a_name_and_a_table_of_its_own() -> None:
    four = dataclasses.replace(int8.weights(), bits=4)
    mixed = Scheme(weights={**Scheme().weights, "conv": four})
    assert mixed.name == "affine-conv_w4" and mixed != Scheme()
    everywhere = Scheme(activations=Numeric(bits=16, symmetric=True), weights=dict.fromkeys(WEIGHTED, four))
    assert everywhere.name == "symmetric-a16-w4"
    table = everywhere.as_dict()
    assert (table["activation_dtype"], table["weight_bits"], table["weight_range"]) == ("int16", 4, [-7, 7])
    assert scheme.activations_of(table) == everywhere.activations
    assert scheme.activations_of({}) == int8.AFFINE


@given(schemes, schemes)
def test_a_name_stands_for_one_record(a: Scheme, b: Scheme) -> None:
    assert (a.name == b.name) == (a == b)
    if a == b:
        assert hash(a) == hash(b)


@given(schemes, st.randoms())
def test_order_and_repeats_do_not_matter(made: Scheme, random: Any) -> None:
    ops, weights = [*made.ops, *made.ops], list(made.weights.items())
    random.shuffle(ops)
    random.shuffle(weights)
    again = replace(made, weights=dict(weights), ops=tuple(ops))
    assert again == made
    assert again.name == made.name


@given(schemes)
def test_a_manifest_reads_back(made: Scheme) -> None:
    assert scheme.from_table(json.loads(json.dumps(made.as_dict())), "manifest.json") == made


def test_names_make_file_names() -> None:
    name = SchemeTable(True, 7, ("linear", "conv"), "branch", OP_CLASSES).scheme().name
    assert name.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("table", "message", "remedy"),
    [
        ({"weight_bit": 7}, "unknown key 'scheme.weight_bit'", "did you mean 'weight_bits'?"),
        ({"weight_bits": 4}, "scheme.weight_bits is 7 or 8, not 4", ""),
        ({"weight_bits": True}, "must be a whole number", ""),
        ({"activation_symmetric": "yes"}, "'scheme.activation_symmetric' must be true or false", ""),
        ({"residual": "some"}, "scheme.residual is 'all' or 'branch'", ""),
        ({"residual": 1}, "must be a string", ""),
        ({"embeddings": "int4"}, "scheme.embeddings cannot be 'int4'", "did you mean 'int8'?"),
        ({"per_tensor": "conv"}, "'scheme.per_tensor' must be a list", 'write per_tensor = ["conv"]'),
        ({"per_tensor": ["add"]}, "unknown op class 'add' in scheme.per_tensor", ""),
        ({"ops": ["conv", "convs"]}, "unknown op class 'convs'", "did you mean 'conv'?"),
        ({"ops": []}, "no op class with weights", ""),
        ({"ops": ["add"]}, "no op class with weights", ""),
        ({"name": "symmetric"}, "scheme.name is 'symmetric', but the record says 'affine'", ""),
        ({"weight_range": [-63, 63]}, "scheme.weight_range", ""),
    ],
)
def test_from_table_refuses(table: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(TargetError) as caught:
        scheme.from_table(table, "board.toml")
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.where == "board.toml"
