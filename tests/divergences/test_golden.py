"""The published losses: values and gradients that were computed from their formulas in numpy, in float64.

Three tokens over a vocabulary of five; gradients are of the mean loss, by the student's raw logits.
A head that is the identity makes hidden states of logits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from verl_egrsd.divergences import Divergence, RowLoss, Rows, divergence

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden.json").read_text())
INPUTS = GOLDEN["inputs"]
HEAD = torch.eye(5, dtype=torch.float64)
THIRD = torch.full((3,), 1 / 3, dtype=torch.float64)

SETTINGS = {
    "opsd": Divergence("forward", clip=0.05, temperature=1.1),
    "opsd_8b_clip": Divergence("forward", clip=0.06, temperature=1.1),
    "opsd_unclipped": Divergence("forward", temperature=1.1),
    "opsd_first_release": Divergence("jsd", temperature=1.1),
    "jsd_0.3_clip": Divergence("jsd", beta=0.3, clip=0.01),
    "crisp": Divergence("reverse"),
    "reverse_clip": Divergence("reverse", clip=0.05),
    "opsd_topk_renormalised": Divergence("jsd", top_k=2, tail="renormalised", temperature=1.1),
}
OGLS_SD = {
    "reverse_kl_unclipped(v1 eq 15)": Divergence("reverse", temperature=1.1),
    "forward_kl_clip_symmetric_0.05": Divergence("forward", clip=0.05, clip_sides="both", temperature=1.1),
    "reverse_kl_clip_symmetric_0.05": Divergence("reverse", clip=0.05, clip_sides="both", temperature=1.1),
}


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def measured(settings: Divergence, teacher: Any, row_loss: RowLoss | None = None) -> tuple[Rows, Tensor]:
    """Return the rows, and the gradient of the sum of their losses."""
    student = tensor(INPUTS["student_logits"]).requires_grad_()
    rows = divergence(
        student,
        tensor(teacher),
        HEAD,
        settings,
        token_ids=torch.tensor(INPUTS["sampled"]),
        row_loss=row_loss or RowLoss(THIRD),
        score_temperature=1.0,
    )
    rows.loss.sum().backward()
    assert student.grad is not None
    return rows, student.grad


def same(golden: dict[str, Any], rows: Rows, gradient: Tensor) -> None:
    torch.testing.assert_close(rows.loss.detach().sum(), tensor(golden["loss"]), rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient, tensor(golden["grad_student_logits"]), rtol=0, atol=1e-9)
    if "per_token" in golden:
        torch.testing.assert_close(rows.divergence, tensor(golden["per_token"]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_published_divergence(name):
    same(GOLDEN[name], *measured(SETTINGS[name], INPUTS["teacher_logits"]))


@pytest.mark.parametrize("name", OGLS_SD)
def test_ogls_sd_whose_teacher_is_one_row_of_steered_hidden_states(name):
    none, right, wrong = (
        tensor(INPUTS[f"teacher_logits_{side}"]) for side in ("unprivileged", "positive", "negative")
    )
    steered = none + GOLDEN["ogls_sd"]["lambda"] * (right - wrong)
    same(GOLDEN["ogls_sd"][name], *measured(OGLS_SD[name], steered.tolist()))


def test_pw_opsd_whose_weights_depend_on_the_position():
    golden = GOLDEN["pw_opsd"]
    same(
        golden, *measured(SETTINGS["opsd"], INPUTS["teacher_logits"], RowLoss(tensor(golden["weights"]) / 3))
    )


def test_sdpo_with_a_bucket_and_a_capped_ratio():
    old = tensor(GOLDEN["basics"]["log_p_student"]) - tensor(INPUTS["old_gap"])
    loss = RowLoss(THIRD, old_log_probs=old, ratio_cap=2.0)
    same(
        GOLDEN["sdpo"],
        *measured(Divergence("jsd", top_k=2, support="student"), INPUTS["teacher_logits"], loss),
    )


def test_eopd_with_its_policy_term_in_the_same_sweep():
    basics = GOLDEN["basics"]
    old = tensor(basics["log_p_student"]) - tensor(INPUTS["old_gap"])
    loss = RowLoss(
        THIRD * (tensor(basics["entropy_teacher"]) > 0.8),
        advantages=tensor(basics["log_p_teacher"]) - old,
        policy_weights=THIRD,
        old_log_probs=old,
    )
    settings = Divergence("forward", top_k=2, tail="teacher_renormalised")
    same(GOLDEN["eopd_paper"], *measured(settings, INPUTS["teacher_logits"], loss))


def test_log_probs_and_entropies():
    rows, _ = measured(Divergence(), INPUTS["teacher_logits"])
    for name, found in (
        ("log_p_student", rows.student_log_prob),
        ("log_p_teacher", rows.teacher_log_prob),
        ("entropy_student", rows.student_entropy),
        ("entropy_teacher", rows.teacher_entropy),
    ):
        torch.testing.assert_close(found, tensor(GOLDEN["basics"][name]), rtol=0, atol=1e-9)
