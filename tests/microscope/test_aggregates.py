"""The aggregates against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd.credit import Regime
from verl_egrsd.methods import resolve
from verl_egrsd.microscope.aggregates import aggregate
from verl_egrsd.microscope.rollout import Rollout, Run, credited

approx = pytest.approx


def floats(*values):
    return np.array(values, np.float32)


def rollout(tokens, **arrays):
    """A rollout in which every number is given."""
    about = dict.fromkeys(
        ("name", "problem", "student_prompt", "teacher_prompt", "ground_truth", "verdict"), ""
    )
    arrays = {name: np.asarray(values) for name, values in arrays.items()}
    return Rollout(**about, reward=0.0, truncated=False, tokens=tokens, arrays=arrays)


@pytest.fixture
def run():
    """Four tokens and one, with numbers that can be added up in the head."""
    first = rollout(
        ("wait", "7", "+", "the"),
        student_log_prob=floats(-1, -1, -1, -1),
        teacher_log_prob=floats(-3, -1, -1.5, -1),
        teacher_entropy=floats(2, 0, 1, 0),
        lookahead=floats(0, 0, 0, 0),
        gate_plain=floats(0.1, 1, 0.5, 1),
        gate_lookahead=floats(1, 1, 0.9, 1),
        entropy_gate=floats(0.1, 1, 0.5, 1),
        ratio=floats(0.8, 1, 0.8, 1),
        advantage=floats(1, 1, 1, 1),
        log_ratio=floats(-2, 0, -0.5, 0),
        weight=floats(0.08, 1, 0.4, 1),
        credit=floats(0.08, 1, 0.4, 1),
        regime=np.array([Regime.PIVOT, Regime.LOCK, Regime.MID, Regime.LOCK]),
    )
    second = rollout(
        ("<|im_end|>",),
        student_log_prob=floats(-0.5),
        teacher_log_prob=floats(0),
        teacher_entropy=floats(0.5),
        lookahead=floats(0.5),
        gate_plain=floats(0.75),
        gate_lookahead=floats(0.75),
        entropy_gate=floats(0.75),
        ratio=floats(1.2),
        advantage=floats(1),
        log_ratio=floats(0.5),
        weight=floats(0.9),
        credit=floats(0.9),
        regime=np.array([Regime.MID]),
    )
    method = resolve("egrsd", {"gamma": 0.9}, max_response_length=8)
    return Run("by hand", method, {}, [first, second])


def test_weights_add_up(run):
    found = aggregate(run)
    weights = np.array([0.08, 1, 0.4, 1, 0.9])
    assert (found.rollouts, found.tokens) == (2, 5)
    assert found.weight_mass == approx(0.676)
    assert found.effective_share == approx(3.38**2 / (5 * (weights**2).sum()))


def test_regimes_have_their_share_and_what_the_lookahead_restores(run):
    found = {row.name: (row.share, row.restored) for row in aggregate(run).regimes}
    assert found == {
        "lock": (approx(0.4), approx(0)),
        "mid": (approx(0.4), approx(0.2)),
        "pivot": (approx(0.2), approx(0.9)),
    }


def test_deciles_go_from_the_lowest_entropy_to_the_highest(run):
    deciles = aggregate(run).deciles
    assert [group.means["teacher_entropy"] for group in deciles] == approx([0, 0, 0.5, 1, 2])
    assert [group.means["log_ratio"] for group in deciles] == approx([0, 0, 0.5, 0.5, 2])
    assert [group.means["weight"] for group in deciles] == approx([1, 1, 0.9, 0.4, 0.08])


def test_kinds_of_words_come_the_most_damped_first(run):
    found = [(group.name, group.tokens, group.means["entropy_gate"]) for group in aggregate(run).words]
    assert found == [
        ("hesitation", 1, approx(0.1)),
        ("operators", 1, approx(0.5)),
        ("answer format", 1, approx(0.75)),
        ("digits", 1, approx(1)),
        ("other", 1, approx(1)),
    ]


def test_positions_are_relative_to_each_response(run):
    found = {group.name: (group.tokens, group.means["teacher_entropy"]) for group in aggregate(run).positions}
    assert found == {
        "0 %": (2, approx(1.25)),  # the first token of both
        "25 %": (1, 0),
        "50 %": (1, 1),
        "75 %": (1, 0),
    }


def test_every_token_is_in_one_group_of_each_table():
    run = synthetic_run([words(137), words(64, seed=1)])
    found = aggregate(run)
    assert found.tokens == 201
    for groups in (found.deciles, found.words, found.positions):
        assert sum(group.tokens for group in groups) == 201
        mass = sum(group.tokens * group.means["weight"] for group in groups) / 201
        assert mass == approx(found.weight_mass)
    assert [group.tokens for group in found.deciles] == [21, *[20] * 9]
    assert sum(row.share for row in found.regimes) == approx(1)


def test_a_run_without_a_token_is_refused(run):
    empty = rollout((), **dict.fromkeys(run.arrays, floats()))
    with pytest.raises(ValueError, match="by hand has no token"):
        aggregate(replace(run, rollouts=[empty]))


def test_arrays_of_another_length_than_the_tokens_are_refused(run):
    first = run.rollouts[0]
    with pytest.raises(ValueError, match=r"teacher_entropy of .* has 3 values for 4 tokens"):
        replace(first, arrays={**first.arrays, "teacher_entropy": floats(1, 2, 3)})


def test_a_run_without_a_teacher_has_its_weights_alone():
    tokens = ("a", "b")
    method = resolve("direction", max_response_length=8)
    rollouts, metrics = credited([rollout(tokens, advantage=floats(0.5, 0.5))], method)
    found = aggregate(Run("no teacher", method, {}, rollouts, metrics))
    assert (found.means, found.regimes, found.weight_mass) == (["weight"], [], 1.0)
    assert metrics == {}


def test_the_two_gates_and_the_lookahead_are_those_of_the_method():
    measured = [
        rollout(
            ("a", "b", "c", "d"),
            student_log_prob=floats(-1, -1, -1, -1),
            teacher_log_prob=floats(-1, -1, -1, -1),
            teacher_entropy=floats(2, 1, 4, 3),
            advantage=floats(1, 1, 1, 1),
        )
    ]
    ahead = resolve("cl_egrsd", {"gamma": 0.8, "window": 1}, max_response_length=8)
    (seen,), metrics = credited(measured, ahead)
    assert seen["lookahead"].tolist() == [1, 1, 3, 3]
    assert seen["gate_plain"] == approx([0.6, 0.8, 0.2, 0.4])
    assert seen["gate_lookahead"] == approx([0.8, 0.8, 0.4, 0.4])
    assert seen["entropy_gate"].tolist() == seen["gate_lookahead"].tolist()
    assert seen["credit"] == approx([0.8, 0.8, 0.4, 0.4])
    assert metrics["entropy_gate/restored_by_lookahead"] == approx(0.1)
    (plain,), _ = credited(measured, resolve("egrsd", {"gamma": 0.8}, max_response_length=8))
    assert plain["entropy_gate"].tolist() == plain["gate_plain"].tolist()
    assert plain["lookahead"].tolist() == [1, 1, 3, 3]  # the views look three tokens ahead
