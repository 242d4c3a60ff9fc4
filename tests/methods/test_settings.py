"""Keys of the methods: ranges, unknown keys, and what a name implies. Every refusal says what to do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.methods import methods
from verl_egrsd.methods import resolve as resolved
from verl_egrsd.methods.settings import all_keys
from verl_egrsd.methods.table import TABLE

ALLOWED = {"gamma": (0, 1), "clip": (0, 0.999), "floor": (1e-6, 1), "length_beta": (0, 10)}


def resolve(estimator, **given_values):
    return resolved(estimator, given_values, max_response_length=64)


@settings(deadline=None)
@given(key=st.sampled_from(sorted(ALLOWED)), share=st.floats(0, 1))
def test_every_value_inside_its_range_is_kept(key, share):
    low, high = ALLOWED[key]
    value = low + share * (high - low)
    assert resolve("egrsd", **{key: value}).keys()[key] == value


@settings(deadline=None)
@given(
    key=st.sampled_from(["gamma", "floor"]),
    value=st.floats(1, 1e6, exclude_min=True) | st.floats(-1e6, -1e-9),
)
def test_shares_outside_their_range_are_refused(key, value):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.{key}=.* is not allowed: it must be in "):
        resolve("egrsd", **{key: value})


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
        ("clip", -0.1, "0 switches the likelihood ratio off"),
        ("clip", 1, "0 switches the likelihood ratio off"),
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
        resolve("egrsd", **{key: value})


@pytest.mark.parametrize("name", methods())
def test_an_unknown_key_lists_those_of_the_method(name):
    with pytest.raises(ValueError, match=rf"unknown key algorithm\.egrsd\.gama=0\.3 of {name}; ") as refused:
        resolve(name, gama=0.3)
    known = {*resolve(name).keys()}
    assert all(key in str(refused.value) for key in known)


def test_a_key_of_another_factor_says_which_factor_to_add():
    with pytest.raises(ValueError, match=r"gamma=0\.3 of direction; .*a key of entropy_gate: add that to "):
        resolve("direction", gamma=0.3)


def test_a_key_of_another_advantage_says_which_advantage_to_choose():
    with pytest.raises(ValueError, match=r"value=1 of egrsd; .*set algorithm\.egrsd\.advantage=constant"):
        resolve("egrsd", constant={"value": 1})
    with pytest.raises(ValueError, match=r"warmup_steps=1 of opsd; .*set algorithm\.egrsd\.advantage=runn"):
        resolve("opsd", warmup_steps=1)
    with pytest.raises(ValueError, match=r"constant\.value=1 of grpo; known keys: [^:]*$"):
        resolve("grpo", constant={"value": 1})


@pytest.mark.parametrize(
    ("name", "key", "inside"),
    [
        ("tip", "tip", r"tip\.share"),
        ("egrsd", "tip", r"tip\.share"),
        ("opsd", "divergence", r"divergence\.kind"),
    ],
)
def test_a_value_in_place_of_a_section_is_answered_with_the_keys_of_the_section(name, key, inside):
    with pytest.raises(ValueError, match=rf"egrsd\.{key}=0\.5 is not allowed: {key} is a section.*{inside}"):
        resolve(name, **{key: 0.5})


def test_a_constant_advantage_that_is_chosen_by_key_needs_its_value():
    both = r"advantage=constant needs a value: set algorithm\.egrsd\.constant\.value\. With 1 .* With -1 "
    for given_values in ({}, {"constant": {"value": None}}, {"constant": 1}):
        with pytest.raises(ValueError, match=both):
            resolve("egrsd", factors=["log_ratio"], advantage="constant", **given_values)
    for value in (1.0, -1.0):
        method = resolve("egrsd", factors=["log_ratio"], advantage="constant", constant={"value": value})
        assert method.advantage.value == value


def test_a_method_with_a_constant_advantage_keeps_its_own_value():
    for row in TABLE:
        if row.advantage.name == "constant":
            assert resolve(row.name, advantage="constant").advantage == row.advantage


def test_null_means_not_set():
    assert resolve("egrsd", **all_keys()) == resolve("egrsd")
    assert resolved("egrsd", None, max_response_length=64) == resolve("egrsd")


def test_a_resolved_section_resolves_to_the_same_method():
    for name in (*methods(), "grpo"):
        assert resolve(name, **resolve(name).keys()) == resolve(name)


@pytest.mark.parametrize(("name", "key"), [("opsd", "clip"), ("ogls_sd", "clip"), ("sdpo", "top_k")])
def test_none_takes_away_what_the_divergence_of_a_method_sets_and_null_does_not(name, key):
    own = methods()[name].divergence
    assert getattr(resolve(name, divergence={key: None}).divergence, key) == getattr(own, key)
    method = resolve(name, divergence={key: "none"})
    assert getattr(method.divergence, key) is None
    assert resolve(name, **method.keys()) == method


@pytest.mark.parametrize(
    ("name", "given_values", "needed"),
    [
        ("opsd", {"beta": 0.3}, "kind=jsd"),
        ("sdpo", {"kind": "reverse", "beta": 0.3}, "kind=jsd"),
        ("crisp", {"clip_sides": "both"}, "clip"),
        ("opsd", {"clip": "none", "clip_sides": "both"}, "clip"),
        ("opsd", {"tail": "renormalised"}, "top_k"),
        ("opsd", {"support": "student"}, "top_k"),
        ("sdpo", {"top_k": "none", "support": "teacher"}, "top_k"),
    ],
)
def test_a_key_of_the_divergence_without_effect_is_refused_with_what_it_needs(name, given_values, needed):
    key, value = list(given_values.items())[-1]
    message = rf"^algorithm\.egrsd\.divergence\.{key}={value} is read with {needed} only: leave {key} unset"
    with pytest.raises(ValueError, match=message):
        resolve(name, divergence=given_values)


def test_the_settings_that_a_method_brings_may_lose_their_effect():
    assert resolve("opsd_first_release", divergence={"kind": "reverse"}).divergence.kind == "reverse"
    assert resolve("sdpo", divergence={"top_k": "none"}).divergence.support == "student"


def test_each_name_implies_its_own_gate():
    egrsd, cl_egrsd, rlsd = (resolve(name).keys() for name in ("egrsd", "cl_egrsd", "rlsd"))
    assert (egrsd["gamma"], egrsd["window"]) == (0.3, 0)
    assert (cl_egrsd["gamma"], cl_egrsd["window"]) == (0.3, 3)
    assert (rlsd["gamma"], rlsd["clip"]) == (0.0, 0.2)
    assert resolve("cl_egrsd", window=5, gamma=1.0).keys()["window"] == 5


@pytest.mark.parametrize(
    ("estimator", "given_values", "remedy"),
    [
        ("egrsd", {"window": 3}, r"window=3 .*adv_estimator=egrsd: set it to 0; cl_egrsd is"),
        ("cl_egrsd", {"window": 0}, r"window=0 .*adv_estimator=cl_egrsd: set it to 1 or more; egrsd has"),
        ("rlsd", {"gamma": 0.3}, r"gamma=0\.3 .*adv_estimator=rlsd: set it to 0; egrsd is"),
        (
            "constant_negative",
            {"constant": {"value": 1}},
            r"constant\.value=1 .*: set it to a negative number",
        ),
    ],
)
def test_a_setting_that_contradicts_the_name_is_refused_with_the_remedy(estimator, given_values, remedy):
    with pytest.raises(ValueError, match=r"^algorithm\.egrsd\." + remedy):
        resolve(estimator, **given_values)


@pytest.mark.parametrize(
    ("estimator", "given_values", "without"),
    [
        ("cl_egrsd", {"factors": ["ratio"]}, "egrsd"),
        ("correct_only", {"factors": ["ratio", "entropy_gate"]}, "egrsd"),
        ("wrong_only", {"factors": []}, "egrsd"),
        ("opsd_gated", {"factors": ["position"]}, "opsd"),
        ("opsd_cl_gated", {"factors": []}, "opsd"),
        ("ogls_sd", {"factors": ["has_sibling"]}, "opsd"),
        ("constant_negative", {"advantage": "group"}, "direction"),
    ],
)
def test_a_method_without_the_part_that_its_name_promises_is_refused_with_one_to_start_from(
    estimator, given_values, without
):
    with pytest.raises(ValueError, match=rf"contradicts .*={estimator}, .* Start from {without}\.$"):
        resolve(estimator, **given_values)
    resolve(without, **given_values)


def test_every_other_method_takes_any_factors():
    for row in TABLE:
        if all(requirement.without is None for requirement in row.requires):
            assert resolve(row.name, factors=["ratio"]).weighing == ("ratio",)


def test_the_estimators_of_verl_leave_every_key_of_ratio_and_gate_free():
    assert resolve("grpo", gamma=1.0, window=5).keys()["window"] == 5
    assert resolve("grpo").is_verls


def test_a_resolved_section_shows_every_number():
    assert None not in resolve("cl_egrsd").keys().values()


@pytest.mark.parametrize(
    ("gamma", "clip", "uses_teacher"), [(0.3, 0.2, True), (0, 0.2, True), (0.3, 0, True), (0, 0, False)]
)
def test_the_teacher_is_needed_unless_ratio_and_gate_are_both_off(gamma, clip, uses_teacher):
    assert resolve("egrsd", gamma=gamma, clip=clip).uses_teacher is uses_teacher


def test_factors_compose_in_the_configuration():
    method = resolve("cl_egrsd", factors=["entropy_gate"], advantage="group", window=2)
    assert [factor.name for factor in method.factors] == ["entropy_gate"]
    assert method.keys()["window"] == 2
    assert method.advantage.name == "group"
    assert method.needs_group
    assert resolve("egrsd", factors=[]).factors == ()


def test_the_factors_of_a_method_keep_the_numbers_of_the_method():
    assert resolve("cl_egrsd", factors=["entropy_gate", "ratio"]).keys()["window"] == 3


@pytest.mark.parametrize("names", ["ratio", ["ratio", "ratio"], ["ratio", "temperature"], 3])
def test_a_list_of_factors_that_cannot_be_is_refused_with_the_known_ones(names):
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.factors=.* Known: ratio, entropy_gate"):
        resolve("egrsd", factors=names)


@pytest.mark.parametrize(("estimator", "name"), [("egrsd", "gae"), ("egrsd", "verl"), ("grpo", "running")])
def test_an_advantage_that_cannot_be_is_refused_with_the_known_ones(estimator, name):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.advantage='{name}' is not allowed with"):
        resolve(estimator, advantage=name)
