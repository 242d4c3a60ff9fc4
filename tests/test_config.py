"""Settings of the teacher: ranges and unknown keys. Every refusal says what to do."""

from dataclasses import asdict, fields

import pytest

from verl_egrsd.config import TeacherConfig, build, resolve_teacher


def teacher(**values):
    return build(TeacherConfig, values, "actor_rollout_ref.teacher")


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


def test_an_unknown_key_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown key a\.b\.gama=0\.3; known keys: ") as refused:
        build(TeacherConfig, {"gama": 0.3}, "a.b")
    assert all(field.name in str(refused.value) for field in fields(TeacherConfig))


def test_null_means_not_set():
    unset = dict.fromkeys(field.name for field in fields(TeacherConfig))
    assert teacher(**unset) == TeacherConfig()


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
