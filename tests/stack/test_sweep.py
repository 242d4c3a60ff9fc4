"""Runs that share their processes; the scripted rollout answers a prompt in the same way in every run."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from recipes.miniature.sweep import require_shared_processes
from recipes.miniature.train import compose_run, read_run
from tests.support.training_run import TIME_LIMIT, settings, start
from verl_egrsd.checkpoints.reading import read_checkpoint
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2 * TIME_LIMIT + 60)]

LAST = "answer_only-1"
SAME = (
    *("egrsd/reward/mean", "egrsd/teacher_entropy/mean", "egrsd/ratio/mean", "egrsd/entropy_gate/mean"),
    *("egrsd/credit/abs_mean", "actor/pg_loss", "actor/grad_norm"),
)


@pytest.fixture(scope="module")
def swept(model_path, data_path, tmp_path_factory):
    """Train some runs on one start and return their folder."""

    def sweep(*runs):
        folder = tmp_path_factory.mktemp("sweep")
        keys = ("data.train_batch_size=8", "trainer.total_training_steps=2")
        returncode, log = start(
            folder,
            *("recipes.miniature.train", "--out", str(folder), "--runs", *runs),
            *("--set", *settings(model_path, data_path), *keys),
        )
        assert returncode == 0, log[-3000:]
        return folder

    return sweep


@pytest.fixture(scope="module")
def together(swept):
    """Runs of two steps of 8 prompts, one after another on one start."""
    return swept("grpo-0", "direction-0", "egrsd-0", LAST)


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


def test_a_run_after_others_gives_the_numbers_and_weights_of_a_run_alone(swept, together):
    alone = swept(LAST)
    both = [training_steps(read_steps(folder / LAST / STEPS_FILE)) for folder in (together, alone)]
    for step_together, step_alone in zip(*both, strict=True):
        for name in SAME:
            assert step_together[name] == pytest.approx(step_alone[name], rel=1e-5), name
    earlier, *others = (
        read_checkpoint(folder / name / "global_step_2").own
        for folder, name in ((together, "egrsd-0"), (together, LAST), (alone, LAST))
    )
    for name, weight in others[0].items():
        torch.testing.assert_close(weight, others[1][name], rtol=0, atol=1e-6)
    assert any(not torch.equal(weight, others[0][name]) for name, weight in earlier.items())


def test_runs_that_need_other_engines_are_refused(tmp_path):
    one, two = (compose_run(read_run(name), tmp_path) for name in ("egrsd-0", "grpo-0"))
    require_shared_processes(one, two)
    OmegaConf.update(two, "actor_rollout_ref.actor.optim.lr", 1e-3)
    with pytest.raises(ValueError, match=r"optim\.lr is 5e-05 in the first run and 0\.001"):
        require_shared_processes(one, two)
