"""What a configuration names must exist, and all that is missing is said at once."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from verl_egrsd.preflight import check_files


@pytest.fixture
def place(tmp_path):
    """A folder with data, a model and a reward function, and a configuration that names them."""
    (tmp_path / "rows.parquet").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({}))
    (tmp_path / "reward.py").write_text(
        "def score(data_source, solution_str, ground_truth, extra_info=None, bonus=0): return 1.0\n"
        "constant = 1\n"
        "def short(solution_str): return 1.0\n"
    )
    (tmp_path / "global_step_3").mkdir()
    rows = str(tmp_path / "rows.parquet")
    config = {
        "data": {"train_files": rows, "val_files": [rows]},
        "actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}},
        "reward": {"custom_reward_function": {"path": str(tmp_path / "reward.py"), "name": "score"}},
        "trainer": {"resume_mode": "resume_path", "resume_from_path": str(tmp_path / "global_step_3")},
    }
    return SimpleNamespace(folder=tmp_path, config=OmegaConf.create(config))


def test_what_exists_passes(place):
    check_files(place.config)


MISSING = {
    "training data": (
        {"data.train_files": "gone.parquet"},
        r"data\.train_files=gone\.parquet does not exist",
    ),
    "one of several files": ({"data.val_files": ["a.parquet"]}, r"data\.val_files=a\.parquet does not exist"),
    "no file": ({"data.train_files": []}, r"data\.train_files=\[\] does not name a file"),
    "another kind of file": (
        {"data.train_files": "a.csv"},
        r"train_files=a\.csv is not a file that verl reads",
    ),
    "model": ({"actor_rollout_ref.model.path": "/no/model"}, r"model\.path=/no/model does not exist"),
    "folder without a model": ({"actor_rollout_ref.model.path": "."}, r"is a folder without config\.json"),
    "model below here": ({"actor_rollout_ref.model.path": ".cache/no"}, r"model\.path=\.cache/no does not"),
    "reward file": (
        {"reward.custom_reward_function.path": "gone.py"},
        r"custom_reward_function\.path=gone\.py with name=score gives no function .*not found",
    ),
    "reward module": (
        {"reward.custom_reward_function.path": "pkg://no_such_module"},
        r"path=pkg://no_such_module .*No module named",
    ),
    "reward function": ({"reward.custom_reward_function.name": "scare"}, r"name=scare gives no function"),
    "reward that is no function": (
        {"reward.custom_reward_function.name": "constant"},
        r"1 is not a function",
    ),
    "reward of another shape": (
        {"reward.custom_reward_function.name": "short"},
        r"unexpected keyword argument",
    ),
    "setting that the reward does not take": (
        {"reward.custom_reward_function.reward_kwargs": {"penalty": 1}},
        r"unexpected keyword argument 'penalty'",
    ),
    "checkpoint": (
        {"trainer.resume_from_path": "x/global_step_9"},
        r"resume_from_path=x/global_step_9 does not",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_said_with_key_and_value(place, name):
    changes, message = MISSING[name]
    for key, value in changes.items():
        OmegaConf.update(place.config, key, value, force_add=True)
    with pytest.raises(ValueError, match=message):
        check_files(place.config)


def test_a_checkpoint_or_an_adapter_is_no_model_to_train(place):
    (place.folder / "global_step_3" / "actor").mkdir()
    place.config.actor_rollout_ref.model.path = str(place.folder / "global_step_3")
    with pytest.raises(ValueError, match=r"global_step_3 is a checkpoint: .*verl-egrsd export"):
        check_files(place.config)
    (place.folder / "model" / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}')
    place.config.actor_rollout_ref.model.path = str(place.folder / "model")
    with pytest.raises(ValueError, match=r"is a LoRA adapter: .*\(a/base\)"):
        check_files(place.config)


def test_all_that_is_missing_is_said_at_once(place):
    place.config.data.train_files = "gone.parquet"
    place.config.actor_rollout_ref.model.path = "/no/model"
    with pytest.raises(ValueError, match=r"gone\.parquet does not exist.*\n.*/no/model does not exist"):
        check_files(place.config)


def test_a_setting_that_the_reward_function_takes_passes(place):
    OmegaConf.update(
        place.config, "reward.custom_reward_function.reward_kwargs", {"bonus": 1}, force_add=True
    )
    check_files(place.config)


def test_a_hub_id_that_is_not_in_the_cache_is_named_and_no_error(place, caplog):
    place.config.actor_rollout_ref.model.path = "nobody/has-this-model"
    check_files(place.config)
    assert "hf download nobody/has-this-model" in caplog.text


def test_a_row_without_the_pass_rate_that_the_method_reads_is_refused(place):
    pq.write_table(pa.table({"data_source": ["sums"]}), place.config.data.train_files)
    check_files(place.config)
    OmegaConf.update(place.config, "algorithm.egrsd.pass_rate.source", "data", force_add=True)
    with pytest.raises(ValueError, match=r"pass_rate of row 0 of sums in .*/rows\.parquet is missing"):
        check_files(place.config)


def test_what_verl_fetches_itself_is_not_looked_up(place):
    place.config.data.train_files = "hdfs://rows.parquet"
    place.config.actor_rollout_ref.model.path = "hdfs://model"
    check_files(place.config)
