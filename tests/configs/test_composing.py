"""The words of a command line: presets with and without `+`, and the nearest name for a misspelt one."""

import re

import pytest
from omegaconf import OmegaConf

from verl_egrsd.configs.composing import composed, nearest_key, preset_groups

TRAIN, SFT = ("verl_egrsd.configs", "egrsd"), ("verl_egrsd.configs.sft", "sft")


def test_a_preset_is_named_with_or_without_a_plus():
    keys = ("model=qwen3_8b", "hardware=gpu8", "data.train_batch_size=16")
    new, old = (composed(*TRAIN, [f"{plus}preset=cl_egrsd", *keys]) for plus in ("", "+"))
    assert OmegaConf.to_yaml(new) == OmegaConf.to_yaml(old)
    assert new.algorithm.adv_estimator == "cl_egrsd"
    assert (new.actor_rollout_ref.model.path, new.data.train_batch_size) == ("Qwen/Qwen3-8B", 16)


def test_supervised_training_has_groups_of_its_own():
    config = composed(*SFT, ["preset=sft_opsd", "base=qwen3_4b"])
    assert (config.model.path, config.data.train_batch_size) == ("Qwen/Qwen3-4B", 64)
    assert set(preset_groups(SFT[0])) == {"preset", "base", "hardware"}
    assert set(preset_groups(TRAIN[0])) == {"preset", "model", "hardware"}


@pytest.mark.parametrize(
    ("source", "word", "answer"),
    [
        (TRAIN, "preset=egrds", "preset=egrds is unknown: did you mean preset=egrsd? There are cl_egrsd, "),
        (TRAIN, "+preset=grop", "preset=grop is unknown: did you mean preset=grpo? "),
        (TRAIN, "model=qwen3_4B", "model=qwen3_4B is unknown: did you mean model=qwen3_4b? "),
        (TRAIN, "hardware=abacus", "hardware=abacus is unknown. There are cpu, gpu1, "),
        (TRAIN, "presett=egrsd", "presett is not a key of the configuration: did you mean preset?"),
        (TRAIN, "data.train_batchsize=3", "did you mean data.train_batch_size?"),
        (TRAIN, "trainer.train_batch_size=3", "did you mean data.train_batch_size?"),
        (TRAIN, "algorithm.egrsd.gama=0.3", "did you mean algorithm.egrsd.gamma?"),
        (TRAIN, "report.threshold.window=3", "did you mean report.thresholds.window?"),
        (TRAIN, "zzzz.qqqq=3", "zzzz.qqqq is not a key of the configuration: docs/configuration.md lists"),
        (TRAIN, "data.seed=[", "data.seed=[ is not of the form key=value"),
        (TRAIN, "+data.seed=3", "An item is already at 'data.seed'"),
        (SFT, "base=qwen3_5b", "base=qwen3_5b is unknown: did you mean base=qwen3_"),
        (SFT, "optim.learning=1", "optim.learning is not a key of the configuration"),
    ],
)
def test_a_misspelt_word_is_answered_in_one_line_with_the_nearest_name(source, word, answer):
    with pytest.raises(ValueError, match=re.escape(answer)) as refused:
        composed(*source, [word])
    assert "\n" not in str(refused.value)


def test_the_nearest_key_is_first_one_of_the_same_section():
    known = ["data.seed", "trainer.seeds", "trainer.save_freq", "a.b.c"]
    assert nearest_key("trainer.seed", known) == "trainer.seeds"
    assert nearest_key("rollout.seed", known) == "data.seed"
    assert nearest_key("x.y.z", known) is None
