"""Methods with a divergence as their loss, against values computed in float64 without this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from verl_egrsd.divergences import RowLoss, divergence
from verl_egrsd.methods import Columns, Method, methods, resolve
from verl_egrsd.methods.distillation import Distillation
from verl_egrsd.methods.has_sibling import HasSibling
from verl_egrsd.methods.row_mean import RowMean
from verl_egrsd.teacher.steering import steered

from .strategies import examples, raw_columns

GOLDEN = json.loads((Path(__file__).parents[1] / "divergences" / "golden.json").read_text())
LOGITS = GOLDEN["inputs"]
EXACT = {"rtol": 0, "atol": 1e-9}
SIDES = ("positive", "negative")


def loss_and_gradient(method: Method, columns: Columns) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and its gradient with respect to the student's logits.

    Rows of the batch take the three golden positions one after another; a head of ones on its diagonal makes
    logits of hidden states.
    """
    tokens = int(columns.response_mask.sum())
    student, teacher = (
        torch.tensor(LOGITS[f"{side}_logits"], dtype=torch.float64).repeat(tokens, 1)[:tokens]
        for side in ("student", "teacher")
    )
    student.requires_grad_()
    advantages = method.advantage.start().advantages(columns).unsqueeze(1)
    credit = method.credit(columns, advantages).credit[columns.response_mask]
    head = torch.eye(student.shape[1], dtype=torch.float64)
    settings: Any = method.divergence
    rows = divergence(student, teacher, head, settings, row_loss=RowLoss(weights=credit.double() / tokens))
    loss = rows.loss.sum()
    return loss.detach(), torch.autograd.grad(loss, student)[0]


def one_response(tokens: int = 3, **columns: Tensor) -> Columns:
    return Columns.of(torch.ones(1, tokens), **columns)


@pytest.mark.parametrize(
    ("name", "golden", "keys"),
    [
        ("opsd", "opsd", {}),
        ("opsd", "opsd_8b_clip", {"clip": 0.06}),
        ("opsd", "opsd_unclipped", {"clip": 1e9}),
        ("opsd_first_release", "opsd_first_release", {}),
        ("copsd", "opsd", {}),
        ("crisp", "crisp", {}),
    ],
)
def test_loss_and_gradient_are_those_of_the_source(name, golden, keys):
    method = resolve(name, {"divergence": keys}, max_response_length=3)
    loss, gradient = loss_and_gradient(method, one_response())
    torch.testing.assert_close(loss.item(), GOLDEN[golden]["loss"], **EXACT)
    expected = torch.tensor(GOLDEN[golden]["grad_student_logits"], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, **EXACT)


def test_the_position_gate_weighs_opsds_divergence_as_pw_opsd_does():
    loss, gradient = loss_and_gradient(methods()["pw_opsd"], one_response())
    golden = GOLDEN["pw_opsd"]
    torch.testing.assert_close(loss.item(), golden["loss"], rtol=0, atol=1e-7)
    expected = torch.tensor(golden["grad_student_logits"], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


def test_pw_opsd_takes_the_mean_over_a_row_and_then_over_the_rows():
    """Two rows of three and two tokens; divergences and weights were chosen, the loss computed by hand."""
    columns = Columns.of(torch.tensor([[1, 1, 1], [1, 1, 0]]))
    method = methods()["pw_opsd"]
    credit = method.credit(columns, torch.ones(2, 1)).credit
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.0]])
    torch.testing.assert_close((credit * values).sum() / 5, torch.tensor(0.26423287959599695))


@examples
@given(raw_columns())
def test_with_the_row_mean_every_response_counts_alike(raw):
    columns = Columns.of(**raw)
    mask = columns.response_mask
    weights = RowMean().weights(columns, torch.ones(len(mask), 1)) * mask
    torch.testing.assert_close(weights[mask].mean(), torch.tensor(1.0))
    sums = weights.sum(dim=1)[mask.any(dim=1)]
    torch.testing.assert_close(sums, sums[:1].expand_as(sums))


def test_sdpo_keeps_the_students_most_likely_tokens_and_one_entry_for_the_others():
    """The golden rows are weighted by ratios to the old policy; one update per batch leaves these at 1."""
    golden = GOLDEN["sdpo"]
    settings = resolve("sdpo", {"divergence": {"top_k": golden["k"]}}, max_response_length=3).divergence
    student, teacher, ratio = (
        torch.tensor(values, dtype=torch.float64)
        for values in (LOGITS["student_logits"], LOGITS["teacher_logits"], golden["importance"])
    )
    student.requires_grad_()
    head = torch.eye(student.shape[1], dtype=torch.float64)
    loss = divergence(student, teacher, head, settings, row_loss=RowLoss(weights=ratio / 3)).loss.sum()
    torch.testing.assert_close(loss.item(), golden["loss"], **EXACT)
    expected = torch.tensor(golden["grad_student_logits"], dtype=torch.float64)
    torch.testing.assert_close(torch.autograd.grad(loss, student)[0], expected, **EXACT)


def test_sdpo_learns_on_the_rollouts_with_another_correct_one_alone():
    """Two prompts: of the first, one rollout of three is correct, so the other two have it as a sibling."""
    columns = Columns.of(
        torch.tensor([[1, 1], [1, 1], [1, 0], [1, 1]]),
        correct=torch.tensor([True, False, False, True]),
        problems=torch.tensor([0, 0, 0, 1]),
    )
    factor = HasSibling()
    weights = factor.weights(columns, torch.ones(4, 1))
    torch.testing.assert_close(weights, torch.tensor([[0.0], [7 / 3], [7 / 3], [0.0]]))
    assert factor.metrics(columns, weights * columns.response_mask)["share_kept"] == 0.5
    alone = Columns.of(torch.ones(2, 2), correct=torch.tensor([True, True]))
    assert not HasSibling().weights(alone, torch.ones(2, 1)).any()


@pytest.mark.parametrize(
    ("golden", "keys"),
    [
        ("reverse_kl_clip_symmetric_0.05", {}),
        ("reverse_kl_unclipped(v1 eq 15)", {"clip": 1e9}),
        ("forward_kl_clip_symmetric_0.05", {"kind": "forward"}),
    ],
)
def test_ogls_sd_learns_from_steered_hidden_states_what_the_source_learns_from_steered_logits(golden, keys):
    expected, strength = GOLDEN["ogls_sd"][golden], GOLDEN["ogls_sd"]["lambda"]
    settings = resolve("ogls_sd", {"divergence": keys}, max_response_length=3).divergence
    assert methods()["ogls_sd"].teacher["steering"] == strength
    student, *teachers = (
        torch.tensor(LOGITS[f"{side}_logits{which}"], dtype=torch.float64)
        for side, which in (("student", ""), *(("teacher", f"_{w}") for w in ("unprivileged", *SIDES)))
    )
    student.requires_grad_()
    head, share = torch.eye(student.shape[1], dtype=torch.float64), torch.full((3,), 1 / 3)
    rows = divergence(
        student,
        steered(*teachers, strength).double(),
        head,
        settings,
        row_loss=RowLoss(weights=share.double()),
    )
    rounded = {"rtol": 0, "atol": 1e-6}  # steered hidden states are sums in float32
    torch.testing.assert_close(rows.loss.sum().item(), expected["loss"], **rounded)
    gradient = torch.autograd.grad(rows.loss.sum(), student)[0]
    torch.testing.assert_close(
        gradient, torch.tensor(expected["grad_student_logits"], dtype=torch.float64), **rounded
    )


def test_ogls_sd_learns_on_the_wrong_rollouts_with_a_correct_one_beside_them_alone():
    columns = Columns.of(
        torch.tensor([[1, 1], [1, 1], [1, 0], [1, 1]]),
        correct=torch.tensor([True, False, True, False]),
        problems=torch.tensor([0, 0, 0, 1]),
    )
    credit = methods()["ogls_sd"].credit(columns, torch.ones(4, 1)).credit
    assert (credit > 0).any(dim=1).tolist() == [False, True, False, False]


def test_the_pass_rate_weighs_the_reverse_divergence_of_paced():
    method, crisp = methods()["paced_divergence"], methods()["crisp"]
    assert method.divergence == crisp.divergence
    columns = Columns.of(torch.ones(2, 3), correct=torch.tensor([True, False]), problems=torch.tensor([0, 0]))
    plain, weighted = (loss_and_gradient(each, columns)[1] for each in (crisp, method))
    torch.testing.assert_close(weighted, plain / 4)


@pytest.mark.parametrize(("name", "window"), [("opsd_gated", 0), ("opsd_cl_gated", 3)])
def test_the_gate_multiplies_the_divergence_and_its_gradient_at_every_token(name, window):
    entropy = torch.tensor([[2.0, 0.1, 1.5, 0.7, 3.0, 2.5]])
    columns = one_response(6, teacher_entropy=entropy)
    plain_loss, plain = loss_and_gradient(methods()["opsd"], columns)
    gated_loss, gated = loss_and_gradient(methods()[name], columns)
    lowest = torch.stack([entropy[0, t : t + max(window, 1)].min() for t in range(6)])
    gate = 1 - 0.3 * lowest / 3.0
    torch.testing.assert_close(gated, plain * gate.double()[:, None], rtol=1e-6, atol=1e-9)
    assert gated_loss.abs() < plain_loss.abs()
    assert (methods()[name].reads, methods()["opsd"].reads) == (
        {"teacher_entropy", "teacher_hidden"},
        {"teacher_hidden"},
    )


@pytest.mark.parametrize(
    ("name", "window", "other"), [("opsd_gated", 2, "opsd_cl_gated"), ("opsd_cl_gated", 0, "opsd_gated")]
)
def test_a_lookahead_that_contradicts_the_name_is_refused_with_the_other_method(name, window, other):
    with pytest.raises(ValueError, match=f"window={window} contradicts .*{other}"):
        resolve(name, {"window": window}, max_response_length=3)


def test_any_factor_goes_with_a_divergence_by_configuration():
    method = resolve("opsd", {"factors": ["entropy_gate", "pass_rate"], "window": 2}, max_response_length=3)
    assert [factor.name for factor in method.active] == ["entropy_gate", "pass_rate"]
    assert method.divergence == methods()["opsd"].divergence


def test_as_many_tokens_are_distilled_as_first_tokens_says():
    assert [Distillation().kept(n) for n in (1, 9)] == [1, 9]
    assert [Distillation(first_tokens=4).kept(n) for n in (1, 4, 9)] == [1, 4, 4]
