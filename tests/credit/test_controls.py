import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.credit import controlled_gate
from verl_egrsd.methods import Columns, EntropyGate

from .strategies import batches, examples

GATE = torch.linspace(0.1, 1.0, 40).repeat(2, 1)
MASK = (torch.arange(40) >= 5).repeat(2, 1)


@examples
@given(batches(), st.integers(0, 99))
def test_the_shuffled_gate_permutes_each_rollout(batch, seed):
    mask = batch.response_mask
    gate = EntropyGate(gamma=1.0).gate(batch.teacher_entropy, mask)
    shuffled = controlled_gate(gate, mask, "shuffled", seed)
    assert torch.equal(shuffled.sort(dim=1).values, gate.sort(dim=1).values)
    assert (shuffled[~mask] == 0).all()


def test_the_seed_alone_decides_the_shuffle():
    first, again, other = (controlled_gate(GATE, MASK, "shuffled", seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, GATE)


def test_rollouts_are_shuffled_differently():
    shuffled = controlled_gate(GATE, MASK, "shuffled", 0)
    assert not torch.equal(shuffled[0], shuffled[1])


@examples
@given(batches(), st.sampled_from([0.3, 1.0]))
def test_the_mean_preserving_gate_has_mean_one_and_keeps_its_shape(batch, gamma):
    mask = batch.response_mask
    gate = EntropyGate(gamma=gamma).gate(batch.teacher_entropy, mask)
    kept = controlled_gate(gate, mask, "mean_preserving")
    if mask.any():
        torch.testing.assert_close(kept[mask].mean(), torch.tensor(1.0))
        torch.testing.assert_close(kept[mask] * gate[mask].mean(), gate[mask])
    assert (kept[~mask] == 0).all()


def test_the_gate_of_a_step_is_the_controlled_one_and_differs_from_step_to_step():
    entropy = torch.linspace(0, 3, 40).repeat(2, 1)
    plain = EntropyGate(gamma=1.0).gate(entropy, MASK)
    for step in (1, 2):
        columns = Columns.of(MASK, teacher_entropy=entropy, step=step)
        for control in ("none", "mean_preserving", "shuffled"):
            gate = EntropyGate(gamma=1.0, gate_control=control, seed=7)
            expected = controlled_gate(plain, MASK, control, 7 + step)
            assert torch.equal(gate.weights(columns, torch.ones(2, 1)), expected)


def test_an_unknown_control_is_refused():
    with pytest.raises(ValueError, match=r"gate_control='mean' .* one of none, mean_preserving, shuffled"):
        controlled_gate(GATE, MASK, "mean")
