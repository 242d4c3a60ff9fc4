"""The ends of the colours hold all values, and are the same for all that is compared."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd.methods import resolve
from verl_egrsd.microscope.aggregates import aggregate
from verl_egrsd.microscope.colours import curves, labels, quantities, scales
from verl_egrsd.microscope.rollout import Run, credited

RUNS = [synthetic_run([words(300)]), synthetic_run([words(200, seed=1)], seed=3, gamma=0.3)]
VALUES = {
    quantity.key: np.concatenate([run.rollouts[0][quantity.key] for run in RUNS])
    for quantity in quantities(RUNS)
}


def test_the_two_entropies_share_one_scale_from_zero_to_the_largest():
    found = scales(RUNS)
    assert found["lookahead"] == found["teacher_entropy"]
    ends = found["teacher_entropy"]["low"], found["teacher_entropy"]["high"]
    assert ends == (0, pytest.approx(VALUES["teacher_entropy"].max()))


@pytest.mark.parametrize(("key", "centre"), [("ratio", 1), ("credit", 0), ("log_ratio", 0)])
def test_diverging_colours_reach_as_far_on_both_sides(key, centre):
    scale, distance = scales(RUNS)[key], abs(VALUES[key].astype(float) - centre)
    assert scale["high"] - centre == pytest.approx(centre - scale["low"])
    beyond = (distance > scale["high"] - centre + 1e-9).mean()
    assert 0 < beyond <= 0.01 if key == "log_ratio" else beyond == 0


def test_the_gates_of_the_curve_end_at_one():
    gates = scales(RUNS)["gates"]
    lowest = min(run.rollouts[0]["gate_plain"].min() for run in RUNS)
    assert (gates["low"], gates["high"]) == (pytest.approx(lowest), 1)
    assert lowest <= VALUES["entropy_gate"].min() == pytest.approx(scales(RUNS)["entropy_gate"]["low"])


def test_a_run_without_any_spread_still_has_scales():
    flat = synthetic_run([["a"]])
    rollout = flat.rollouts[0]
    for name in ("teacher_entropy", "credit", "log_ratio"):
        rollout[name][:] = 0
    rollout["ratio"][:] = 1
    for key in ("teacher_entropy", "credit", "log_ratio", "ratio"):
        assert scales([flat])[key]["low"] < scales([flat])[key]["high"], key


@pytest.mark.parametrize(
    ("factors", "prefixes"),
    [
        (["student_entropy_gate"], ["student_"]),
        (["entropy_gate", "student_entropy_gate"], ["", "student_"]),
    ],
)
def test_each_entropy_gate_has_its_own_views_colours_and_curves(factors, prefixes):
    method = resolve("egrsd", {"factors": factors}, max_response_length=10_000)
    measured = [
        replace(row, arrays={name: row[name] for name in ("teacher_entropy", "advantage")})
        for row in RUNS[0].rollouts
    ]
    for row in measured:
        row.arrays["student_entropy"] = row["teacher_entropy"][::-1].copy()
        if "entropy_gate" not in factors:
            del row.arrays["teacher_entropy"]
    run = Run("gates", method, {}, *credited(measured, method))
    sides = {"": "teacher_entropy", "student_": "student_entropy"}
    views = {f"{prefix}{name}" for prefix in prefixes for name in ("lookahead", "regime")}
    assert views <= {quantity.key for quantity in quantities([run])} <= labels([run]).keys()
    for prefix in prefixes:
        assert scales([run])[f"{prefix}lookahead"] == scales([run])[sides[prefix]]
    drawn = [name for curve in curves([run]) for name in (*curve["names"], curve["scale"])]
    assert drawn[:2] == [sides[prefixes[0]], f"{prefixes[0]}lookahead"]
    assert {*drawn} <= run.arrays | scales([run]).keys()
    names = [row.name for row in aggregate(run).regimes]
    assert {name.startswith("student ") for name in names} == {prefix != "" for prefix in prefixes}


def test_runs_of_different_methods_are_coloured_by_what_both_have():
    (gated,) = RUNS[:1]
    plain = resolve("direction", max_response_length=10_000)
    rollouts, metrics = credited(gated.rollouts, plain)
    ungated = Run("direction", plain, {}, rollouts, metrics)
    names = {"teacher_log_prob", "student_log_prob", "advantage", "weight", "credit", "log_ratio"}
    alone = [replace(row, arrays={name: row[name] for name in names}) for row in ungated.rollouts]
    pair = [gated, replace(ungated, rollouts=alone)]
    assert [quantity.key for quantity in quantities(pair)] == ["weight", "log_ratio", "credit"]
    assert {*labels(pair)} == names
    assert [curve["names"] for curve in curves(pair)] == [["weight"]]
