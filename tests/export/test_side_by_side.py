from __future__ import annotations

import pytest
import torch

from edgeft.export.side_by_side import side_by_side


def test_results_come_in_order_without_gradients_each_on_one_thread():
    before = torch.get_num_threads()
    weight = torch.ones(1, requires_grad=True)

    def square(value: int) -> tuple[float, bool, int]:
        return float(weight * value * value), (weight * value).requires_grad, torch.get_num_threads()

    with side_by_side() as each_of:
        assert each_of(square, range(20)) == [(float(v * v), False, 1) for v in range(20)]
    assert torch.get_num_threads() == before


def test_an_error_comes_through_and_the_threads_come_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), side_by_side() as each_of:
        each_of(lambda value: 1 / value, [1, 0])
    assert torch.get_num_threads() == before
