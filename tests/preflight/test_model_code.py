"""A model that brings code is refused before anything is loaded."""

import json

import pytest
from omegaconf import OmegaConf

from verl_egrsd.preflight.model_code import code_of_model, files_with_code


@pytest.fixture
def model(tmp_path):
    for name in ("config.json", "tokenizer_config.json", "vocab.json"):
        (tmp_path / name).write_text(json.dumps({"model_type": "qwen3"}))
    return tmp_path


def configured(**model):
    return OmegaConf.create({"actor_rollout_ref": {"model": model}})


def test_a_model_of_data_passes(model):
    (model / "broken.json").write_text("{")
    assert list(code_of_model(configured(path=str(model), tokenizer_path=None))) == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("key", ["path", "tokenizer_path"])
def test_code_of_a_model_or_a_tokenizer_is_refused_by_file(model, tmp_path_factory, name, key):
    other = tmp_path_factory.mktemp("other")
    (model / name).write_text(json.dumps({"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}}))
    (said,) = code_of_model(configured(**{"path": str(other)} | {key: str(model)}))
    assert f"model.{key}={model} brings its own code (auto_map in {name})." in said
    trusting = configured(**{"path": str(other), key: str(model), "trust_remote_code": True})
    assert list(code_of_model(trusting)) == []


def test_a_model_that_is_not_here_is_not_looked_at():
    assert files_with_code("no/such-model") == files_with_code("/no/such/folder") == []
