"""What is at a path is decided in one place, by what lies there."""

import json

import pytest

from verl_egrsd.checkpoints.places import Adapter, HubId, Model, SavedStep, find_place, step_number


@pytest.fixture
def step(tmp_path):
    folder = tmp_path / "run" / "global_step_12"
    (folder / "actor" / "huggingface").mkdir(parents=True)
    return folder


def test_a_folder_is_what_lies_in_it(tmp_path, step):
    (tmp_path / "config.json").touch()
    assert find_place(tmp_path) == Model(tmp_path)
    # An adapter's folder may hold the configuration of its base too.
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": "a/base"}))
    assert find_place(tmp_path) == Adapter(tmp_path)
    assert (find_place(tmp_path).rank, find_place(tmp_path).base_model) == (8, "a/base")
    assert find_place(step) == SavedStep(step)


def test_a_checkpoint_may_be_named_by_its_folder_of_weights(step):
    assert find_place(step / "actor") == find_place(str(step)) == SavedStep(step)


def test_a_checkpoint_of_supervised_training_is_its_own_folder_of_weights(tmp_path):
    folder = tmp_path / "global_step_4"
    (folder / "huggingface").mkdir(parents=True)
    (folder / "fsdp_config.json").write_text("{}")
    assert find_place(folder) == SavedStep(folder)
    assert (SavedStep(folder).weights, SavedStep(folder).huggingface) == (folder, folder / "huggingface")


def test_a_checkpoint_of_another_trainer_has_no_state_and_no_base_model(step):
    assert (SavedStep(step).state, SavedStep(step).base_model) == (None, None)
    (step / "egrsd.json").write_text(json.dumps({"base_model": "a/base"}))
    assert SavedStep(step).base_model == "a/base"


@pytest.mark.parametrize("name", ["Qwen/Qwen3-4B", "gpt2"])
def test_a_name_without_a_folder_is_a_hub_id(name):
    assert find_place(name) == HubId(name)


@pytest.mark.parametrize("name", ["./model", "/no/model", "~/model", ".cache/model", "a/b/c", "a model"])
def test_a_path_without_a_folder_is_refused(name):
    with pytest.raises(FileNotFoundError, match="is neither a folder nor a hub id"):
        find_place(name)


def test_an_empty_folder_is_refused_with_the_files_that_it_lacks(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"it has no config.json, adapter_config.json, fsdp_config.json or actor/\.$"
    ):
        find_place(tmp_path)


def test_a_hub_id_that_cannot_be_downloaded_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="nobody/has-this is not a folder here, and the hub does not"):
        HubId("nobody/has-this").download(["*.json"])


def test_the_number_of_a_step_is_that_of_a_folder_that_exists(step):
    assert step_number(step) == 12
    assert step_number(step.with_name("global_step_13")) is None
    assert step_number(step.parent) is None
