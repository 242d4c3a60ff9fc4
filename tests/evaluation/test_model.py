"""What is evaluated is found by what lies in its folder, and its files are known by their content."""

import json

import pytest

from tests.checkpoints.test_export import RANK, adapter_of, write_checkpoint
from verl_egrsd.evaluation.model import Servable, Source, find_model, servable

from .builders import random_adapter, small_model


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def adapter(tmp_path, base):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": 16}))
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    return folder


def test_a_model_folder_is_served_as_it_is(tmp_path, base):
    source = find_model(str(base))
    assert source == Source("model", base, None)
    assert servable(source, tmp_path / "cache") == Servable(base)
    assert not (tmp_path / "cache").exists()


def test_an_adapter_is_served_over_the_base_that_it_notes_or_another(tmp_path, base, adapter):
    source = find_model(str(adapter))
    assert source == Source("adapter", adapter, base)
    assert servable(source, tmp_path / "cache") == Servable(base, adapter, 16)
    other = tmp_path / "other"
    base.rename(other)
    assert find_model(str(adapter), base=str(other)).base == other
    with pytest.raises(FileNotFoundError, match=r"base is neither a folder nor a hub id"):
        find_model(str(adapter))


@pytest.mark.parametrize(("lora", "kind"), [(True, "adapter_model"), (False, "model")])
def test_a_checkpoint_is_exported_once_as_an_adapter_or_as_whole_weights(tmp_path, lora, kind):
    base, model = small_model(tmp_path / "base")
    weights = adapter_of(random_adapter(model, RANK)) if lora else model.state_dict()
    saved = write_checkpoint(tmp_path / "run", weights, base, lora=lora)
    source, cache = find_model(str(saved)), tmp_path / "out" / "model"
    assert source == Source("checkpoint", saved, base if lora else None)
    assert find_model(str(saved / "actor")).sha256 == source.sha256
    expected = Servable(base, cache, RANK) if lora else Servable(cache)
    assert servable(source, cache) == expected
    written = cache / f"{kind}.safetensors"
    first = written.stat().st_mtime_ns
    assert servable(source, cache) == expected
    assert written.stat().st_mtime_ns == first


def test_the_digest_changes_with_weights_and_templates_and_not_with_other_files(base):
    source = find_model(str(base))
    first = source.sha256
    (base / "README.md").write_text("x")
    (base / "evaluation").mkdir()
    (base / "evaluation" / "summary.json").write_text("{}")
    assert source.sha256 == first
    (base / "chat_template.jinja").write_text("x")
    second = source.sha256
    (base / "model.safetensors").write_bytes(b"Weights")
    assert len({first, second, source.sha256}) == 3


def test_an_adapter_is_known_by_its_base_too(base, adapter):
    source = find_model(str(adapter))
    first = source.base_sha256
    (base / "model.safetensors").write_bytes(b"Weights")
    assert first is not None
    assert source.base_sha256 != first


def test_what_is_no_model_is_refused(tmp_path, base, adapter):
    with pytest.raises(FileNotFoundError, match=r"is not a model, adapter or checkpoint: it has no"):
        find_model(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"none/at/all is neither a folder nor a hub id"):
        find_model("none/at/all")
    with pytest.raises(ValueError, match=r"holds whole weights, so --base .* has no effect"):
        find_model(str(base), base=str(base))
    (adapter / "adapter_config.json").write_text('{"r": 8}')
    with pytest.raises(ValueError, match=r"adapter does not record its base model: .* \(--base\)"):
        find_model(str(adapter))
