"""Values and gradients of every divergence against full logits and autograd, in float64."""

from __future__ import annotations

import pytest
import torch

from tests.divergences.cases import SETTINGS, VOCABULARY, WHOLE, case
from tests.divergences.reference import divergence_of_logits, entropy, log_prob, row_loss_of_logits
from verl_egrsd.divergences import Divergence, RowLoss, blocks, divergence

every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of several slices, the last ones shorter."""
    set_blocks(monkeypatch, rows=4, slice_rows=3)


def set_blocks(monkeypatch, rows: int, slice_rows: int) -> None:
    row_bytes = 2 * 8 * VOCABULARY
    monkeypatch.setattr(blocks, "BLOCK_BYTES", rows * row_bytes)
    monkeypatch.setattr(blocks, "SLICE_BYTES", slice_rows * row_bytes)


def close(found, right, at: float = 1e-12) -> None:
    torch.testing.assert_close(found, right, rtol=at, atol=at)


def swept(inputs, settings, row_loss, **more):
    own = {"teacher_weight": inputs.teacher_head, "token_ids": inputs.token_ids, "row_loss": row_loss}
    return divergence(inputs.student, inputs.teacher, inputs.head, settings, **own, **more)


@every_setting
def test_values_and_gradients_equal_those_of_full_logits(settings):
    inputs = case()
    x, z = inputs.logits()
    right = divergence_of_logits(x, z, settings)
    wanted = torch.autograd.grad((inputs.weights * right).sum(), (inputs.student, inputs.head))
    found = swept(inputs, settings, RowLoss(inputs.weights))
    (0.25 * found.loss.sum()).backward()
    close(found.divergence, right.detach())
    close(found.loss, (inputs.weights * right))
    close(inputs.student.grad, 0.25 * wanted[0])
    close(inputs.head.grad, 0.25 * wanted[1])
    for side, log_probs, entropies in (
        (x.detach(), found.student_log_prob, found.student_entropy),
        (z, found.teacher_log_prob, found.teacher_entropy),
    ):
        close(log_probs, log_prob(side / settings.temperature, inputs.token_ids))
        close(entropies, entropy(side / settings.temperature))


@every_setting
def test_gradcheck(settings):
    inputs = case(rows=3)

    def of_hidden(hidden):
        return divergence(hidden, inputs.teacher, inputs.head.detach(), settings).loss

    assert torch.autograd.gradcheck(of_hidden, inputs.student)


@every_setting
@pytest.mark.parametrize(("spread", "shift"), [(0.0, 0.0), (40.0, 0.0), (3e4, 0.0), (3.0, 2e4), (3.0, -60.0)])
def test_flat_peaked_and_huge_logits_give_what_float64_gives(settings, spread, shift):
    inputs = case(spread=spread, shift=shift)
    x, z = inputs.logits()
    right = divergence_of_logits(x, z, settings)
    wanted = torch.autograd.grad(right.sum(), inputs.student)[0]
    found = divergence(
        inputs.student, inputs.teacher, inputs.head.detach(), settings, teacher_weight=inputs.teacher_head
    )
    found.loss.sum().backward()
    close(found.loss.detach(), right.detach(), 1e-9)
    close(inputs.student.grad, wanted, 1e-8)
    single = [value.detach().float() for value in (inputs.student, inputs.teacher, inputs.head)]
    hidden = single[0].requires_grad_()
    loss = divergence(hidden, *single[1:], settings, teacher_weight=inputs.teacher_head.float()).loss
    loss.sum().backward()
    assert loss.isfinite().all()
    assert hidden.grad.isfinite().all()


@every_setting
def test_blocks_and_slices_change_nothing(settings, monkeypatch):
    inputs = case()
    results = []
    for rows, slice_rows in ((1, 1), (5, 2), (99, 99)):
        set_blocks(monkeypatch, rows, slice_rows)
        hidden = inputs.student.detach().requires_grad_()
        loss = divergence(hidden, inputs.teacher, inputs.head.detach(), settings).loss
        loss.sum().backward()
        results.append((loss.detach(), hidden.grad))
    for loss, gradient in results[1:]:
        close(loss, results[0][0])
        close(gradient, results[0][1])


@pytest.mark.parametrize("settings", [WHOLE["forward clipped"], WHOLE["reverse"], WHOLE["jsd"]])
def test_bfloat16_weights_and_hidden_states_give_the_values_of_their_exact_products(settings):
    inputs = case()
    student, teacher, head = (
        value.detach().bfloat16() for value in (inputs.student, inputs.teacher, inputs.head)
    )
    exact = student.double().requires_grad_()
    right = divergence_of_logits(exact @ head.double().T, teacher.double() @ head.double().T, settings)
    right.sum().backward()
    student.requires_grad_(), head.requires_grad_()
    found = divergence(student, teacher, head, settings)
    found.loss.sum().backward()
    assert found.loss.dtype == torch.float32
    assert student.grad.dtype == head.grad.dtype == torch.bfloat16
    close(found.divergence.double(), right.detach(), 2e-6)
    torch.testing.assert_close(student.grad.double(), exact.grad, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_vocabulary_of_qwen3_in_single_precision(kind, dtype):
    vocabulary, draw = 151_936, torch.Generator().manual_seed(0)
    student, noise = (torch.randn(2, 8, generator=draw) for _ in range(2))
    teacher, head = student + 0.3 * noise, torch.randn(vocabulary, 8, generator=draw).to(dtype)
    exact = student.double().requires_grad_()
    right = divergence_of_logits(
        exact @ head.double().T, teacher.double() @ head.double().T, Divergence(kind)
    )
    right.sum().backward()
    student.requires_grad_()
    found = divergence(student, teacher, head, Divergence(kind), token_ids=torch.tensor([0, vocabulary - 1]))
    found.loss.sum().backward()
    close(found.divergence.double(), right.detach(), 1e-5)
    # The product over 151,936 entries rounds, as that of plain autograd does.
    close(student.grad.double(), exact.grad, 3e-4)


def test_a_head_in_half_precision_is_widened_part_by_part(monkeypatch):
    from verl_egrsd.divergences import products

    monkeypatch.setattr(products, "WIDENED_ROWS", 50)
    inputs = case()
    half = [value.detach().bfloat16() for value in (inputs.student, inputs.teacher, inputs.head)]
    results = []
    for operands in (half, [value.float() for value in half]):
        hidden = operands[0].float().requires_grad_()
        loss = divergence(hidden, *operands[1:], Divergence("jsd")).loss
        loss.sum().backward()
        results.append((loss.detach(), hidden.grad))
    close(results[0], results[1], 1e-6)


@every_setting
@pytest.mark.parametrize("score_temperature", [None, 0.8])
@pytest.mark.parametrize("ratio", [False, True])
def test_a_policy_term_joins_the_same_gradient(settings, score_temperature, ratio):
    inputs = case()
    x, z = inputs.logits()
    at = settings.temperature if score_temperature is None else score_temperature
    draw = torch.Generator().manual_seed(1)
    noise = 0.3 * torch.randn(len(x), generator=draw, dtype=torch.float64)
    loss = RowLoss(
        weights=inputs.weights,
        advantages=torch.randn(len(x), generator=draw, dtype=torch.float64),
        policy_weights=inputs.weights.flip(0),
        old_log_probs=log_prob(x.detach() / at, inputs.token_ids) + noise if ratio else None,
        ratio_cap=1.1 if ratio else None,
    )
    right = row_loss_of_logits(x, z, settings, loss, inputs.token_ids, at)
    wanted = torch.autograd.grad(right.sum(), (inputs.student, inputs.head))
    found = swept(inputs, settings, loss, score_temperature=score_temperature)
    found.loss.sum().backward()
    close(found.loss.detach(), right.detach())
    close(inputs.student.grad, wanted[0])
    close(inputs.head.grad, wanted[1])
    close(found.student_log_prob, log_prob(x.detach() / at, inputs.token_ids))
    close(found.student_entropy, entropy(x.detach() / at))
    close(found.teacher_entropy, entropy(z / at))


def test_autocast_of_the_caller_rounds_nothing():
    inputs = case()
    single = [value.detach().float() for value in (inputs.student, inputs.teacher, inputs.head)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = divergence(*single, Divergence()).divergence
    assert torch.equal(inside, divergence(*single, Divergence()).divergence)


def test_nothing_is_kept_for_a_gradient_that_nobody_asks_for():
    inputs = case()
    with torch.no_grad():
        found = divergence(inputs.student, inputs.teacher, inputs.head, Divergence())
    assert not found.loss.requires_grad
    rows = divergence(inputs.student, inputs.teacher, inputs.head.detach(), Divergence())
    assert rows.loss.requires_grad
    assert not rows.divergence.requires_grad


@pytest.mark.parametrize("scored", [False, True])
def test_no_rows_give_empty_values_and_gradients_of_zero(scored):
    inputs = case(rows=0)
    ids = inputs.token_ids if scored else None
    found = divergence(inputs.student, inputs.teacher, inputs.head, Divergence(), token_ids=ids)
    found.loss.sum().backward()
    assert found.loss.shape == found.student_entropy.shape == (0,)
    assert (found.student_log_prob is not None) == scored
    assert inputs.student.grad.shape == inputs.student.shape
    assert torch.equal(inputs.head.grad, torch.zeros_like(inputs.head))


def test_weights_after_the_call_are_refused_where_the_head_is_trained():
    inputs = case()
    loss = divergence(inputs.student, inputs.teacher, inputs.head, Divergence()).loss
    with pytest.raises(ValueError, match="Put weights and masks into row_loss"):
        (inputs.weights * loss).sum().backward()


def test_a_second_backward_pass_is_refused_where_the_head_is_trained():
    inputs = case()
    loss = divergence(inputs.student, inputs.teacher, inputs.head, Divergence()).loss.sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="call divergence again"):
        loss.backward()


def test_rows_without_a_loss_may_have_any_upstream_gradient():
    inputs = case()
    inputs.weights[::2] = 0
    row_loss = RowLoss(inputs.weights)
    loss = divergence(inputs.student, inputs.teacher, inputs.head, Divergence(), row_loss=row_loss).loss
    (loss * (inputs.weights > 0)).sum().backward()
    assert (inputs.student.grad[::2] == 0).all()
    assert inputs.head.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_hidden": torch.zeros(3, 12)}, r"teacher_hidden \(3, 12\).*do not fit"),
        ({"teacher_weight": torch.zeros(9, 12)}, r"teacher_weight \(9, 12\) do not fit"),
        ({"token_ids": torch.full((11,), VOCABULARY)}, r"each must be a row of head_weight"),
        ({"token_ids": torch.zeros(3, dtype=torch.int64)}, r"token_ids of shape \(3,\)"),
        ({"row_loss": RowLoss(torch.ones(4))}, r"weights of shape \(4,\) does not fit"),
        ({"row_loss": RowLoss(advantages=torch.ones(11))}, "give token_ids"),
        ({"settings": Divergence(top_k=VOCABULARY)}, "top_k=203 holds the whole vocabulary"),
        ({"score_temperature": 0.0}, "score_temperature=0.0 is not allowed"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    inputs = case()
    call = {
        "student_hidden": inputs.student,
        "teacher_hidden": inputs.teacher,
        "head_weight": inputs.head,
        "settings": Divergence(),
    }
    with pytest.raises(ValueError, match=message):
        divergence(**(call | change))
