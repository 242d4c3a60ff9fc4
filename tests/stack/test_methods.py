"""Every factor at once in one run through Ray and verl: columns are computed, metrics reported."""

from __future__ import annotations

import math

import pytest

from tests.support.training_run import TIME_LIMIT, train
from verl_egrsd.methods import factors

pytestmark = [pytest.mark.stack, pytest.mark.timeout(TIME_LIMIT + 60)]


@pytest.fixture(scope="module")
def run(model_path, data_path, tmp_path_factory):
    found = train(
        tmp_path_factory.mktemp("run"),
        model_path,
        data_path,
        f"algorithm.egrsd.factors=[{','.join(factors())}]",
        "algorithm.egrsd.advantage=group",
        "actor_rollout_ref.rollout.n=2",
        "data.train_batch_size=4",
        "trainer.total_training_steps=2",
        "trainer.rollout_data_dir=${trainer.default_local_dir}/rollouts",
    )
    assert found.returncode == 0, found.log[-3000:]
    assert len(found.steps) == 2
    return found


@pytest.mark.parametrize("name", factors())
def test_every_factor_reports_finite_weights_in_every_step(run, name):
    for metrics in run.steps:
        found = {key: value for key, value in metrics.items() if key.startswith(f"egrsd/{name}/")}
        assert {"mean", "min", "max"} <= {key.rpartition("/")[2] for key in found}
        assert all(map(math.isfinite, found.values())), found


def test_the_entropies_of_teacher_and_student_are_computed_apart(run):
    for metrics in run.steps:
        teacher, student = (metrics[f"egrsd/{side}_entropy/mean"] for side in ("teacher", "student"))
        assert teacher > 0
        assert student > 0
        assert teacher != student


def test_the_update_is_finite(run):
    assert all(math.isfinite(metrics["actor/grad_norm"]) for metrics in run.steps)
