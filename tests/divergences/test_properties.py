"""What holds for every pair of distributions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.divergences.cases import CLOSED, SETTINGS, Case, case
from verl_egrsd.divergences import Divergence, RowLoss, divergence

unhurried = settings(deadline=None)
"""The machine may be busy."""
cases = st.builds(
    case,
    rows=st.integers(1, 5),
    spread=st.floats(0.0, 30.0),
    shift=st.floats(-50.0, 50.0),
    apart=st.floats(0.0, 3.0),
    seed=st.integers(0, 10_000),
)


def of(inputs: Case, settings: Divergence) -> torch.Tensor:
    heads = (inputs.head.detach(), inputs.teacher_head)
    return divergence(
        inputs.student.detach(), inputs.teacher, heads[0], settings, teacher_weight=heads[1]
    ).divergence


@unhurried
@given(cases, st.sampled_from(["forward", "reverse", "jsd"]), st.floats(0.01, 0.99))
def test_without_a_clip_no_divergence_is_negative_and_a_jsd_is_below_its_bound(inputs, kind, beta):
    found = of(inputs, Divergence(kind, beta))
    assert (found >= -1e-12).all()
    if kind == "jsd":
        bound = -beta * math.log(beta) - (1 - beta) * math.log1p(-beta)
        assert (found <= bound + 1e-12).all()


@unhurried
@given(cases, st.floats(0.01, 0.99))
def test_a_jsd_is_below_either_divergence_times_its_share(inputs, beta):
    forward, reverse, mixed = (of(inputs, Divergence(kind, beta)) for kind in ("forward", "reverse", "jsd"))
    assert (mixed <= beta * (1 - beta) * (forward + reverse) + 1e-12).all()
    assert (mixed <= beta * forward + (1 - beta) * reverse + 1e-12).all()


@unhurried
@given(cases)
def test_the_sides_of_one_kind_are_the_sides_of_the_other_exchanged(inputs):
    forward = of(inputs, Divergence("forward"))
    exchanged = divergence(
        inputs.teacher,
        inputs.student.detach(),
        inputs.teacher_head,
        Divergence("reverse"),
        teacher_weight=inputs.head.detach(),
    ).divergence
    torch.testing.assert_close(forward, exchanged, rtol=1e-12, atol=1e-12)


@unhurried
@given(cases, st.sampled_from(["forward", "reverse", "jsd"]), st.floats(1e-4, 0.5), st.floats(1e-4, 0.5))
def test_a_smaller_clip_gives_no_larger_divergence(inputs, kind, one, other):
    small, large = (of(inputs, Divergence(kind, clip=clip)) for clip in sorted((one, other)))
    assert (small <= large + 1e-12).all()
    assert (large <= of(inputs, Divergence(kind)) + 1e-12).all()


@unhurried
@given(cases, st.sampled_from(list(CLOSED.values())), st.booleans())
def test_equal_hidden_states_have_a_divergence_and_a_gradient_of_exactly_zero(inputs, settings, single):
    dtype = torch.float32 if single else torch.float64
    hidden, head = inputs.student.detach().to(dtype).requires_grad_(), inputs.head.detach().to(dtype)
    head.requires_grad_()
    found = divergence(hidden, hidden.detach(), head, settings, row_loss=RowLoss(inputs.weights))
    found.loss.sum().backward()
    for value in (found.divergence, hidden.grad, head.grad):
        assert torch.equal(value, torch.zeros_like(value))


@unhurried
@given(cases, st.sampled_from(list(SETTINGS.values())))
def test_the_gradient_of_the_logits_sums_to_zero_over_the_vocabulary(inputs, settings):
    """Adding one number to all logits changes nothing: a constant column of the head gets no gradient."""
    inputs.head.data[:, 0] = 1.0
    divergence(inputs.student, inputs.teacher, inputs.head.detach(), settings).loss.sum().backward()
    assert inputs.student.grad[:, 0].abs().max() <= 1e-12


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd"])
def test_a_step_against_the_gradient_lowers_the_divergence(kind):
    inputs = case()
    before = divergence(inputs.student, inputs.teacher, inputs.head.detach(), Divergence(kind)).loss
    before.sum().backward()
    stepped = inputs.student.detach() - 1e-3 * inputs.student.grad
    after = divergence(stepped, inputs.teacher, inputs.head.detach(), Divergence(kind)).loss
    assert (after < before).all()
