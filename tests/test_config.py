"""Settings: ranges, unknown keys, and what the estimator's name implies. Every refusal says what to do."""

from dataclasses import asdict, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.config import (
    DEFAULT_LOOKAHEAD,
    EgrsdConfig,
    TeacherConfig,
    build,
    resolve_egrsd,
    resolve_teacher,
)

ALLOWED = {"gamma": (0, 1), "clip": (0, 0.999), "floor": (1e-6, 1), "length_beta": (0, 10)}


def egrsd(**values):
    return build(EgrsdConfig, {"max_response_length": 16} | values, "algorithm.egrsd")


def teacher(**values):
    return build(TeacherConfig, values, "actor_rollout_ref.teacher")


def resolve(estimator, **given_values):
    return resolve_egrsd(estimator, given_values, max_response_length=64)


@settings(deadline=None)
@given(key=st.sampled_from(sorted(ALLOWED)), share=st.floats(0, 1))
def test_every_value_inside_its_range_is_kept(key, share):
    low, high = ALLOWED[key]
    value = low + share * (high - low)
    assert getattr(egrsd(**{key: value}), key) == value


@settings(deadline=None)
@given(
    key=st.sampled_from(["gamma", "floor"]),
    value=st.floats(1, 1e6, exclude_min=True) | st.floats(-1e6, -1e-9),
)
def test_shares_outside_their_range_are_refused(key, value):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.{key}=.* is not allowed: it must be in "):
        egrsd(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("gamma", float("nan"), "0 switches the gate off"),
        ("gamma", "0.3", "0 switches the gate off"),
        ("gamma", True, "0 switches the gate off"),
        ("floor", 0, "the gate never reaches zero"),
        ("window", -1, "a whole number of 0 or more"),
        ("window", 2.0, "a whole number of 0 or more"),
        ("window", True, "a whole number of 0 or more"),
        ("clip", -0.1, "0 switches the magnitude off"),
        ("clip", 1, "0 switches the magnitude off"),
        ("max_response_length", 0, "a whole number of 1 or more"),
        ("min_denominator", 0, "positive, in nats"),
        ("denominator", 0.0, '"raw" or "filtered"'),
        ("denominator", True, '"raw" or "filtered"'),
        ("denominator", "mean", "one of raw, filtered or a positive number in nats"),
        ("denominator_group", 0, "a whole number of 1 or more"),
        ("denominator_group", "device", "one of batch or a number of rows"),
        ("warmup_steps", -1, "a whole number of 0 or more"),
        ("warmup_baseline", float("inf"), "a finite number"),
        ("length_beta", -0.5, "zero or more"),
        ("correct_above", float("nan"), "a finite number"),
        ("correct_above", "high", "a finite number"),
        ("correct_above", True, "a finite number"),
        ("gate_control", "random", "one of none, mean_preserving, shuffled"),
        ("seed", -1, "a whole number of 0 or more"),
        ("lock_quantile", 0, r"in \(0, 1\)"),
        ("fork_quantile", 0.4, r"in \(lock_quantile, 1\)"),
    ],
)
def test_a_setting_of_the_method_out_of_range_names_key_value_and_remedy(key, value, remedy):
    with pytest.raises(ValueError, match=rf"^algorithm\.egrsd\.{key}={value!r} is not allowed: .*{remedy}"):
        egrsd(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("enable_thinking", "yes", "one of None, True, False"),
        ("max_prompt_length", 0, "a whole number of 1 or more"),
        ("overlong", "truncate", "one of error, drop"),
        ("header", "teacher", "one of own, student"),
        ("temperature", 0, "positive"),
        ("max_token_len_per_gpu", 0.5, "a whole number of 1 or more"),
    ],
)
def test_a_setting_of_the_teacher_out_of_range_names_key_value_and_remedy(key, value, remedy):
    with pytest.raises(
        ValueError, match=rf"^actor_rollout_ref\.teacher\.{key}={value!r} is not allowed: .*{remedy}"
    ):
        teacher(**{key: value})


@pytest.mark.parametrize(("cls", "namespace"), [(EgrsdConfig, "a.b"), (TeacherConfig, "c")])
def test_an_unknown_key_lists_the_known_ones(cls, namespace):
    with pytest.raises(ValueError, match=rf"unknown key {namespace}\.gama=0\.3; known keys: ") as refused:
        build(cls, {"gama": 0.3}, namespace)
    assert all(field.name in str(refused.value) for field in fields(cls))


def test_a_key_without_default_must_be_set():
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.max_response_length is missing: set it"):
        build(EgrsdConfig, {}, "algorithm.egrsd")


def test_null_means_not_set():
    unset = dict.fromkeys(field.name for field in fields(TeacherConfig))
    assert teacher(**unset) == TeacherConfig()
    nothing = dict.fromkeys(field.name for field in fields(EgrsdConfig))
    assert resolve("egrsd", **nothing) == EgrsdConfig(max_response_length=64)


def test_no_settings_at_all_are_the_defaults():
    assert resolve_egrsd("egrsd", None, max_response_length=64) == EgrsdConfig(max_response_length=64)


def test_each_estimator_implies_its_own_gate():
    assert (resolve("egrsd").gamma, resolve("egrsd").window) == (0.3, 0)
    assert (resolve("cl_egrsd").gamma, resolve("cl_egrsd").window) == (0.3, DEFAULT_LOOKAHEAD)
    assert DEFAULT_LOOKAHEAD == 3
    assert (resolve("rlsd").gamma, resolve("rlsd").clip) == (0.0, 0.2)
    assert resolve("cl_egrsd", window=5, gamma=1.0).window == 5


@pytest.mark.parametrize(
    ("estimator", "given_values", "remedy"),
    [
        ("egrsd", {"window": 3}, r"window=3 .*adv_estimator=egrsd: set it to 0; cl_egrsd is"),
        ("cl_egrsd", {"window": 0}, r"window=0 .*adv_estimator=cl_egrsd: set it to 1 or more; egrsd has"),
        ("rlsd", {"gamma": 0.3}, r"gamma=0\.3 .*adv_estimator=rlsd: set it to 0; egrsd is"),
    ],
)
def test_a_setting_that_contradicts_the_estimator_is_refused_with_the_remedy(estimator, given_values, remedy):
    with pytest.raises(ValueError, match=r"^algorithm\.egrsd\." + remedy):
        resolve(estimator, **given_values)


def test_other_estimators_leave_every_key_free():
    assert resolve("grpo", gamma=1.0, window=5).window == 5


def test_a_resolved_config_shows_every_number():
    assert None not in asdict(resolve("cl_egrsd")).values()


@pytest.mark.parametrize(
    ("gamma", "clip", "uses_teacher"), [(0.3, 0.2, True), (0, 0.2, True), (0.3, 0, True), (0, 0, False)]
)
def test_the_teacher_is_needed_unless_ratio_and_gate_are_both_off(gamma, clip, uses_teacher):
    assert egrsd(gamma=gamma, clip=clip).uses_teacher is uses_teacher


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"refresh": "moving"}, r"refresh='moving' is not allowed: .*frozen, current, copy, ema"),
        ({"refresh": "copy", "every": 0}, r"every=0 is not allowed: .*a whole number of 1 or more"),
        ({"refresh": "ema", "decay": 1.0}, r"decay=1\.0 is not allowed: .*in \(0, 1\); .*refresh=frozen 1"),
        ({"every": 20}, r"every=20 is read with refresh=copy only, and refresh=frozen: leave every unset"),
        ({"refresh": "copy", "decay": 0.9}, r"decay=0\.9 is read with refresh=ema only, .*set refresh=ema"),
        ({"refresh": "current", "every": 5}, r"every=5 is read with refresh=copy only, and refresh=current"),
    ],
)
def test_a_pace_that_does_not_belong_to_the_refresh_is_refused_with_key_value_and_remedy(values, refusal):
    with pytest.raises(ValueError, match=rf"^actor_rollout_ref\.teacher\.{refusal}"):
        resolve_teacher(values)


@pytest.mark.parametrize(
    ("given_values", "implied", "resolved"),
    [
        ({}, {}, ("frozen", None, None)),
        (dict.fromkeys(("refresh", "every", "decay")), None, ("frozen", None, None)),
        ({"refresh": "copy"}, {}, ("copy", 20, None)),
        ({"refresh": "ema"}, {}, ("ema", None, 0.99)),
        ({}, {"refresh": "copy", "every": 10}, ("copy", 10, None)),
        ({"every": 5}, {"refresh": "copy", "every": 10}, ("copy", 5, None)),
        ({"refresh": "frozen"}, {"refresh": "copy", "every": 10}, ("frozen", None, None)),
        ({"refresh": "ema"}, {"refresh": "copy", "every": 10}, ("ema", None, 0.99)),
    ],
)
def test_a_teacher_is_what_the_user_says_then_the_method_then_the_default(given_values, implied, resolved):
    teacher = resolve_teacher(given_values, implied)
    assert (teacher.refresh, teacher.every, teacher.decay) == resolved
    assert resolve_teacher(asdict(teacher), implied) == teacher
    assert teacher.moves == (resolved[0] in ("copy", "ema"))
