"""An adapter that training starts from has to be one that verl trains and the rollout engine takes."""

import json

import pytest
from omegaconf import OmegaConf

from verl_egrsd.preflight.refresh import adapter_problems


def problems(path, rank=8):
    model = {"lora_adapter_path": str(path) if path else None, "lora_rank": rank, "lora_alpha": 16}
    return list(adapter_problems(OmegaConf.create({"actor_rollout_ref": {"model": model}})))


@pytest.fixture
def adapter(tmp_path):
    """Write an adapter's configuration."""

    def written(**values):
        config = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "use_dora": False} | values
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        return tmp_path

    return written


def test_no_adapter_and_one_that_fits_have_no_problem(adapter):
    assert problems(None) == []
    assert problems(adapter()) == []


@pytest.mark.parametrize(
    ("key", "value", "here"),
    [("r", 4, 8), ("lora_alpha", 32, 16), ("lora_dropout", 0.05, 0), ("use_dora", True, False)],
)
def test_what_differs_from_the_run_is_named_with_both_values(adapter, key, value, here):
    (sentence,) = problems(adapter(**{key: value}))
    assert f"has {key}={value} where this run has {here}" in sentence
    assert "Set actor_rollout_ref.model.lora_rank" in sentence


def test_a_folder_without_an_adapter_is_named_with_the_command_that_writes_one(tmp_path):
    (sentence,) = problems(tmp_path)
    assert f"lora_adapter_path={tmp_path} is not a folder with adapter_config.json" in sentence
    assert "--form adapter" in sentence
