"""A policy gradient beside a divergence, against values computed in float64 without this package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from torch import Tensor

from verl_egrsd.divergences import RowLoss, divergence
from verl_egrsd.methods import Columns, EntropyGate, Method, methods, resolve
from verl_egrsd.methods.listing import listing
from verl_egrsd.methods.longest_wrong import LongestWrong, edited

from .strategies import examples, raw_columns

GOLDEN = json.loads((Path(__file__).parents[1] / "divergences" / "golden.json").read_text())
INPUTS, BASICS = GOLDEN["inputs"], GOLDEN["basics"]
HEAD = torch.eye(5, dtype=torch.float64)
ROUNDED = {"rtol": 0, "atol": 1e-7}
"""The credit is in float32."""


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def group(correct: list[int], lengths: list[int], problems: list[int] | None = None) -> Columns:
    """Rollouts of one prompt, or of several."""
    return Columns.of(
        torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
        correct=torch.tensor(correct) > 0,
        rewards=torch.tensor(correct).float(),
        problems=torch.tensor(problems or [0] * len(correct)),
    )


def test_the_loss_and_gradient_of_eopd_are_those_of_the_source():
    """The golden rows have an older policy; the preset's credit goes with it into the sweep."""
    golden = GOLDEN["eopd_paper"]
    method = resolve("eopd", {"divergence": {"top_k": golden["k"]}}, max_response_length=3)
    old = tensor(BASICS["log_p_student"]) - tensor(INPUTS["old_gap"])
    columns = Columns.of(
        torch.ones(1, 3),
        student_log_prob=old[None],
        teacher_log_prob=tensor(BASICS["log_p_teacher"])[None],
        teacher_entropy=tensor(BASICS["entropy_teacher"])[None],
    )
    credited = method.credit(columns, torch.ones(1, 1))
    assert credited.policy_credit is not None
    assert method.divergence is not None
    student, third = tensor(INPUTS["student_logits"]).requires_grad_(), torch.full((3,), 1 / 3)
    rows = divergence(
        student,
        tensor(INPUTS["teacher_logits"]),
        HEAD,
        method.divergence,
        token_ids=torch.tensor(INPUTS["sampled"]),
        row_loss=RowLoss(
            credited.credit[0].double() / 3,
            advantages=credited.policy_credit[0].double(),
            policy_weights=third.double(),
            old_log_probs=old,
        ),
    )
    loss = rows.loss.sum()
    torch.testing.assert_close(loss.detach(), tensor(golden["loss"]), **ROUNDED)
    gradient = torch.autograd.grad(loss, student)[0]
    torch.testing.assert_close(gradient, tensor(golden["grad_student_logits"]), **ROUNDED)


@pytest.mark.parametrize(("above", "kept"), [(0.8, [0.0, 0.0, 1.0]), (0.0, [0.0, 1.0, 1.0])])
def test_eopd_distils_where_the_teachers_entropy_is_above_the_threshold(above, kept):
    method = resolve("eopd", {"entropy_threshold": {"above": above}}, max_response_length=3)
    values = {name: torch.zeros(1, 3) for name in ("student_log_prob", "teacher_log_prob")}
    columns = Columns.of(torch.ones(1, 3), teacher_entropy=torch.tensor([[0.0, 0.8, 2.0]]), **values)
    assert method.credit(columns, torch.ones(1, 1)).credit.tolist() == [kept]


def test_ssopd_edits_the_longest_wrong_rollout_with_the_weight_of_the_source():
    golden, method = GOLDEN["ssopd"], methods()["ssopd"]
    assert method.divergence is not None
    columns = group(golden["rewards"], golden["lengths"])
    advantages = method.advantage.start().advantages(columns).unsqueeze(1)
    credited = method.credit(columns, advantages)
    row, tokens = golden["edited_row"], sum(golden["lengths"])
    # The token mean over the batch of a divergence of 1 is the mean over the edited row.
    sums = method.divergence.weight * credited.credit.double().sum(dim=1) / tokens
    torch.testing.assert_close(sums[row], tensor(golden["lambda_x"]), **ROUNDED)
    assert not credited.credit[torch.arange(8) != row].any()
    assert credited.policy_credit is not None
    torch.testing.assert_close(credited.policy_credit, advantages * columns.response_mask)


def test_the_divergence_of_ssopd_is_that_of_the_source():
    method = methods()["ssopd"]
    assert method.divergence is not None
    rows = divergence(
        tensor(INPUTS["student_logits"]), tensor(INPUTS["teacher_logits"]), HEAD, method.divergence
    )
    torch.testing.assert_close(rows.divergence.mean().item(), GOLDEN["ssopd"]["auxiliary"], rtol=0, atol=1e-9)


def test_each_prompt_counts_alike_and_one_that_is_always_or_never_solved_has_no_edit():
    columns = group([1, 0, 0, 1, 1, 0, 0], [4, 2, 5, 1, 9, 7, 8], [0, 0, 0, 1, 1, 2, 2])
    assert edited(columns).tolist() == [False, False, True, False, False, False, False]
    weights = LongestWrong().weights(columns, torch.ones(7, 1))
    torch.testing.assert_close(weights[2, 0], torch.tensor(36 / (3 * 5)))
    assert LongestWrong().metrics(columns, weights)["share_prompts"] == pytest.approx(1 / 3)


def test_among_equally_long_rollouts_the_first_in_the_batch_is_edited_once():
    assert edited(group([0, 0, 1, 0], [3, 6, 1, 6])).tolist() == [False, True, False, False]


@examples
@given(raw_columns())
def test_at_most_one_rollout_of_a_prompt_is_edited_and_it_is_a_longest_wrong_one(raw):
    columns = Columns.of(**raw)
    lengths, found = columns.response_mask.sum(dim=1), edited(columns)
    for problem in columns.problems.unique():
        rows = columns.problems == problem
        wrong = rows & ~columns.correct
        mixed = bool(wrong.any() and (rows & columns.correct).any())
        assert int((found & rows).sum()) == mixed
        if mixed:
            assert lengths[found & rows] == lengths[wrong].max()


def test_any_divergence_gets_a_policy_gradient_by_configuration():
    keys = {"policy_factors": ["ratio"], "advantage": "group", "factors": ["entropy_gate"], "clip": 0.1}
    method = resolve("opsd", keys, max_response_length=4)
    assert [factor.name for factor in method.active] == ["entropy_gate", "ratio"]
    assert method.reads >= {"teacher_log_prob", "teacher_entropy", "teacher_hidden", "problems"}
    assert resolve("opsd", method.keys(), max_response_length=4) == method
    columns = Columns.of(
        torch.ones(1, 2),
        student_log_prob=torch.tensor([[-1.0, -2.0]]),
        teacher_log_prob=torch.tensor([[-1.05, -1.0]]),
        teacher_entropy=torch.tensor([[0.0, 2.0]]),
    )
    credited = method.credit(columns, torch.tensor([[2.0]]))
    torch.testing.assert_close(credited.credit, torch.tensor([[1.0, 0.7]]))
    torch.testing.assert_close(credited.policy_credit, 2 * torch.tensor([[torch.tensor(-0.05).exp(), 1.1]]))


def test_a_policy_gradient_of_the_advantage_alone_has_no_factors():
    method = resolve("opsd", {"policy_factors": []}, max_response_length=4)
    credited = method.credit(Columns.of(torch.tensor([[1, 0]])), torch.tensor([[-3.0]]))
    assert (credited.credit.tolist(), credited.policy_credit.tolist()) == ([[1.0, 0.0]], [[-3.0, 0.0]])


def test_what_a_policy_term_cannot_stand_beside_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"policy_factors=\['ratio'\] adds .* in algorithm\.egrsd\.factors"):
        resolve("egrsd", {"policy_factors": ["ratio"]}, max_response_length=4)
    with pytest.raises(ValueError, match=r"first_tokens=2 cuts the responses.* leave it unset"):
        resolve("ssopd", {"divergence": {"first_tokens": 2}}, max_response_length=4)
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.policy_factors=\['none'\] is not allowed"):
        resolve("opsd", {"policy_factors": ["none"]}, max_response_length=4)


def test_a_method_without_a_policy_term_has_no_such_credit():
    plain = Method("plain", "")
    assert plain.credit(Columns.of(torch.ones(1, 2)), torch.ones(1, 1)).policy_credit is None
    assert "policy_factors" not in {*plain.keys()}


def test_the_listing_says_what_the_advantage_belongs_to():
    eopd, ssopd = (listing(name).splitlines()[1] for name in ("eopd", "ssopd"))
    assert eopd == "# entropy_threshold, forward divergence, policy gradient: constant advantage x log_ratio"
    assert ssopd.startswith("# pass_rate x longest_wrong, forward divergence, policy gradient: group adv")


def test_two_factors_of_one_name_need_the_same_settings():
    """They share their keys in the configuration."""
    method = methods()["eopd"]
    assert method.divergence is not None
    same = replace(method, factors=(EntropyGate(gamma=0.5),), policy_factors=(EntropyGate(gamma=0.5),))
    assert [factor.name for factor in same.all_factors] == ["entropy_gate"]
    with pytest.raises(ValueError, match=r"has the factor entropy_gate twice.*give both the same"):
        replace(method, factors=(EntropyGate(gamma=0.5),), policy_factors=(EntropyGate(gamma=0.3),))
