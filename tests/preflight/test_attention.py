"""An attention whose package is missing or broken is refused before Ray starts, where GPUs here need it."""

import sys
from importlib import import_module
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from verl_egrsd.configs.composing import composed
from verl_egrsd.preflight import attention
from verl_egrsd.preflight.attention import lacking_attention, require_attention

RUN = ("verl_egrsd.configs", "egrsd", ["preset=egrsd", "model=qwen3_4b"])
SUPERVISED = ("verl_egrsd.configs.sft", "sft", ["preset=sft", "base=qwen3_4b"])


@pytest.fixture
def without_flash_attn(monkeypatch):
    """Nothing can import flash-attn, wherever these tests run."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    monkeypatch.setattr(attention, "find_spec", lambda name: None)


def config(kind, *words):
    module, name, preset = kind
    return composed(module, name, [*preset, "hardware=gpu8", *words])


@pytest.mark.parametrize(("kind", "section"), [(RUN, "actor_rollout_ref.model"), (SUPERVISED, "model")])
def test_verls_default_without_flash_attn_is_refused_with_what_to_install_and_what_to_set(
    without_flash_attn, kind, section
):
    with pytest.raises(ValueError, match=r"attn_implementation=flash_attention_2 does not work") as refused:
        require_attention(config(kind))
    said = str(refused.value)
    assert ": pip install flash-attn --no-build-isolation. Or " in said
    remedy = said.partition("choose another attention: ")[2].removesuffix(".").split()
    assert remedy == [
        f"+{section}.override_config.attn_implementation=sdpa",
        f"{section}.use_remove_padding=false",
    ]
    require_attention(config(kind, *remedy))


def test_a_package_that_cannot_be_imported_is_named_with_the_error(monkeypatch):
    monkeypatch.setattr(attention, "find_spec", lambda name: None)

    def fail(name):
        raise ImportError(f"{name}_cuda.so: undefined symbol")

    monkeypatch.setattr(attention, "import_module", fail)
    assert "(flash_attn_cuda.so: undefined symbol)" in lacking_attention(config(RUN))
    three = config(RUN, "+actor_rollout_ref.model.override_config.attn_implementation=flash_attention_3")
    assert "(flash_attn_interface_cuda.so: undefined symbol)" in lacking_attention(three)


def test_an_installed_flash_attn_and_the_hubs_build_of_it_are_accepted(without_flash_attn, monkeypatch):
    monkeypatch.setattr(attention, "find_spec", lambda name: name == "kernels")
    require_attention(config(RUN))
    monkeypatch.setattr(attention, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    require_attention(config(RUN))


def test_the_cpu_and_a_cluster_are_not_asked(without_flash_attn):
    on_cpu = config(RUN)
    on_cpu.trainer.device = "cpu"
    require_attention(on_cpu)
    joining = config(RUN)
    OmegaConf.update(joining, "ray_kwargs.ray_init.address", "10.0.0.1:6379", force_add=True)
    require_attention(joining)


def test_training_ends_with_the_remedy_before_ray_starts(without_flash_attn, monkeypatch):
    monkeypatch.setattr("verl_egrsd.preflight.machine.gpus_here", lambda: 8)
    monkeypatch.setattr(sys, "argv", ["verl-egrsd train", *RUN[2], "hardware=gpu8"])
    with pytest.raises(SystemExit, match=r"^verl_egrsd: .*pip install flash-attn"):
        import_module("verl_egrsd.main").main()
