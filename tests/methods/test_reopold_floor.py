"""REOPOLD's floor, against values computed in float64 without this package."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.methods import Columns, methods, resolve

FLOOR = -2.5584278811044947


def credit(teacher: list[float], **given: object) -> torch.Tensor:
    method = resolve("reopold_floor", given, max_response_length=3)
    student = torch.tensor([[-0.5625457991658953, -1.5154571980759095, -0.059951317036916585]])
    columns = Columns.of(torch.ones(1, 3), student_log_prob=student, teacher_log_prob=torch.tensor([teacher]))
    return method.credit(columns, torch.ones(1, 1)).credit[0]


def test_above_the_floor_the_credit_is_the_log_ratio():
    teacher = [-1.5704888311518408, -0.9768708616718079, -0.2870217883257129]
    golden = [-1.0079430319859455, 0.5385863364041016, -0.22707047128879632]
    torch.testing.assert_close(credit(teacher), torch.tensor(golden))


def test_no_token_loses_more_than_the_floor():
    torch.testing.assert_close(credit([-4.0, -9.0, -0.05])[:2], torch.tensor([FLOOR, FLOOR]))


def test_the_floor_is_that_of_the_definition():
    assert methods()["reopold_floor"].factors[0].low == pytest.approx(FLOOR, abs=1e-15)


def test_another_floor_may_be_set():
    assert credit([-4.0, -1.5, -0.05], log_ratio={"low": -1.0})[0] == -1
