"""If: a branch is chosen when the model is imported. Loops are refused."""

from __future__ import annotations

from collections.abc import Sequence

from ..node import Node
from ..registry import operator
from ..values import Value


@operator("If")
def branch(node: Node) -> Sequence[Value]:
    condition = bool(node.known(0, "the condition").reshape(-1)[0])
    return node.imported(node.attributes["then_branch" if condition else "else_branch"])


@operator("Loop", "Scan", "SequenceMap")
def loop(node: Node) -> Value:
    raise node.fail("is a loop, which is not supported", "export the model without loops (unrolled)")
