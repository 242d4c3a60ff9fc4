"""The teacher's context is checked before the start: template, siblings, and room for the rollouts shown."""

import pytest
from omegaconf import OmegaConf

from tests.support.composing import PAPER, composed
from tests.support.saved_run import write_step
from verl_egrsd.checkpoints.fingerprint import fingerprint
from verl_egrsd.checkpoints.resume import settle_start
from verl_egrsd.preflight import plain, preflight

TEACHER = "actor_rollout_ref.teacher"


def paper(*overrides):
    return composed(*PAPER, *map(str, overrides))


def test_a_template_file_becomes_text_so_that_no_other_machine_needs_it(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("<<task>>\nHint: <<answer>>\n")
    config = paper(f"{TEACHER}.template={path}")
    _, teacher = preflight(config)
    assert (teacher.template, teacher.template_text) == ("mine.txt", "<<task>>\nHint: <<answer>>")
    path.unlink()
    assert preflight(config)[1] == teacher
    assert OmegaConf.to_container(config, resolve=True)["actor_rollout_ref"]["teacher"]["template_text"] == (
        "<<task>>\nHint: <<answer>>"
    )


def test_a_resume_with_another_text_in_the_same_file_is_refused(tmp_path):
    path = tmp_path / "mine.txt"

    def configured(text):
        path.write_text(text)
        config = paper(
            f"{TEACHER}.template={path}",
            f"trainer.default_local_dir={tmp_path / 'run'}",
            f"data.train_files={tmp_path}/train.parquet",
            f"data.val_files={tmp_path}/train.parquet",
        )
        preflight(config)
        return config

    state = {"fingerprint": fingerprint(plain(configured("<<task>> one")))}
    write_step(tmp_path / "run", 2, state, ranks=8)
    assert settle_start(configured("<<task>> one")).step == 2
    with pytest.raises(ValueError, match=r"template_text was '<<task>> one' and is '<<task>> two'"):
        settle_start(configured("<<task>> two"))


def test_the_rollouts_shown_are_capped_by_the_response_unless_a_cap_is_set():
    assert preflight(paper(f"{TEACHER}.template=reflection"))[1].max_rollout_tokens == 1088
    capped = paper(f"{TEACHER}.template=reflection", f"{TEACHER}.max_rollout_tokens=500")
    assert preflight(capped)[1].max_rollout_tokens == 500
    assert preflight(paper())[1].max_rollout_tokens is None
    steered = ("algorithm.adv_estimator=ogls_sd", "actor_rollout_ref.rollout.n=2")
    assert preflight(paper(*steered))[1].max_rollout_tokens == 1088
    fallback = ("actor_rollout_ref.rollout.n=2", f"{TEACHER}.template=sibling")
    assert preflight(paper(*fallback))[1].max_rollout_tokens == 1088


@pytest.mark.parametrize("preset", ["egrsd", "sdpo"])
def test_a_sibling_of_the_data_needs_no_other_rollout(preset, tmp_path):
    path = tmp_path / "sibling.txt"
    path.write_text("<<task>>\n<<extra_info.sibling>>")
    of_data = (f"{TEACHER}.template={path}", "actor_rollout_ref.rollout.n=1", "data.train_batch_size=32")
    without = [] if preset == "egrsd" else ["algorithm.egrsd.factors=[]"]
    config = composed(f"+preset={preset}", *PAPER[1:], *of_data, *without)
    _, teacher = preflight(config)
    assert (teacher.template_text, teacher.max_rollout_tokens) == ("<<task>>\n<<extra_info.sibling>>", None)


BOTH = "<<task>> <<attempt>> <<sibling>>"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["template=sibling"],
            r"template=sibling shows another rollout.*rollout\.n=1 .*: set n to 2 or more",
        ),
        (
            ["template=none", "without_sibling=sibling"],
            r"without_sibling=sibling shows a sibling too: choose",
        ),
        (["without_sibling=oracle"], r"without_sibling='oracle' is unknown; known templates: .*none"),
        (["template=./oracle.txt"], r"template=\./oracle\.txt: there is no such file below"),
        (
            ["template_text='<<task>> <<hint>>'"],
            r"template_text has the unknown mark <<hint>>; known marks: ",
        ),
        (
            ["template_text=5"],
            r"teacher\.template_text=5 is not allowed: it must be .*the text of a template",
        ),
        (["template=reflection", "max_rollout_tokens=8"], r"max_rollout_tokens=8 is not .* 64 or more"),
        (["steering=3"], r"steering=3\.?0? compares rollouts .*rollout\.n=1 .*: set n to 2 or more"),
        (["placebo_seed=-1"], r"teacher\.placebo_seed=-1 is not allowed"),
        (
            ["template=reflection", "max_prompt_length=3136"],
            r"max_prompt_length=3136 has no room .* 1 times up to .*max_rollout_tokens=1088 .*above 3136",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_with_key_value_and_remedy(overrides, message):
    with pytest.raises(ValueError, match=message):
        preflight(paper(*(f"{TEACHER}.{override}" for override in overrides)))


def test_every_shown_rollout_needs_its_own_room():
    def config(length):
        return paper(
            "actor_rollout_ref.rollout.n=2",
            f"{TEACHER}.template_text='{BOTH}'",
            f"{TEACHER}.max_prompt_length={length}",
        )

    assert preflight(config(2048 + 2 * 1088 + 1))[1].max_rollout_tokens == 1088
    with pytest.raises(ValueError, match=r"template=custom shows: 2 times up to .*Raise it above 4224"):
        preflight(config(2048 + 2 * 1088))
