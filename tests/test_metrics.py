"""What a step reports: quantiles, regime shares, and indifference to padding."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.config import EgrsdConfig
from verl_egrsd.credit import token_credit
from verl_egrsd.metrics import (
    RunningQuantiles,
    credit_metrics,
    denominator_settings,
    rollout_metrics,
    verdict_metrics,
)
from verl_egrsd.reward import compute_score

BINS = 1000
torch.set_num_threads(1)


def batch(rows=6, time=40, seed=0):
    """Teacher and student log-probs, entropies and mask of rollouts that differ in length."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, time + 1, (rows,), generator=generator)
    mask = torch.arange(time) < lengths.unsqueeze(1)
    teacher, student = (-torch.rand(rows, time, generator=generator) * 3 for _ in range(2))
    entropy = torch.rand(rows, time, generator=generator) ** 3 * 4
    return teacher, student, entropy, mask


def measured(teacher, student, entropy, mask, quantiles=None, **settings):
    config = EgrsdConfig(max_response_length=64, **settings)
    advantages = torch.tensor([0.5, -0.4, 1.0, -1.0, 0.3, -0.2])[: len(mask)].unsqueeze(1)
    result = token_credit(
        advantages,
        *(teacher, student, entropy, mask),
        gamma=config.gamma,
        window=config.window,
        clip=config.clip,
        floor=config.floor,
        **denominator_settings(config),
    )
    return credit_metrics(result, teacher, student, entropy, mask, config, quantiles or RunningQuantiles())


@settings(deadline=None)
@given(
    values=st.lists(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), min_size=1, max_size=4),
    q=st.floats(0.05, 0.95),
)
def test_running_quantiles_agree_with_torch_to_one_bin(values, q):
    running = RunningQuantiles(BINS)
    for part in values:
        running.update(torch.tensor(part))
    everything = torch.tensor([value for part in values for value in part], dtype=torch.float64)
    # Between two order statistics every quantile rule is a convention; the histogram must lie in that span.
    low, high = (torch.quantile(everything, q, interpolation=side) for side in ("lower", "higher"))
    assert low - 1e-9 - 1 / BINS <= running.quantile(q) <= high + 1 / BINS + 1e-9


def test_running_quantiles_of_many_values_agree_with_torch():
    values = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) ** 2
    running = RunningQuantiles()
    for part in values.split(777):
        running.update(part)
    for q in (0.1, 0.5, 0.7, 0.99):
        assert running.quantile(q) == pytest.approx(torch.quantile(values, q).item(), abs=2 / BINS)


def test_values_above_one_count_in_the_last_bin():
    running = RunningQuantiles()
    running.update(torch.tensor([0.2, 1.0, 1.7]))
    assert running.quantile(0.9) == 1.0
    assert running.counts.sum() == 3


def test_running_quantiles_survive_json():
    running, restored = RunningQuantiles(), RunningQuantiles()
    running.update(torch.rand(500, generator=torch.Generator().manual_seed(1)))
    restored.load_state_dict(json.loads(json.dumps(running.state_dict())))
    for tracker in (running, restored):
        tracker.update(torch.full((100,), 0.9))
    assert torch.equal(restored.counts, running.counts)
    assert restored.quantile(0.7) == running.quantile(0.7)


@pytest.mark.parametrize("settings", [{}, {"window": 5}, {"denominator": 2.0}, {"denominator_group": 2}])
def test_the_shares_of_the_regimes_sum_to_one(settings):
    metrics = measured(*batch(), **settings)
    shares = [metrics[f"egrsd/regime/{name}"] for name in ("lock", "mid", "pivot", "fork")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert shares[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("window", [0, 3])
def test_padding_changes_nothing(window):
    teacher, student, entropy, mask = batch()
    expected = measured(teacher, student, entropy, mask, window=window)
    junk = torch.where(mask, 0.0, 50.0)
    wider = [
        torch.nn.functional.pad(values + junk * sign, (0, 7), value=9.0)
        for values, sign in zip((teacher, student, entropy), (-1, 1, 1), strict=True)
    ]
    padded = measured(*wider, torch.nn.functional.pad(mask, (0, 7)), window=window)
    assert padded == pytest.approx(expected)


def test_the_gate_metrics_say_what_the_gate_did():
    entropy = torch.tensor([[0.0, 1.0, 2.0, 0.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    flat = torch.zeros(1, 4)
    metrics = measured(flat, flat, entropy, mask, gamma=1.0)
    assert metrics["egrsd/gate/mean"] == pytest.approx((1 + 0.5 + 0.1 + 1) / 4)
    assert metrics["egrsd/gate/min"] == pytest.approx(0.1)
    assert metrics["egrsd/gate/share_at_floor"] == pytest.approx(0.25)
    assert metrics["egrsd/teacher_entropy/max"] == pytest.approx(2.0)
    assert metrics["egrsd/weight/restored_by_lookahead"] == 0
    ahead = measured(flat, flat, entropy, mask, gamma=1.0, window=1)
    assert ahead["egrsd/weight/restored_by_lookahead"] == pytest.approx((0 + 0 + 0.9 + 0) / 4)


def test_the_ratio_metrics_say_how_much_was_clipped():
    teacher = torch.tensor([[1.0, -1.0, 0.05, 0.0]])
    flat, mask = torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool)
    metrics = measured(teacher, flat, flat, mask)
    assert metrics["egrsd/ratio/share_clipped_high"] == pytest.approx(0.25)
    assert metrics["egrsd/ratio/share_clipped_low"] == pytest.approx(0.25)
    assert metrics["egrsd/log_ratio/abs_mean"] == pytest.approx(2.05 / 4)


def test_the_rollout_metrics_count_real_tokens_only():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    metrics = rollout_metrics(
        credit=torch.tensor([[0.5, 0.5, 0.5, 0.5], [-1.0, -1.0, 99.0, 99.0]]),
        advantages=torch.tensor([0.5, -1.0]),
        rewards=torch.tensor([1.0, 0.0]),
        correct=torch.tensor([True, False]),
        truncated=torch.tensor([False, True]),
        response_mask=mask,
    )
    assert metrics == pytest.approx(
        {
            "egrsd/reward/mean": 0.5,
            "egrsd/reward/std": 0.5,
            "egrsd/correct": 0.5,
            "egrsd/direction/share_positive": 0.5,
            "egrsd/credit/abs_mean": (4 * 0.5 + 2 * 1.0) / 6,
            "egrsd/response_length/mean": 3.0,
            "egrsd/truncated": 0.5,
            "egrsd/response_length/right": 4.0,
            "egrsd/response_length/wrong": 2.0,
        }
    )


def test_a_step_without_a_right_answer_has_no_length_of_right_answers():
    mask = torch.ones(2, 3).bool()
    no = torch.tensor([False, False])
    metrics = rollout_metrics(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2), no, no, mask)
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
