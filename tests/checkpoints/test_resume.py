"""A run goes on from a checkpoint of its own; of another run only on purpose, and then that is noted."""

import json

import pytest
from omegaconf import OmegaConf
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from tests.support.saved_run import write_step
from verl_egrsd.checkpoints.choice import TRACKER, checkpoint_to_resume
from verl_egrsd.checkpoints.fingerprint import fingerprint
from verl_egrsd.checkpoints.resume import (
    RUN_FILE,
    STATE_FILE,
    nothing_to_do,
    settle_start,
)

SETTINGS = {
    "trainer": {
        "resume_mode": "auto",
        "resume_from_path": None,
        "total_training_steps": 12,
        "nnodes": 1,
        "n_gpus_per_node": 1,
    },
    "actor_rollout_ref": {},
    "algorithm": {"adv_estimator": "egrsd", "egrsd": {"gamma": 0.3}},
    "data": {"seed": 0, "train_batch_size": 4},
}


@pytest.fixture
def configured(tmp_path):
    """A configuration with some other values, in the folder of the test."""

    def changed(**values):
        config = OmegaConf.create(SETTINGS)
        config.trainer.default_local_dir = str(tmp_path)
        for key, value in values.items():
            OmegaConf.update(config, key, value, force_add=True)
        return config

    return changed


@pytest.fixture
def saved(tmp_path):
    """Write what a checkpoint of step 5 says of its run."""

    def written(config, step=5, **state):
        known = {"fingerprint": fingerprint(OmegaConf.to_container(config))}
        nodes, per_node = config.trainer.get("nnodes", 1), config.trainer.get("n_gpus_per_node", 1)
        return write_step(tmp_path, step, known | state, ranks=nodes * per_node)

    return written


def test_without_a_checkpoint_a_run_starts_anew(configured):
    start = settle_start(configured())
    assert (start.checkpoint, start.step, start.breaks) == (None, 0, ())
    assert start.fingerprint["algorithm.egrsd.gamma"] == 0.3


def test_the_same_run_goes_on_with_more_steps_and_other_hardware(configured, saved):
    folder = saved(configured())
    more = configured(**{"trainer.total_training_steps": 50, "trainer.save_freq": 7, "trainer.device": "cpu"})
    start = settle_start(more)
    assert (start.checkpoint, start.step, start.changed, start.breaks) == (folder, 5, {}, ())


@pytest.mark.parametrize(
    ("key", "value", "was"),
    [
        ("algorithm.adv_estimator", "rlsd", "'egrsd' and is 'rlsd'"),
        ("algorithm.egrsd.gamma", 0.5, "0.3 and is 0.5"),
        ("data.seed", 1, "0 and is 1"),
        ("data.train_batch_size", 8, "4 and is 8"),
        ("data.apply_chat_template_kwargs.enable_thinking", True, "None and is True"),
    ],
)
def test_a_resume_of_something_else_is_refused_by_key_with_both_values_and_the_way_out(
    configured, saved, key, value, was
):
    saved(configured())
    with pytest.raises(ValueError, match="was trained with other settings") as error:
        settle_start(configured(**{key: value}))
    assert f"{key} was {was}" in str(error.value)
    assert "resume.accept_changes=true" in str(error.value)
    assert "trainer.default_local_dir" in str(error.value)


def test_many_changes_are_counted_after_the_first(configured, saved):
    saved(configured())
    with pytest.raises(ValueError, match=r"; 4 more\. Start a new run"):
        settle_start(configured(**{f"data.key{i:02}": i for i in range(1, 13)}))


def test_a_change_that_is_accepted_is_noted_with_its_step_behind_the_earlier_ones(configured, saved):
    earlier = {"step": 2, "changed": {"data.seed": [3, 0]}}
    folder = saved(configured(), breaks=[earlier])
    start = settle_start(configured(**{"algorithm.egrsd.gamma": 0.5, "resume.accept_changes": True}))
    assert (start.checkpoint, start.changed) == (folder, {"algorithm.egrsd.gamma": (0.3, 0.5)})
    assert start.breaks == (earlier, {"step": 5, "changed": {"algorithm.egrsd.gamma": [0.3, 0.5]}})
    assert not start.data_starts_anew


def test_an_earlier_break_stays_with_a_run_that_goes_on_unchanged(configured, saved):
    earlier = {"step": 2, "changed": {"data.seed": [3, 0]}}
    saved(configured(), breaks=[earlier])
    assert settle_start(configured()).breaks == (earlier,)


def test_other_data_starts_at_its_first_row(configured, saved):
    saved(configured())
    assert settle_start(configured(**{"data.seed": 1, "resume.accept_changes": True})).data_starts_anew


def test_a_checkpoint_that_does_not_know_its_settings_needs_consent(configured, saved, tmp_path):
    folder = saved(configured())
    (folder / STATE_FILE).write_text("{}")
    with pytest.raises(ValueError, match="it does not say which"):
        settle_start(configured())
    start = settle_start(configured(**{"resume.accept_changes": True}))
    assert start.breaks == ({"step": 5, "changed": {}},)


def test_a_checkpoint_of_another_trainer_is_refused(configured, saved):
    (saved(configured()) / STATE_FILE).unlink()
    with pytest.raises(ValueError, match=r"has no egrsd\.json: a trainer of another .*resume_mode=disable"):
        settle_start(configured())


def test_the_checkpoint_is_the_one_that_verl_would_take(configured, saved, tmp_path):
    saved(configured(), step=3)
    saved(configured(), step=10)
    assert str(checkpoint_to_resume(configured())) == find_latest_ckpt_path(str(tmp_path))
    assert checkpoint_to_resume(configured(**{"trainer.resume_mode": "disable"})) is None


def test_a_named_checkpoint_is_compared_too(configured, saved, tmp_path):
    saved(configured(), step=3)
    (tmp_path / TRACKER).unlink()
    named = {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": f"{tmp_path}/global_step_3/"}
    assert settle_start(configured(**named)).step == 3
    with pytest.raises(ValueError, match=r"data\.seed was 0 and is 1"):
        settle_start(configured(**named, **{"data.seed": 1}))


@pytest.mark.parametrize("path", [None, "nowhere/global_step_3", "."])
def test_a_named_checkpoint_that_is_not_there_is_refused(configured, path):
    named = {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": path}
    with pytest.raises(ValueError, match=r"trainer\.resume_from_path=.* existing folder global_step_N"):
        settle_start(configured(**named))


def test_steps_of_another_run_in_the_folder_are_not_taken_for_those_of_this_one(configured, saved, tmp_path):
    saved(configured())
    mine, other = (fingerprint(OmegaConf.to_container(configured(**{"data.seed": seed}))) for seed in (0, 1))
    (tmp_path / RUN_FILE).write_text(json.dumps(mine))
    assert settle_start(configured()).report_is_ours
    (tmp_path / RUN_FILE).write_text(json.dumps(other))
    assert not settle_start(configured()).report_is_ours


@pytest.mark.parametrize("accept", [False, True])
def test_another_number_of_ranks_is_refused_with_both_numbers_whatever_is_accepted(configured, saved, accept):
    here = {"trainer.nnodes": 1, "trainer.n_gpus_per_node": 4, "resume.accept_changes": accept}
    folder = saved(configured(**here))
    assert settle_start(configured(**here)).checkpoint == folder
    with pytest.raises(ValueError, match=r"was written by 4 ranks, .*nnodes=2 .* gives 8: .*Set them to 4"):
        settle_start(configured(**(here | {"trainer.nnodes": 2})))


def test_accept_changes_is_true_or_false(configured):
    with pytest.raises(ValueError, match=r"resume\.accept_changes='yes': it must be true or false"):
        settle_start(configured(**{"resume.accept_changes": "yes"}))
    with pytest.raises(ValueError, match=r"unknown key resume\.accept"):
        settle_start(configured(**{"resume.accept": True}))


def test_a_run_that_has_all_its_steps_says_so(configured, saved):
    saved(configured(), step=12)
    start = settle_start(configured())
    assert "global_step_12 has all 12 steps of this run" in nothing_to_do(start, 12)
    assert nothing_to_do(start, 13) is None
    assert nothing_to_do(start, None) is None
    assert nothing_to_do(settle_start(configured(**{"trainer.resume_mode": "disable"})), 12) is None
