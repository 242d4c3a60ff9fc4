"""Products with the head: which dtype they run in. Tensors without data stand for those of a GPU."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from verl_egrsd.divergences.products import Head

FLOAT, HALF, DOUBLE = torch.float32, torch.bfloat16, torch.float64


class Products(TorchDispatchMode):
    """Notes the dtype of the operands of each product."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.dtypes.append(args[-1].dtype if args[-1] is not FLOAT else args[-2].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("device", "hidden", "weight", "sums", "operands"),
    [
        ("meta", HALF, HALF, FLOAT, HALF),
        ("meta", FLOAT, HALF, FLOAT, FLOAT),
        ("meta", HALF, FLOAT, FLOAT, FLOAT),
        ("meta", torch.float16, HALF, FLOAT, FLOAT),
        ("meta", FLOAT, FLOAT, FLOAT, FLOAT),
        ("cpu", HALF, HALF, FLOAT, FLOAT),
        ("cpu", FLOAT, DOUBLE, DOUBLE, DOUBLE),
        ("cpu", DOUBLE, FLOAT, DOUBLE, DOUBLE),
    ],
)
def test_half_precision_is_multiplied_as_such_on_a_gpu_only_and_where_both_sides_have_it(
    device, hidden, weight, sums, operands
):
    def zeros(*shape, dtype=sums):
        return torch.zeros(shape, dtype=dtype, device=device)

    head, states = Head(zeros(9, 4, dtype=weight), zeros(3, 4, dtype=hidden), sums), zeros(3, 4, dtype=hidden)
    with Products() as products:
        logits = head.logits(states, zeros(3, 9))
        assert head.gradient(logits, zeros(3, 4)).dtype == sums
        head.add_weight_gradient(logits, states, zeros(9, 4))
    assert set(products.dtypes) == {operands}
    assert len(products.dtypes) == 3
