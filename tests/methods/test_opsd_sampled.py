"""Distillation on the sampled token, against values computed in float64 without this package."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.log_ratio import LogRatio

STUDENT = torch.tensor([[1.2, 0.3, -0.7, 0.0, 2.1], [0.1, 0.2, 0.0, -0.3, 0.4], [4.0, -1.0, 0.5, 0.2, -2.0]])
TEACHER = torch.tensor([[2.0, 0.1, -1.0, 0.4, 1.0], [0.0, 0.9, -0.2, 0.3, -0.1], [3.0, 1.5, 0.2, -0.5, -1.0]])
SAMPLED = torch.tensor([[4], [1], [0]])
LOG_RATIO = [-1.0079430319859455, 0.5385863364041016, -0.22707047128879632]


def log_prob(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1).gather(1, SAMPLED).T


def columns() -> Columns:
    return Columns.of(
        torch.ones(1, 3), student_log_prob=log_prob(STUDENT), teacher_log_prob=log_prob(TEACHER)
    )


def test_credit_and_gradient_are_those_of_the_definition():
    method, read = methods()["opsd_sampled"], columns()
    advantages = method.advantage.start().advantages(read).unsqueeze(1)
    credit = method.credit(read, advantages).credit
    torch.testing.assert_close(credit, torch.tensor([LOG_RATIO]))

    logits = STUDENT.clone().requires_grad_()
    loss = policy_loss(log_prob(logits), credit, torch.ones(1, 3))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.07852574934424768))
    golden = [-0.07782858992694264, -0.031642743293647246, -0.011640714746297132, -0.023441520780043135]
    torch.testing.assert_close(logits.grad[0], torch.tensor([*golden, 0.1445535687955024]))


def test_it_is_the_gradient_of_the_reverse_divergence_in_the_mean_over_all_tokens():
    student, teacher = STUDENT[0].double().log_softmax(-1), TEACHER[0].double().log_softmax(-1)
    credit = LogRatio().weights(
        Columns.of(torch.ones(1, 5), student_log_prob=student[None], teacher_log_prob=teacher[None]),
        torch.ones(1, 1),
    )
    logits = STUDENT[0].double().requires_grad_()
    log_probs = logits.log_softmax(-1)
    sampled = torch.autograd.grad(-(student.exp() * credit[0] * log_probs).sum(), logits, retain_graph=True)
    exact = torch.autograd.grad((log_probs.exp() * (log_probs - teacher)).sum(), logits)
    torch.testing.assert_close(sampled, exact)


def test_bounds_clip_the_log_ratio_and_show_in_the_metrics():
    factor, read = LogRatio(low=-0.5, high=0.4), columns()
    weights = factor.weights(read, torch.ones(1, 1))
    torch.testing.assert_close(weights, torch.tensor([[-0.5, 0.4, LOG_RATIO[2]]]))
    metrics = factor.metrics(read, weights)
    assert metrics["share_clipped_low"] == metrics["share_clipped_high"] == pytest.approx(1 / 3)
    assert metrics["abs_mean"] == pytest.approx((0.9 - LOG_RATIO[2]) / 3)


def test_a_difference_that_overflows_stays_finite():
    huge = torch.tensor([[3.4e38]])
    read = Columns.of(torch.ones(1, 1), student_log_prob=huge, teacher_log_prob=-huge)
    assert LogRatio().weights(read, torch.ones(1, 1)).item() == -100


@pytest.mark.parametrize(("key", "value"), [("low", 0.5), ("high", -0.5), ("low", -101.0)])
def test_bounds_out_of_range_are_refused_by_key(key, value):
    with pytest.raises(ValueError, match=rf"algorithm.egrsd.log_ratio.{key}={value} is not allowed: .* nats"):
        resolve("opsd_sampled", {"log_ratio": {key: value}}, max_response_length=1)
