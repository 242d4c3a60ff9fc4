"""Every preset in two steps through Ray and verl, on one start: columns are computed, metrics reported.

The presets keep their advantage, factors and reward. So that they share their processes, all take the plain
loss and a frozen teacher: at one update per batch the clipped loss of `rlsd_published` has the same gradient,
and teachers that move have tests of their own (test_moving_teacher.py).
"""

from __future__ import annotations

import math

import pytest

from tests.support.preset_runs import ALL
from tests.support.training_run import TIME_LIMIT, settings, start
from verl_egrsd.methods import factors, methods, resolve
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2 * TIME_LIMIT + 60)]


PRESETS = [name for name in methods() if name not in ("egrsd", "cl_egrsd", "rlsd", "direction")]
"""Those that other runs of the tests do not train."""


@pytest.fixture(scope="module")
def runs(model_path, data_path, tmp_path_factory):
    """The metrics of each step, by preset."""
    folder = tmp_path_factory.mktemp("presets")
    presets = [ALL, *PRESETS]
    keys = settings(model_path, data_path)
    returncode, log = start(
        folder,
        *("tests.support.preset_runs", "--out", str(folder), "--presets", *presets, "--set", *keys),
        limit=2 * TIME_LIMIT,
    )
    assert returncode == 0, log[-3000:]
    return {name: training_steps(read_steps(folder / name / STEPS_FILE)) for name in presets}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_and_its_factors_report_finite_weights(runs, name):
    assert len(runs[name]) == 2
    method = resolve(name, max_response_length=1)
    for metrics in runs[name]:
        assert all(map(math.isfinite, (metrics["actor/grad_norm"], metrics["actor/pg_loss"])))
        assert ("timing_s/teacher" in metrics) == method.uses_teacher
        reported = {key.split("/")[1] for key in metrics if key.startswith("egrsd/")}
        assert {factor.name for factor in method.active} == {*factors()} & reported


@pytest.mark.parametrize("name", factors())
def test_every_factor_reports_finite_weights_where_all_are_multiplied(runs, name):
    for metrics in runs[ALL]:
        found = {key: value for key, value in metrics.items() if key.startswith(f"egrsd/{name}/")}
        assert {"mean", "min", "max"} <= {key.rpartition("/")[2] for key in found}
        assert all(map(math.isfinite, found.values())), found


def test_the_entropies_of_teacher_and_student_are_computed_apart(runs):
    for metrics in runs[ALL]:
        teacher, student = (metrics[f"egrsd/{side}_entropy/mean"] for side in ("teacher", "student"))
        assert teacher > 0
        assert student > 0
        assert teacher != student
