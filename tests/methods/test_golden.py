"""The worked example of the method, to five decimals."""

import pytest
import torch

from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import Columns, EntropyGate, Method, Ratio

NAN = float("nan")
ADVANTAGES = torch.tensor([[0.8], [-0.5]])
TEACHER = torch.tensor([[-0.05, -1.20, -0.02, -2.00], [-1.50, -0.90, -0.40, NAN]])
STUDENT = torch.tensor([[-0.10, -0.90, -0.02, -2.60], [-1.10, -1.40, -0.30, NAN]])
ENTROPY = torch.tensor([[0.10, 1.80, 0.05, 2.00], [2.40, 2.20, 0.30, NAN]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
COLUMNS = Columns.of(MASK, teacher_log_prob=TEACHER, student_log_prob=STUDENT, teacher_entropy=ENTROPY)

TABLE = [
    (0.0, 0, "raw", [0.84102, 0.64, 0.8, 0.96], [-0.6, -0.4, -0.55259], 0.255189),
    (0.3, 0, "raw", [0.8305, 0.496, 0.795, 0.72], [-0.42, -0.29, -0.53186], 0.198542),
    (1.0, 0, "raw", [0.80597, 0.16, 0.78333, 0.16], [-0.06, -0.04, -0.48351], 0.055601),
    (1.0, 2, "raw", [0.8235, 0.62667, 0.78333, 0.16], [-0.525, -0.35, -0.48351], -0.019220),
    (1.0, 2, "filtered", [0.81999, 0.624, 0.78, 0.096], [-0.51, -0.34, -0.4697], -0.038444),
]


@pytest.mark.parametrize(("gamma", "window", "denominator", "first", "second", "loss"), TABLE)
def test_credit_and_loss_equal_the_worked_example(gamma, window, denominator, first, second, loss):
    gate = EntropyGate(gamma=gamma, window=window, denominator=denominator)
    result = Method("example", "", (Ratio(), gate)).credit(COLUMNS, ADVANTAGES)
    torch.testing.assert_close(result.credit, torch.tensor([first, [*second, 0.0]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        policy_loss(STUDENT, result.credit, MASK), torch.tensor(loss), atol=1e-5, rtol=0
    )


def test_the_credit_is_the_product_of_the_advantage_and_the_weights():
    result = Method("example", "", (Ratio(), EntropyGate())).credit(COLUMNS, ADVANTAGES)
    product = result.advantages * result.weights["ratio"] * result.weights["entropy_gate"]
    torch.testing.assert_close(result.credit, product)
    assert all(weights[1, 3] == 0 for weights in result.weights.values())
