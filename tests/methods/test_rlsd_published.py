"""RLSD as published, against values computed in float64 without this package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

import verl_egrsd
from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.mixed_ratio import MixedRatio
from verl_egrsd.trainer.losses import egrsd_ppo_clip_loss

STUDENT = torch.tensor([[-0.5625457991658953, -1.5154571980759095, -0.059951317036916585]])
TEACHER = torch.tensor([[-1.5704888311518408, -0.9768708616718079, -0.2870217883257129]])
RLSD = methods()["rlsd_published"]
PRESET = Path(verl_egrsd.__file__).parent / "configs" / "preset" / "rlsd_published.yaml"
GOLDEN = json.loads((Path(__file__).parents[1] / "divergences" / "golden.json").read_text())


def credit(advantage: float, step: int) -> torch.Tensor:
    mask = torch.ones_like(STUDENT, dtype=torch.bool)
    columns = Columns.of(mask, step=step, student_log_prob=STUDENT, teacher_log_prob=TEACHER)
    return RLSD.credit(columns, torch.tensor([[advantage]])).credit[0]


@pytest.mark.parametrize(
    ("advantage", "step", "golden"),
    [
        (0.7, 1, [0.63, 0.77, 0.63]),
        (-0.7, 1, [-0.77, -0.63, -0.77]),
        (0.7, 41, [0.686, 0.714, 0.686]),
        (0.7, 51, [0.7, 0.7, 0.7]),
    ],
)
def test_the_credit_is_that_of_the_definition(advantage, step, golden):
    torch.testing.assert_close(credit(advantage, step), torch.tensor(golden))


@pytest.mark.parametrize("advantage", [0.7, -0.7])
def test_the_loss_and_its_gradient_are_those_of_the_definition(advantage):
    """The second token's ratio to the old policy is above the clip, the third one's inside."""
    golden, inputs = GOLDEN["rlsd"][f"ppo_loss_A={advantage:+},lambda=.5"], GOLDEN["inputs"]
    actor = yaml.safe_load(PRESET.read_text())["actor_rollout_ref"]["actor"]
    logits = torch.tensor(inputs["student_logits"], dtype=torch.float64, requires_grad=True)
    log_prob = logits.log_softmax(-1)[range(3), inputs["sampled"]][None]
    loss, _ = egrsd_ppo_clip_loss(
        old_log_prob=log_prob.detach() - torch.tensor(inputs["old_gap"]),
        log_prob=log_prob,
        advantages=credit(advantage, step=1)[None],
        response_mask=torch.ones(1, 3),
        config=OmegaConf.create({"clip_ratio": None, "global_batch_info": {}, **actor}),
    )
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], abs=1e-6)
    expected = torch.tensor(golden["grad_student_logits"], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("earlier_steps", "share"), [(0, 0.5), (1, 0.49), (10, 0.4), (25, 0.25), (49, 0.01), (50, 0.0), (80, 0.0)]
)
def test_lambda_falls_to_zero_in_fifty_steps(earlier_steps, share):
    assert MixedRatio().share(earlier_steps + 1) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("earlier_steps", "share"), [(0, 0.0), (5, 0.25), (10, 0.5), (40, 0.25), (70, 0.0)])
def test_lambda_may_rise_first(earlier_steps, share):
    rising = MixedRatio(warmup_steps=10, decay_steps=60)
    assert rising.share(earlier_steps + 1) == pytest.approx(share, abs=1e-12)


def test_lambda_stays_where_no_decay_is_wanted():
    assert MixedRatio(decay_steps=0).share(1000) == 0.5


def test_the_advantage_compares_a_rollout_with_the_others_of_its_prompt():
    rewards = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0])
    columns = Columns.of(torch.ones(8, 1), rewards=rewards, problems=torch.zeros(8, dtype=torch.int64))
    high, low = 1.6201816746095261, -0.5400605582031753
    golden = torch.tensor([high, low, low, high, low, low, low, low])
    torch.testing.assert_close(RLSD.advantage.start().advantages(columns), golden)


def test_a_correct_answer_earns_one_whatever_its_length():
    reward = resolve("rlsd_published", max_response_length=10).reward
    earned = reward.rewards(torch.tensor([True, True, False]), torch.tensor([1, 10, 5]))
    assert earned.tolist() == [1, 1, 0]


def test_the_clip_shows_in_the_metrics_while_lambda_acts():
    def metrics(step):
        columns = Columns.of(torch.ones(1, 3), step=step, student_log_prob=STUDENT, teacher_log_prob=TEACHER)
        factor = RLSD.factors[0]
        return factor.metrics(columns, factor.weights(columns, torch.ones(1, 1)))

    # The third log-ratio is -0.227, so its likelihood ratio of 0.797 is clipped too.
    early, last, late = metrics(1), metrics(50), metrics(51)
    assert early["share_clipped_low"] == pytest.approx(2 / 3)
    assert last["share_clipped_high"] == pytest.approx(1 / 3)
    assert (late["lambda"], late["share_clipped"]) == (0, 0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lambda0", 1.5, r"algorithm.egrsd.mixed_ratio.lambda0=1.5 .* in \[0, 1\]"),
        ("decay_steps", -1, "algorithm.egrsd.mixed_ratio.decay_steps=-1 .* 0 or more"),
        ("warmup_steps", 0.5, "algorithm.egrsd.mixed_ratio.warmup_steps=0.5 .* a whole number"),
        ("clip", 1.0, r"algorithm.egrsd.mixed_ratio.clip=1.0 .* in \[0, 1\)"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(key, value, message):
    with pytest.raises(ValueError, match=message):
        resolve("rlsd_published", {"mixed_ratio": {key: value}}, max_response_length=1)
