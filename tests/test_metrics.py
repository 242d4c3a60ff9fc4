"""What a step reports: each factor's summary, and indifference to padding."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from verl_egrsd.methods import Columns, EntropyGate, Factor, Method, Ratio
from verl_egrsd.metrics import method_metrics, rollout_metrics, verdict_metrics
from verl_egrsd.reward import compute_score

torch.set_num_threads(1)


def batch(rows=6, time=40, seed=0):
    """Mask and token columns of rollouts that differ in length."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, time + 1, (rows,), generator=generator)
    mask = torch.arange(time) < lengths.unsqueeze(1)
    teacher, student = (-torch.rand(rows, time, generator=generator) * 3 for _ in range(2))
    entropy = torch.rand(rows, time, generator=generator) ** 3 * 4
    return mask, {"teacher_log_prob": teacher, "student_log_prob": student, "teacher_entropy": entropy}


def measured(mask, token_columns, **gate):
    method = Method("example", "", (Ratio(), EntropyGate(**gate)))
    columns = Columns.of(mask, **token_columns)
    advantages = torch.tensor([0.5, -0.4, 1.0, -1.0, 0.3, -0.2])[: len(mask)].unsqueeze(1)
    trackers = {factor.name: factor.tracker() for factor in method.active if factor.tracker()}
    return method_metrics(method, columns, method.credit(columns, advantages), trackers)


@pytest.mark.parametrize("window", [0, 3])
def test_padding_changes_nothing(window):
    mask, token_columns = batch()
    expected = measured(mask, token_columns, window=window)
    junk = torch.where(mask, 0.0, 50.0)
    wider = {
        name: torch.nn.functional.pad(values + junk, (0, 7), value=9.0)
        for name, values in token_columns.items()
    }
    padded = measured(torch.nn.functional.pad(mask, (0, 7)), wider, window=window)
    assert padded == pytest.approx(expected)


def test_the_gate_metrics_say_what_the_gate_did():
    flat = torch.zeros(1, 4)
    mask, columns = (
        torch.ones(1, 4, dtype=torch.bool),
        dict.fromkeys(("teacher_log_prob", "student_log_prob"), flat),
    )
    columns |= {"teacher_entropy": torch.tensor([[0.0, 1.0, 2.0, 0.0]])}
    metrics = measured(mask, columns, gamma=1.0)
    assert metrics["egrsd/entropy_gate/mean"] == pytest.approx((1 + 0.5 + 0.1 + 1) / 4)
    assert metrics["egrsd/entropy_gate/min"] == pytest.approx(0.1)
    assert metrics["egrsd/entropy_gate/max"] == 1
    assert metrics["egrsd/entropy_gate/share_at_floor"] == pytest.approx(0.25)
    assert metrics["egrsd/teacher_entropy/max"] == pytest.approx(2.0)
    assert metrics["egrsd/entropy_gate/restored_by_lookahead"] == 0
    assert metrics["egrsd/weight/mean"] == pytest.approx((1 + 0.5 + 0.1 + 1) / 4)
    ahead = measured(mask, columns, gamma=1.0, window=1)
    assert ahead["egrsd/entropy_gate/restored_by_lookahead"] == pytest.approx((0 + 0 + 0.9 + 0) / 4)


@dataclass(frozen=True)
class Half(Factor):
    name: ClassVar[str] = "half"
    about_one: ClassVar[bool] = False

    @property
    def reads(self):
        return frozenset()

    def weights(self, columns, advantages):
        return torch.full_like(advantages, 0.5)


def test_the_mean_weight_leaves_out_what_is_not_meant_to_be_about_one():
    mask, token_columns = batch()
    columns, advantages = Columns.of(mask, **token_columns), torch.ones(6, 1)

    def metrics(*factors):
        method = Method("example", "", factors)
        return method_metrics(method, columns, method.credit(columns, advantages), {})

    both, ratio, half = metrics(Ratio(), Half()), metrics(Ratio()), metrics(Half())
    assert both["egrsd/weight/mean"] == ratio["egrsd/weight/mean"]
    assert both["egrsd/half/mean"] == 0.5
    assert "egrsd/weight/mean" not in half


def test_a_method_without_factors_reports_its_credit_alone():
    columns = Columns.of(torch.ones(1, 2))
    method = Method("example", "")
    metrics = method_metrics(method, columns, method.credit(columns, torch.tensor([[-2.0]])), {})
    assert metrics == {"egrsd/credit/abs_mean": 2.0}


def test_the_rollout_metrics_count_valid_tokens_only():
    columns = Columns.of(
        torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        rewards=torch.tensor([1.0, 0.0]),
        correct=torch.tensor([True, False]),
    )
    metrics = rollout_metrics(columns, torch.tensor([0.5, -1.0]), torch.tensor([False, True]))
    assert metrics == pytest.approx(
        {
            "egrsd/reward/mean": 0.5,
            "egrsd/reward/std": 0.5,
            "egrsd/correct": 0.5,
            "egrsd/advantage/share_positive": 0.5,
            "egrsd/response_length/mean": 3.0,
            "egrsd/truncated": 0.5,
            "egrsd/response_length/right": 4.0,
            "egrsd/response_length/wrong": 2.0,
        }
    )


def test_a_step_without_a_right_answer_has_no_length_of_right_answers():
    columns = Columns.of(torch.ones(2, 3))
    metrics = rollout_metrics(columns, torch.zeros(2), torch.tensor([False, False]))
    assert "egrsd/response_length/right" not in metrics
    assert metrics["egrsd/response_length/wrong"] == 3


def test_verdicts_are_reported_as_shares_and_a_step_without_a_right_answer_raises_the_alarm():
    scores = [compute_score("any", response, "5") for response in ("\\boxed{5}", "\\boxed{6}", "none", "")]
    metrics = verdict_metrics(scores, torch.tensor([score["score"] > 0 for score in scores]))
    assert metrics["egrsd/verdict/none_correct"] == 0.0
    shares = [metrics[f"egrsd/verdict/{reason}"] for reason in ("correct", "wrong", "no_answer", "error")]
    assert shares == [0.25, 0.25, 0.5, 0.0]
    assert verdict_metrics(scores[1:], torch.zeros(3, dtype=torch.bool))["egrsd/verdict/none_correct"] == 1.0


def test_another_reward_function_has_no_reasons_to_report():
    for scores in ({"acc": 1.0}, {"correct": True, "error": "none", "timeout": ""}):
        assert verdict_metrics([scores], torch.tensor([True])) == {"egrsd/verdict/none_correct": 0.0}
