"""Every preset in two steps through Ray and verl: columns are computed, metrics reported.

They share a start, but for those that need another loss.
"""

from __future__ import annotations

import math

import pytest

from tests.support.preset_runs import ALL, OWN_LOSS
from tests.support.training_run import TIME_LIMIT, settings, start
from verl_egrsd.methods import factors, methods, resolve
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

LIMIT = 2 * TIME_LIMIT
PRESETS = [name for name in methods() if name not in ("egrsd", "cl_egrsd", "rlsd", "direction")]
"""Those that no other run of the tests trains."""

pytestmark = [pytest.mark.ray, pytest.mark.timeout((1 + len(OWN_LOSS)) * LIMIT + 60)]


@pytest.fixture(scope="module")
def runs(model_path, data_path, tmp_path_factory):
    """The metrics of each step, by preset."""
    folder = tmp_path_factory.mktemp("presets")
    shared, keys = [ALL, *(name for name in PRESETS if name not in OWN_LOSS)], settings(model_path, data_path)
    for presets in (shared, *([name] for name in OWN_LOSS)):
        command = ("tests.support.preset_runs", "--out", str(folder), "--presets", *presets, "--set", *keys)
        returncode, log = start(folder, *command, limit=LIMIT)
        assert returncode == 0, log[-3000:]
    return {name: training_steps(read_steps(folder / name / STEPS_FILE)) for name in (ALL, *PRESETS)}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_two_steps_with_the_columns_and_factors_of_its_method(runs, name):
    method = resolve(name, max_response_length=1)
    assert len(runs[name]) == 2
    for metrics in runs[name]:
        loss = "egrsd/divergence/mean" if method.divergence else "actor/pg_loss"
        assert all(map(math.isfinite, (metrics["actor/grad_norm"], metrics[loss])))
        assert ("timing_s/teacher" in metrics) == method.uses_teacher
        reported = {key.split("/")[1] for key in metrics if key.startswith("egrsd/")}
        assert {factor.name for factor in method.active} == {*factors()} & reported


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_moves_the_student(runs, name):
    assert max(metrics["actor/grad_norm"] for metrics in runs[name]) > 0


@pytest.mark.parametrize(
    ("name", "ages"), [("rlsd_published", [0.0, 1.0]), ("sdar", None), ("tip", None)], ids=str
)
def test_only_a_teacher_that_moves_has_an_age(runs, name, ages):
    """Each as its preset says; those of `sdar` and `tip` share a start."""
    found = [metrics.get("egrsd/teacher/age") for metrics in runs[name]]
    assert found == (ages or [None, None])


@pytest.mark.parametrize("name", [name for name in PRESETS if methods()[name].divergence])
def test_a_divergence_is_reported_with_the_bytes_of_the_hidden_states(runs, name):
    """The width of the tiny model is 128; on a CPU its engine computes in float32."""
    for metrics in runs[name]:
        assert metrics["egrsd/divergence/mean"] != 0
        assert metrics["egrsd/divergence/teacher_entropy"] != metrics["egrsd/divergence/student_entropy"]
        tokens = 8 * metrics["egrsd/response_length/mean"]
        sides = 1 + methods()[name].reads_divergence
        assert metrics["egrsd/divergence/hidden_bytes"] == pytest.approx(sides * tokens * 128 * 4)
        assert "actor/pg_loss" not in metrics


@pytest.mark.parametrize("name", factors())
def test_every_factor_reports_finite_weights_where_all_are_multiplied(runs, name):
    for metrics in runs[ALL]:
        found = {key: value for key, value in metrics.items() if key.startswith(f"egrsd/{name}/")}
        assert {"mean", "min", "max"} <= {key.rpartition("/")[2] for key in found}
        assert all(map(math.isfinite, found.values())), found


def test_a_pass_rate_of_the_data_weighs_the_only_rollout_of_a_prompt(runs):
    """By its own rollout, a prompt would be always or never solved, and weigh nothing."""
    for metrics in runs["paced"]:
        found = [metrics[f"egrsd/pass_rate/{statistic}"] for statistic in ("min", "mean", "max")]
        assert found == pytest.approx(3 * [0.25])


def test_the_entropies_of_teacher_and_student_are_computed_apart(runs):
    for metrics in runs[ALL]:
        teacher, student = (metrics[f"egrsd/{side}_entropy/mean"] for side in ("teacher", "student"))
        assert teacher > 0
        assert student > 0
        assert teacher != student
