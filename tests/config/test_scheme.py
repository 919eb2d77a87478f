"""Schemes: records with derived names; equal grids are equal records."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.config import scheme
from edgeft.config.scheme import GAINS, OP_CLASSES, WEIGHTED, Scheme
from edgeft.core.errors import TargetError

schemes = st.builds(
    Scheme,
    activation_symmetric=st.booleans(),
    weight_bits=st.sampled_from([7, 8]),
    per_tensor=st.lists(st.sampled_from(WEIGHTED), unique=True).map(tuple),
    residual=st.sampled_from(["all", "branch"]),
    ops=st.lists(st.sampled_from(OP_CLASSES), unique=True).map(lambda ops: ("conv", *ops)),
    embeddings=st.sampled_from(scheme.EMBEDDINGS),
)


def test_names() -> None:
    assert Scheme().name == "affine"
    assert Scheme(weight_bits=7).name == "affine-w7"
    assert Scheme(activation_symmetric=True, residual="branch").name == "symmetric-residual_branch"
    assert Scheme(per_tensor=WEIGHTED).name == "affine-per_tensor"
    assert Scheme(per_tensor=("linear",)).name == "affine-linear_per_tensor"
    assert Scheme(ops=OP_CLASSES).name == "affine-with_conv_transpose-with_matmul-with_softmax"
    assert Scheme(ops=tuple(op for op in GAINS if op != "mul")).name == "affine-no_mul"


def test_grids() -> None:
    assert Scheme().weight_range == (-127, 127)
    assert Scheme(weight_bits=7).weight_range == (-63, 63)
    assert Scheme().activation_range == (-128, 127)


@given(schemes, schemes)
def test_a_name_stands_for_one_record(a: Scheme, b: Scheme) -> None:
    assert (a.name == b.name) == (a == b)
    if a == b:
        assert hash(a) == hash(b)


@given(schemes, st.randoms())
def test_order_and_repeats_do_not_matter(made: Scheme, random: Any) -> None:
    ops, per_tensor = [*made.ops, *made.ops], list(made.per_tensor)
    random.shuffle(ops)
    random.shuffle(per_tensor)
    again = replace(made, per_tensor=tuple(per_tensor), ops=tuple(ops))
    assert again == made
    assert again.name == made.name


@given(schemes)
def test_a_manifest_reads_back(made: Scheme) -> None:
    assert scheme.from_table(json.loads(json.dumps(made.as_dict())), "manifest.json") == made


def test_names_make_file_names() -> None:
    name = Scheme(True, 7, ("linear", "conv"), "branch", OP_CLASSES).name
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
