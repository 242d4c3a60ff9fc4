"""Full fine-tuning on two ranks, with a teacher that is copied every second step: four steps, and a resume.

LoRA with a moving average goes through the same in tests/end_to_end/test_stock_verl.py.
"""

from __future__ import annotations

import shutil

import pytest
import torch

from tests.support.training_run import TIME_LIMIT, train
from verl_egrsd.checkpoints.reading import read_checkpoint

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2 * TIME_LIMIT + 60)]

SETTINGS = (
    "actor_rollout_ref.model.lora_rank=0",
    "actor_rollout_ref.teacher.refresh=copy",
    "actor_rollout_ref.teacher.every=2",
    "data.train_batch_size=4",
    "trainer.n_gpus_per_node=2",
    "trainer.total_training_steps=4",
    "trainer.save_freq=2",
)


@pytest.fixture(scope="module")
def whole(model_path, data_path, tmp_path_factory):
    """Four steps in one go."""
    run = train(tmp_path_factory.mktemp("whole"), model_path, data_path, *SETTINGS)
    assert run.returncode == 0, run.log[-3000:]
    return run


@pytest.fixture(scope="module")
def resumed(whole, model_path, data_path, tmp_path_factory):
    """Steps 3 and 4 again, from the checkpoint of step 2, in new processes."""
    folder = tmp_path_factory.mktemp("resumed")
    shutil.copytree(whole.folder / "global_step_2", folder / "global_step_2")
    (folder / "latest_checkpointed_iteration.txt").write_text("2")
    run = train(folder, model_path, data_path, *SETTINGS)
    assert run.returncode == 0, run.log[-3000:]
    return run


def test_the_teacher_is_the_student_after_every_second_step_and_falls_behind_between(whole):
    assert [step["egrsd/teacher/age"] for step in whole.steps] == [0, 1, 0, 1]
    distances = [step["egrsd/teacher/distance"] for step in whole.steps]
    assert distances[1] == distances[3] == 0
    assert distances[0] > 0
    assert distances[2] > 0


@pytest.mark.parametrize("step", [2, 4])
def test_a_checkpoint_holds_the_teacher_of_both_ranks_beside_the_student(whole, step):
    folder = whole.folder / f"global_step_{step}"
    files = sorted(path.name for path in (folder / "actor").glob("teacher_*"))
    assert files == ["teacher_world_size_2_rank_0.pt", "teacher_world_size_2_rank_1.pt"]
    student, teacher = (read_checkpoint(folder, weights).own for weights in ("student", "teacher"))
    assert student.keys() == teacher.keys()
    for name, weight in student.items():
        assert torch.equal(weight, teacher[name]), name


def test_two_steps_and_a_resume_and_two_steps_equal_four_steps(whole, resumed):
    assert len(resumed.steps) == 2
    names = ("log_ratio/abs_mean", "teacher_entropy/mean", "credit/abs_mean", "teacher/age")
    for once, again in zip(whole.steps[2:], resumed.steps, strict=True):
        for name in names:
            assert again[f"egrsd/{name}"] == pytest.approx(once[f"egrsd/{name}"], rel=1e-4), name
    for weights in ("student", "teacher"):
        once, again = (read_checkpoint(run.folder / "global_step_4", weights).own for run in (whole, resumed))
        for name, weight in once.items():
            torch.testing.assert_close(again[name], weight, rtol=0, atol=1e-5)


def test_steps_after_a_copy_are_scored_by_another_teacher(whole):
    first, second = (read_checkpoint(whole.folder / f"global_step_{n}", "teacher").own for n in (2, 4))
    assert any(not torch.equal(weight, second[name]) for name, weight in first.items())
