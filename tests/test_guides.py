"""The pages for newcomers name keys, presets and messages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from tests.support.composing import PAPER, composed

ROOT = Path(__file__).parents[1]
GUIDES = {
    name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("migration", "troubleshooting", "clusters")
}
KEY = re.compile(r"`[^`]*`")
ROOTS = "actor_rollout_ref|algorithm|data|trainer|reward|scores|watchdog|report|resume"
ELSEWHERE = {"data.rollout_batch_size", "algorithm.disable_kl", "trainer.save_checkpoint_path"}
"""Keys of RLSD's script in the left column."""
ADDED = {
    "actor_rollout_ref.model.override_config.attn_implementation",
    "actor_rollout_ref.actor.self_distillation",
}
"""A key that the user adds with `+`, and the section of SDPO's fork."""
SOURCES = "\n".join(path.read_text() for path in (ROOT / "verl_egrsd").rglob("*.py"))


@pytest.fixture(scope="module")
def config() -> DictConfig:
    """What `verl-egrsd train` composes."""
    return composed(*PAPER)


def keys(text: str) -> set[str]:
    """Dotted keys in code quotes or commands, without their values."""
    return set(re.findall(rf"(?<![\w./])((?:{ROOTS})(?:\.[a-z]\w*)+)(?![\w./(*])", text)) - ELSEWHERE - ADDED


@pytest.mark.parametrize("name", GUIDES)
def test_every_key_exists(config, name):
    text = re.sub(r"[\w/]+\.(?:md|sh|py|yaml|parquet|jsonl|log)\b", "", GUIDES[name])
    found = keys(text)
    missing = [
        key for key in found if OmegaConf.select(config, key, default="?", throw_on_missing=False) == "?"
    ]
    assert found or name == "clusters"
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "docs/migration.md", "docs/hardware.md"])
def test_every_preset_exists(name):
    named = re.findall(r"\b(preset|model|hardware)=([a-z0-9_]+)", (ROOT / name).read_text())
    assert named
    for group, preset in named:
        folders = (ROOT / "verl_egrsd" / "configs" / group, ROOT / "verl_egrsd" / "configs" / "sft" / group)
        assert any((folder / f"{preset}.yaml").exists() for folder in folders), preset


@pytest.mark.parametrize(
    "words",
    [
        "rollouts were cut before they ended, after ",
        "Hardly anything can be learned.",
        "answers of this step is correct",
        "the plug-in verl_egrsd was not loaded in this",
    ],
)
def test_the_messages_are_those_of_the_code(words):
    assert words in SOURCES
    assert words in " ".join(GUIDES["troubleshooting"].split())


@pytest.mark.parametrize("name", ["algorithm.egrsd.gama", "trainer.total_steps"])
def test_a_key_that_does_not_exist_is_found(config, name):
    assert keys(f"`{name}=1`") == {name}
    assert OmegaConf.select(config, name, default="?") == "?"
