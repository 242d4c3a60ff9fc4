"""Each check has a run that trips it and one that does not; its words and its value agree."""

import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.methods import HealthCheck, health_checks
from verl_egrsd.report.health import CHECKS, NO_ADVICE, all_checks, examine
from verl_egrsd.report.settings import Thresholds

GOOD = {
    "training/global_step": 1.0,
    "egrsd/correct": 0.6,
    "egrsd/verdict/timeout": 0.004,
    "egrsd/verdict/error": 0.001,
    "egrsd/response_length/mean": 800.0,
    "egrsd/truncated": 0.02,
    "egrsd/repetition/mean": 0.05,
    "egrsd/repetition/max": 0.3,
    "egrsd/hesitation_rate": 2.0,
    "egrsd/entropy_gate/share_at_floor": 0.01,
    "egrsd/entropy_gate/mean": 0.93,
    "egrsd/ratio/share_clipped": 0.12,
    "egrsd/weight/mean": 0.94,
    "actor/grad_norm": 0.04,
    "egrsd/verdict/none_correct": 0.0,
}


def run(**late):
    """Forty steps, of which the last fifteen differ."""
    changed = GOOD | {name.replace("__", "/"): value for name, value in late.items()}
    return [dict(GOOD)] * 25 + [changed] * 15


TRIPS = {
    "accuracy": [(run(egrsd__correct=0.45), "warn", -0.25), (run(egrsd__correct=0.3), "fail", -0.5)],
    "verifier failures": [
        (run(egrsd__verdict__error=0.05), "warn", 0.054),
        (run(egrsd__verdict__timeout=0.3), "fail", 0.301),
    ],
    "length drift": [
        (run(egrsd__response_length__mean=1100.0), "warn", 0.375),
        (run(egrsd__response_length__mean=200.0), "fail", -0.75),
    ],
    "truncation": [(run(egrsd__truncated=0.3), "warn", 0.3), (run(egrsd__truncated=0.8), "fail", 0.8)],
    "repetition": [
        (run(egrsd__repetition__mean=0.4), "warn", 0.4),
        (run(egrsd__repetition__mean=0.7), "fail", 0.7),
    ],
    "hesitation rate": [
        (run(egrsd__hesitation_rate=0.8), "warn", -0.6),
        (run(egrsd__hesitation_rate=6.0), "fail", 2.0),
    ],
    "weight mass": [(run(egrsd__weight__mean=0.6), "warn", 0.6), (run(egrsd__weight__mean=0.2), "fail", 0.2)],
    "gradient norm": [
        (run(actor__grad_norm=0.4), "warn", 10.0),
        (run(actor__grad_norm=4.0), "fail", 100.0),
        (run(actor__grad_norm=math.nan), "fail", math.inf),
    ],
    "all-wrong steps": [(run(egrsd__verdict__none_correct=1.0), "fail", 1.0)],
}


def test_every_check_has_a_run_that_trips_it():
    assert TRIPS.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_is_silent_in_a_healthy_run_and_speaks_in_a_sick_one(name):
    healthy = examine(run())[name]
    assert (healthy.level, healthy.advice) == ("ok", NO_ADVICE)
    for steps, level, value in TRIPS[name]:
        found = examine(steps)
        assert (found[name].level, found[name].value) == (level, pytest.approx(value))
        assert found[name].advice != NO_ADVICE
        assert {other for other in CHECKS if found[other].level != "ok"} == {name}


@pytest.mark.parametrize("name", CHECKS)
def test_readings_are_one_line_and_sentences(name):
    for steps in (run(), *(steps for steps, _, _ in TRIPS[name])):
        found = examine(steps)[name]
        for text in (found.reading, found.advice):
            assert text.endswith(".")
            assert "\n" not in text


PART_CHECKS = [check for checks in health_checks().values() for check in checks]


def at(check: HealthCheck, value: float) -> list[dict[str, float]]:
    """Forty steps, of which the last fifteen have this value."""
    return run(**{f"egrsd/{check.metric}": value})


@pytest.mark.parametrize("check", PART_CHECKS, ids=lambda check: check.name)
def test_a_check_that_a_factor_or_a_divergence_names_warns_and_fails_at_its_limits(check):
    warn, fail = check.limits
    step = 0.001 if fail is None or fail > warn else -0.001
    levels = [(warn - step, "ok"), (warn + step, "warn")]
    for value, level in levels if fail is None else [*levels, (fail + step, "fail")]:
        found = examine(at(check, value))[check.name]
        assert (found.level, found.value) == (level, pytest.approx(value))
        assert found.reading.endswith(".")
        assert "the last 10 steps" in found.reading
        assert found.advice == (NO_ADVICE if level == "ok" else check.advice)


def test_the_checks_of_the_parts_have_names_and_keys_of_their_own():
    assert len(all_checks()) == len(CHECKS) + len(PART_CHECKS)
    keys = [check.threshold for check in PART_CHECKS]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {field.name for field in fields(Thresholds)}


def test_a_run_without_the_part_has_no_finding_of_it():
    assert all(examine([{"egrsd/correct": 0.5}])[check.name] is None for check in PART_CHECKS)


def test_a_run_that_falls_from_60_to_5_percent_while_its_verifier_times_out_calls_for_action():
    found = examine(run(egrsd__correct=0.05, egrsd__verdict__timeout=0.3))
    assert found["accuracy"].level == found["verifier failures"].level == "fail"
    assert found["accuracy"].reading == (
        "Accuracy in training is 5.0 %, against 60.0 % at the start of the run."
    )
    assert "30.1 % of the answers in the last 10 steps: 30.0 % by its time limit" in (
        found["verifier failures"].reading
    )


VALIDATION = "val-core/sums/acc/mean@1"


@pytest.mark.parametrize(
    ("validations", "level", "value"),
    [
        ((0.5,), "ok", 0),
        ((0.5, 0.2, 0.5), "ok", 0),
        ((0.5, 0.7, 0.4), "warn", -0.2),
        ((0.5, 0.1), "fail", -0.8),
        ((0.02, 0.01), "ok", -0.1),
        ((0.08, 0.01), "fail", -0.7),
    ],
)
def test_a_validation_that_falls_is_seen_though_the_training_holds(validations, level, value):
    before, *later = validations
    steps = [{VALIDATION: before}, *run()]
    steps += [GOOD | {VALIDATION: share, "val-core/sums/acc/best@4/mean": 0.0} for share in later]
    found = examine(steps)["accuracy"]
    assert (found.level, found.value) == (level, pytest.approx(value))
    if level != "ok":
        assert "Accuracy in validation sums/acc/mean@1 is" in found.reading


def test_an_accuracy_that_is_not_finite_calls_for_action():
    assert examine([{VALIDATION: 0.5}, GOOD | {VALIDATION: math.nan}])["accuracy"].level == "fail"


def test_the_direction_of_a_drift_decides_the_advice():
    longer, shorter = (
        examine(run(egrsd__response_length__mean=length))["length drift"] for length in (1300.0, 300.0)
    )
    assert "62.5 % more" in longer.reading
    assert "62.5 % fewer" in shorter.reading
    assert "looping" in longer.advice
    assert "collapse" in shorter.advice


def test_a_short_run_compares_its_halves():
    steps = [GOOD | {"egrsd/response_length/mean": length} for length in (100.0, 100.0, 150.0, 150.0)]
    assert examine(steps)["length drift"].value == pytest.approx(0.5)
    assert examine(steps[:1])["length drift"].value == 0


def test_only_the_window_is_judged():
    recovered = [GOOD | {"egrsd/truncated": 1.0}] * 20 + [GOOD] * 10
    assert examine(recovered)["truncation"].level == "ok"
    assert examine(recovered, Thresholds(window=20))["truncation"].level == "fail"


def test_a_rate_that_starts_near_nothing_is_no_drift():
    steps = [GOOD | {"egrsd/hesitation_rate": rate} for rate in (0.0, 0.2)]
    assert examine(steps)["hesitation rate"].level == "ok"


def test_a_single_step_without_a_right_answer_is_looked_at():
    steps = [GOOD] * 19 + [GOOD | {"egrsd/verdict/none_correct": 1.0}]
    found = examine(steps)["all-wrong steps"]
    assert (found.level, found.reading) == ("warn", "1 of the last 10 steps had no right answer.")


def test_a_gradient_that_is_zero_calls_for_action():
    assert "is 0" in examine([GOOD | {"actor/grad_norm": 0.0}] * 3)["gradient norm"].reading


def test_a_value_that_is_not_finite_calls_for_action():
    assert examine(run(egrsd__weight__mean=math.nan))["weight mass"].level == "fail"
    assert examine(run(egrsd__response_length__mean=math.nan))["length drift"].level == "fail"


def test_what_a_run_does_not_measure_has_no_finding():
    factor = ("egrsd/entropy_gate", "egrsd/ratio")
    without_teacher = [{name: value for name, value in GOOD.items() if not name.startswith(factor)}]
    missing = {name for name, found in examine(without_teacher).items() if found is None}
    assert missing == {check.name for check in PART_CHECKS}
    assert set(examine([]).values()) == {None}


shares = st.lists(st.floats(0, 1), min_size=1, max_size=25)


@settings(deadline=None)
@given(shares)
def test_the_level_of_a_share_follows_from_its_value_alone(values):
    found = examine([{"egrsd/truncated": value} for value in values])["truncation"]
    warn, fail = Thresholds().truncation
    assert found.level == ("fail" if found.value >= fail else "warn" if found.value >= warn else "ok")
    assert min(values) - 1e-9 <= found.value <= max(values) + 1e-9
