"""Every key of verl is accounted for, and every rule refuses or names, in presets and stock verl alike."""

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
import verl
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.support.composing import PAPER, composed
from verl_egrsd.preflight.keys import check_keys
from verl_egrsd.preflight.other_keys import HARMLESS, READ, kind_of
from verl_egrsd.preflight.reading import VERIFIER, plain
from verl_egrsd.preflight.rules import RULES
from verl_egrsd.trainer.sync import EgrsdTrainer

VERLS = str(Path(verl.__file__).parent / "trainer" / "config")
THREE_KEYS = (
    "algorithm.adv_estimator=egrsd",
    "actor_rollout_ref.actor.policy_loss.loss_mode=egrsd",
    "trainer.v1.trainer_mode=egrsd_sync",
)
ELSEWHERE = {
    "skip.*.enable": "skip.rollout.enable",
    "trainer.v1.sampler.custom_sampler.*": "trainer.v1.sampler.custom_sampler.path",
    "custom_reward_function.*": "custom_reward_function.path",
    "reward_model.*": "reward_model.enable",
    "sandbox_fusion.*": "sandbox_fusion.url",
    "actor_rollout_ref.ref.model.*": "actor_rollout_ref.ref.model.path",
}
"""A key for each pattern whose star stands for a name."""


@cache
def stock(*overrides: str) -> DictConfig:
    """verl's own configuration, as `python -m verl.trainer.main_ppo` composes it."""
    with initialize_config_dir(VERLS, version_base=None):
        return compose("ppo_trainer", overrides=list(overrides))


@cache
def presets() -> DictConfig:
    """The configuration of `python -m verl_egrsd.main`."""
    return composed(*PAPER)


def method_on_stock() -> DictConfig:
    """Stock verl with the three keys, and what every script of verl sets."""
    return stock(
        *THREE_KEYS,
        "actor_rollout_ref.rollout.name=vllm",
        f"reward.custom_reward_function.path={VERIFIER}",
    )


def keys_of_verl() -> list[str]:
    """Every key of verl's configuration, an empty section counting as a key."""

    def walk(node: dict, prefix: str) -> list[str]:
        found = []
        for name, value in node.items():
            section = isinstance(value, dict) and value
            found += walk(value, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
        return found

    return walk(plain(stock(), resolve=False), "")


def other_value(neutral: tuple) -> object:
    """A value that is none of the neutral ones, a list where those are lists."""
    if isinstance(neutral[0], list):
        return ["hf_model"]
    return next(value for value in (True, False) if value not in neutral)


def sentences(config: DictConfig, key: str, value: object) -> list[str]:
    """What `check_keys` says about one key with another value; the configuration is put back."""
    parent, _, name = key.rpartition(".")
    before = plain(OmegaConf.select(config, parent), resolve=False)
    with open_dict(config):
        OmegaConf.update(config, key, value)
        try:
            return check_keys(config)
        except ValueError as refusal:
            return [f"refused: {refusal}"]
        finally:
            section = OmegaConf.select(config, parent)
            del section[name]
            section.update({name: before[name]} if name in before else {})


def test_every_key_of_verl_is_refused_named_read_or_harmless():
    assert not [key for key in keys_of_verl() if kind_of(key) is None]


@pytest.mark.parametrize(
    "key",
    [
        "algorithm.new_bonus",
        "actor_rollout_ref.actor.use_new_loss",
        "actor_rollout_ref.actor.policy_loss.new_ratio",
        "actor_rollout_ref.actor.optim.new_noise",
        "actor_rollout_ref.actor.fsdp_config.new_dtype",
        "actor_rollout_ref.rollout.new_filter",
        "actor_rollout_ref.rollout.enable_new_replay",
        "actor_rollout_ref.model.new_adapter",
        "data.new_sampler",
        "reward.new_penalty",
        "trainer.new_warmup",
        "trainer.v1.sampler.new_filter",
        "new_section.enable",
    ],
)
def test_a_new_key_of_verl_is_accounted_for_by_nothing(key):
    assert kind_of(key) is None


def test_every_pattern_of_the_tables_stands_for_a_key_of_verl():
    keys = keys_of_verl()
    patterns = [*READ, *HARMLESS]
    assert not [pattern for pattern in patterns if not any(fnmatchcase(key, pattern) for key in keys)]


def test_verls_own_defaults_are_neutral_but_for_what_its_scripts_set():
    said = check_keys(stock(*THREE_KEYS, "actor_rollout_ref.rollout.name=vllm"))
    assert [sentence.partition("=")[0] for sentence in said] == ["reward.custom_reward_function.path"]


def test_the_presets_have_nothing_to_name():
    assert check_keys(presets()) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_each_rule_says_key_value_reason_and_remedy_under_presets_and_stock_alike(rule):
    key = ELSEWHERE.get(rule.key, rule.key.replace("engine_kwargs.*", "engine_kwargs.vllm"))
    value = other_value(rule.neutral)
    expected = rule.message(key, value)
    if rule.effect == "refused":
        expected = f"refused: {expected}"
    for config in (presets(), method_on_stock()):
        assert expected in sentences(config, key, value)
        assert all(sentence != expected for sentence in sentences(config, key, rule.neutral[0]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("algorithm.gamma", 0.9),
        ("algorithm.norm_adv_by_std_in_grpo", False),
        ("actor_rollout_ref.actor.clip_ratio_high", 0.28),
    ],
)
def test_what_verls_own_estimator_or_the_clipped_loss_reads_is_not_called_unread(key, value):
    config = stock(
        "algorithm.adv_estimator=grpo",
        "actor_rollout_ref.actor.policy_loss.loss_mode=egrsd_ppo_clip",
        "trainer.v1.trainer_mode=egrsd_sync",
        "actor_rollout_ref.rollout.name=vllm",
        f"reward.custom_reward_function.path={VERIFIER}",
    )
    assert sentences(config, key, value) == []


def test_an_unknown_key_is_named_with_the_nearest_known_one():
    said = sentences(method_on_stock(), "trainer.total_trainings_steps", 10)
    assert said == [
        "trainer.total_trainings_steps=10 is a key that neither verl nor this package reads: remove it, or "
        "write trainer.total_training_steps."
    ]


def test_an_unknown_key_of_a_section_where_verl_raises_later_is_refused_now():
    said = sentences(method_on_stock(), "actor_rollout_ref.rollout.max_model_length", 10)
    assert said[0].startswith("refused: actor_rollout_ref.rollout.max_model_length=10 is a key that neither")
    assert said[0].endswith("or write actor_rollout_ref.rollout.max_model_len.")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actor_rollout_ref.rollout.enable_sleep_mode", False),
        ("actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype", "fp32"),
        ("actor_rollout_ref.actor.checkpoint.save_lora_only", True),
        ("actor_rollout_ref.model.override_config.attn_implementation", "sdpa"),
        ("actor_rollout_ref.rollout.engine_kwargs.vllm.disable_log_requests", True),
        ("data.apply_chat_template_kwargs.enable_thinking", True),
        ("reward.custom_reward_function.reward_kwargs.time_limit", 10),
        ("ray_kwargs.ray_init.num_gpus", 1),
        ("algorithm.egrsd.gamma", 0.3),
    ],
)
def test_a_key_that_verl_or_this_package_reads_needs_no_entry_in_verls_files(key, value):
    assert sentences(method_on_stock(), key, value) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("actor_rollout_ref.actor.use_kl_loss=True", r"use_kl_loss=True adds a KL term"),
        ("actor_rollout_ref.rollout.n=0", r"rollout\.n=0 is not allowed"),
        ("trainer.nnodes=1", r"data\.train_files=.*gsm8k/train\.parquet does not exist"),
    ],
)
def test_the_trainer_refuses_under_stock_verl_what_the_command_refuses(override, message):
    config = stock(
        *THREE_KEYS,
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "data.train_batch_size=256",
        override,
    )
    with pytest.raises(ValueError, match=message):
        EgrsdTrainer(config)


def test_no_key_has_two_rules():
    assert len({rule.key for rule in RULES}) == len(RULES)
    assert not {rule.key for rule in RULES} & set(READ)
