"""The teacher's weights follow the student's by the recurrence, and the student's come back bit for bit."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.support import warm_python
from tests.support.refresh_ranks import DECAY, RANKS, follow_student, model, outputs, train
from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.refresh import TeacherWeights, decay_after, mean_age, trained_shards

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
EMA, COPY = TeacherConfig(refresh="ema", decay=0.99), TeacherConfig(refresh="copy", every=2)


@pytest.mark.parametrize(
    ("recipe", "student", "teacher"),
    [
        (EMA, [1.0, 1.5, 1.2, 0.8], [1.0, 1.005, 1.00695, 1.0048805]),
        (COPY, [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 2.0, 2.0, 4.0]),
    ],
    ids=["ema 0.99", "copy every 2"],
)
def test_step_k_is_scored_by_the_teacher_after_k_minus_1_updates(recipe, student, teacher):
    one = nn.Linear(1, 1, bias=False)
    one.weight.data.fill_(student[0])
    weights = TeacherWeights(one)
    scoring = [float(weights.shards()["weight"])]
    for step, value in enumerate(student[1:], start=1):
        one.weight.data.fill_(value)
        weights.follow(decay_after(recipe, step))
        scoring.append(float(weights.shards()["weight"]))
    assert scoring == pytest.approx(teacher, abs=1e-6)


def test_a_frozen_teacher_and_one_between_its_copies_do_not_move():
    assert decay_after(TeacherConfig(), 7) == 1
    assert [decay_after(COPY, step) for step in (1, 2, 3, 4)] == [1, 0, 1, 0]


@given(decay=st.floats(0.01, 0.999), step=st.integers(1, 30))
def test_the_age_of_an_average_is_the_mean_age_of_what_it_is_made_of(decay, step):
    shares = {step - 1: decay ** (step - 1)}  # the initial weights
    for age in range(step - 1):
        shares[age] = (1 - decay) * decay**age
    age = mean_age(TeacherConfig(refresh="ema", decay=decay), step)
    assert age == pytest.approx(sum(age * share for age, share in shares.items()), abs=1e-9)


def test_a_copy_is_as_old_as_the_steps_since_it_was_made():
    assert [mean_age(COPY, step) for step in (1, 2, 3, 4, 5)] == [0, 1, 0, 1, 0]


def test_an_average_of_bfloat16_weights_moves_by_less_than_they_can_hold():
    student = nn.Linear(4, 4, bias=False).to(torch.bfloat16)
    student.weight.data.fill_(1.0)
    weights = TeacherWeights(student)
    student.weight.data.add_(2**-7)  # the next number in bfloat16
    weights.follow(0.99)
    (average,) = weights.shards().values()
    torch.testing.assert_close(average, torch.full((4, 4), 1 + 0.01 * 2**-7))


def test_weights_that_an_engine_moves_meanwhile_come_back_to_where_they_are_now():
    student = model(frozen_base=True)
    weights = TeacherWeights(student)
    train(student, seed=0)
    before = outputs(student)
    with weights.standing_in():
        student._apply(lambda tensor: tensor.clone())  # as offloading does
        assert not torch.equal(outputs(student), before)
    assert torch.equal(outputs(student), before)


def test_the_student_comes_back_where_scoring_fails():
    student = model()
    weights = TeacherWeights(student)
    train(student, seed=0)
    before = outputs(student)
    with pytest.raises(RuntimeError, match="no memory"), weights.standing_in():
        raise RuntimeError("no memory")
    assert torch.equal(outputs(student), before)


def test_a_checkpoint_of_another_shape_is_refused_with_both_shapes():
    weights = TeacherWeights(model(frozen_base=True))
    state = weights.state_dict()
    state["adapter.weight"] = state["adapter.weight"][:2]
    with pytest.raises(ValueError, match=r"adapter\.weight has the shape \(2, 7\) .* and \(3, 7\) on this"):
        weights.load_state_dict(state)
    with pytest.raises(ValueError, match=r"shape None in the checkpoint"):
        weights.load_state_dict({})


def test_a_tied_weight_moves_once_and_is_saved_by_each_of_its_names():
    student = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    student[1].weight = student[0].weight
    reference = copy.deepcopy(student)
    start = reference[0].weight.clone()
    weights = TeacherWeights(student, reference)
    student[0].weight.data.add_(1.0)
    weights.follow(0.9)
    torch.testing.assert_close(reference[1].weight, start + 0.1)
    saved = {name: shard.clone() for name, shard in weights.state_dict().items()}
    assert sorted(saved) == ["0.weight", "1.weight"]
    weights.follow(0.0)
    weights.load_state_dict(saved)
    torch.testing.assert_close(reference[1].weight, start + 0.1)


def test_a_reference_engine_that_is_sharded_differently_is_refused():
    with pytest.raises(
        ValueError, match=r"adapter\.weight is sharded differently .*actor_rollout_ref\.ref\.fsdp_config"
    ):
        TeacherWeights(model(frozen_base=True), nn.Sequential())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one process finds, and each of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [warm_python.python(), str(ROOT / "tests/support/refresh_ranks.py"), str(folder)]
    subprocess.run(command, env=os.environ | warm_python.environment(), check=True, timeout=120)
    ranks = [torch.load(folder / f"rank_{rank}.pt") for rank in range(RANKS)]
    return {"alone": follow_student(sharded=False)} | {f"rank {rank}": ranks[rank] for rank in range(RANKS)}


@pytest.mark.parametrize("home", ["adapter", "reference"])
@pytest.mark.parametrize("process", ["alone", *(f"rank {rank}" for rank in range(RANKS))])
def test_on_every_rank_the_teacher_is_exactly_what_it_should_be(runs, process, home):
    seen = runs[process][home]
    assert torch.equal(seen["before"], seen["untrained"])
    assert seen["restored"]
    assert torch.equal(seen["again"], seen["student"])
    assert torch.equal(seen["copy"], seen["student"])
    assert torch.equal(seen["loaded"], seen["average"])
    assert seen["norms_of_copy"][0] == 0
    assert (seen["average"] - seen["before"]).abs().max() > 0.01
    assert (seen["average"] - seen["student"]).abs().max() > 0.01


@pytest.mark.parametrize("home", ["adapter", "reference"])
def test_two_ranks_have_the_teacher_of_one(runs, home):
    for rank in range(RANKS):
        for name in ("student", "average"):
            found, alone = runs[f"rank {rank}"][home][name], runs["alone"][home][name]
            torch.testing.assert_close(found, alone, rtol=0, atol=1e-6)
    summed = sum(runs[f"rank {rank}"][home]["norms"] for rank in range(RANKS))
    torch.testing.assert_close(summed, runs["alone"][home]["norms"])


def test_the_average_is_that_of_the_recurrence_in_float64(runs):
    student = model(frozen_base=True).double()
    average = {name: shard.clone() for name, shard in trained_shards(student).items()}
    for seed in range(3):
        train(student, seed)
        for name, shard in trained_shards(student).items():
            average[name] = DECAY * average[name] + (1 - DECAY) * shard
    with torch.no_grad():
        for name, shard in trained_shards(student).items():
            shard.copy_(average[name])
    found, expected = runs["alone"]["adapter"]["average"], outputs(student.float())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
