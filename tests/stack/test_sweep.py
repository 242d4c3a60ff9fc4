"""Runs that share their processes, and one on two ranks; every run gets the same answer to a prompt."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
from omegaconf import OmegaConf

from recipes.miniature.sweep import require_shared_processes
from recipes.miniature.train import compose_run, read_run
from tests.support.training_run import TIME_LIMIT, settings, start
from verl_egrsd.checkpoints.reading import read_checkpoint
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * TIME_LIMIT)]

FIRST, DISTILLED = "answer_only-1", "opsd_cl_gated-0"
NUMBERS = (
    *("egrsd/reward/mean", "egrsd/teacher_entropy/mean", "egrsd/ratio/mean", "egrsd/entropy_gate/mean"),
    *("egrsd/credit/abs_mean", "actor/pg_loss", "actor/grad_norm"),
)
NUMBERS_OF_A_DIVERGENCE = (
    *("egrsd/reward/mean", "egrsd/divergence/mean", "egrsd/divergence/teacher_entropy"),
    *("egrsd/divergence/student_entropy", "actor/grad_norm"),
)


@pytest.fixture(scope="module")
def start_runs(model_path, data_path, tmp_path_factory):
    """Train runs of the miniature on one start, two steps of 8 prompts each; return their folder."""

    def started(module, *runs, overrides=()):
        folder = tmp_path_factory.mktemp("runs")
        keys = (*settings(model_path, data_path), "data.train_batch_size=8", *overrides)
        returncode, log = start(
            folder,
            *(module, "--out", str(folder), "--runs", *runs),
            *("--set", "trainer.total_training_steps=2", *keys),
            limit=2 * TIME_LIMIT,
        )
        assert returncode == 0, log[-3000:]
        return folder

    return started


@pytest.fixture(scope="module")
def together(start_runs):
    """Runs one after another on one start, then the second half of the last one, and the first one again."""
    arms = (FIRST, "grpo-0", "direction-0", "egrsd-0", "rlsd-0", "opsd_unclipped-0", DISTILLED)
    return start_runs("tests.support.sweep_runs", *arms)


@pytest.mark.parametrize(("arm", "rows"), [("direction", 8), ("grpo", 64)])
def test_the_arms_without_a_teacher_score_none_and_train_on_their_direction_alone(together, arm, rows):
    steps = training_steps(read_steps(together / f"{arm}-0" / STEPS_FILE))
    assert len(steps) == 2
    for step in steps:
        assert "timing_s/teacher" not in step
        assert "egrsd/entropy_gate/mean" not in step
        assert rows * step["egrsd/correct"] == pytest.approx(round(rows * step["egrsd/correct"]), abs=1e-3)
        if arm == "direction":
            assert 0 < step["egrsd/credit/abs_mean"] <= 1
        else:
            # The scripted rollout answers a prompt the same way eight times, so no group has a direction.
            assert step["egrsd/credit/abs_mean"] == pytest.approx(0, abs=1e-6)


def assert_same_numbers(one, other, rel, numbers=NUMBERS):
    steps = [training_steps(read_steps(folder / STEPS_FILE)) for folder in (one, other)]
    for step, other_step in zip(*steps, strict=True):
        for name in numbers:
            assert step[name] == pytest.approx(other_step[name], rel=rel), name


def test_a_run_after_others_gives_the_numbers_and_weights_of_a_run_on_new_processes(together):
    assert_same_numbers(together / FIRST, together / "again" / FIRST, rel=1e-5)
    new, again, before = (
        read_checkpoint(folder / "global_step_2").own
        for folder in (together / FIRST, together / "again" / FIRST, together / "egrsd-0")
    )
    for name, weight in new.items():
        torch.testing.assert_close(weight, again[name], rtol=0, atol=1e-6)
    assert any(not torch.equal(weight, again[name]) for name, weight in before.items())


def test_a_teacher_that_moved_is_a_run_s_own(together):
    steps = {run: training_steps(read_steps(together / run / STEPS_FILE)) for run in (FIRST, "rlsd-0")}
    assert [step.get("egrsd/teacher/age") for step in steps["rlsd-0"]] == [0.0, 0.0]
    assert [step.get("egrsd/teacher/age") for step in steps[FIRST]] == [None, None]


def test_two_steps_of_a_divergence_and_a_resume_and_two_steps_equal_four_steps(together):
    """With a moving average as the teacher and the statistics of the gate, whose loss would show."""
    whole, resumed = together / DISTILLED, together / "resumed" / DISTILLED
    ours, theirs = (training_steps(read_steps(run / STEPS_FILE)) for run in (resumed, whole))
    assert len(theirs) == 4
    for step, other in zip(ours, theirs[2:], strict=True):
        for name in ("divergence/mean", "teacher/age", "teacher/distance", "entropy_gate/mean"):
            assert step[f"egrsd/{name}"] == pytest.approx(other[f"egrsd/{name}"], rel=1e-5), name
    half, last, again = (_saved(*place) for place in ((whole, 2), (whole, 4), (resumed, 4)))
    few, all_four, resumed_too = (torch.tensor(_counts(found)).cumsum(0) for found in (half, last, again))
    assert few[-1] < all_four[-1] == resumed_too[-1]
    # Rounding moves an entropy over the edge of its bin now and then.
    torch.testing.assert_close(resumed_too, all_four, rtol=0, atol=2)
    for weights in ("model", "teacher"):
        torch.testing.assert_close(again[weights], last[weights], rtol=0, atol=1e-6)
        moved = [(value - last[weights][name]).abs().max() for name, value in half[weights].items()]
        assert max(moved) > 1e-5, weights


def _counts(saved):
    """The tokens in each bin of entropy that the gate has seen."""
    return saved["trackers"]["entropy_gate"]["counts"]


def _saved(run, step):
    """What a checkpoint holds: weights of student and teacher, and the running statistics."""
    folder = run / f"global_step_{step}"
    found = {"trackers": json.loads((folder / "egrsd.json").read_text())["trackers"]}
    found["model"] = read_checkpoint(folder).own
    found["teacher"] = torch.load(folder / "actor" / "teacher_world_size_1_rank_0.pt")
    return found


def test_two_data_parallel_ranks_with_small_micro_batches_give_the_result_of_one(start_runs, together):
    two_ranks = start_runs(
        "recipes.miniature.train",
        *("egrsd-0", "opsd_unclipped-0"),
        overrides=("trainer.n_gpus_per_node=2", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=320"),
    )
    for run, numbers in {"egrsd-0": NUMBERS, "opsd_unclipped-0": NUMBERS_OF_A_DIVERGENCE}.items():
        assert_same_numbers(two_ranks / run, together / run, 1e-4, numbers)


def test_runs_that_need_other_engines_are_refused(tmp_path):
    one, two = (compose_run(read_run(name), tmp_path) for name in ("egrsd-0", "grpo-0"))
    require_shared_processes(one, two)
    for refresh, shared in (("copy", True), ("ema", True), ("current", False)):
        moved = compose_run(read_run("egrsd-0"), tmp_path, [f"actor_rollout_ref.teacher.refresh={refresh}"])
        with nullcontext() if shared else pytest.raises(ValueError, match="refresh is current in one run"):
            require_shared_processes(one, moved)
    OmegaConf.update(two, "actor_rollout_ref.actor.optim.lr", 1e-3)
    with pytest.raises(ValueError, match=r"optim\.lr is 5e-05 in the first run and 0\.001"):
        require_shared_processes(one, two)
