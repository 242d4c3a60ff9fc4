"""A model that brings code is refused before anything is loaded."""

import json
from functools import partial

import pytest
from huggingface_hub import try_to_load_from_cache
from omegaconf import OmegaConf

from verl_egrsd.checkpoints import places
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


def test_a_tokenizer_of_the_hub_that_is_in_its_cache_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "try_to_load_from_cache", partial(try_to_load_from_cache, cache_dir=tmp_path))
    repository = tmp_path / "models--own--tokenizer"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": "mine.T"}}))
    assert [file.name for file in files_with_code("own/tokenizer")] == ["tokenizer_config.json"]


def test_a_model_that_is_not_here_is_not_looked_at():
    assert files_with_code("no/such-model") == files_with_code("/no/such/folder") == []
