"""A divergence over the vocabulary is refused where it cannot be computed, by key and remedy."""

from __future__ import annotations

import copy
import json

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.support.composing import composed
from verl_egrsd.cost.settings import plan_of
from verl_egrsd.cost.shape import QWEN3_4B
from verl_egrsd.methods import methods
from verl_egrsd.preflight import preflight
from verl_egrsd.preflight.divergence import token_bytes

ACTOR, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.model"
SECTION = "algorithm.egrsd.divergence"


@pytest.fixture(scope="module")
def opsd() -> DictConfig:
    return composed("+preset=opsd", "+model=qwen3_4b", "+hardware=gpu8")


@pytest.fixture
def refusal(opsd):
    """Return the message for changed keys."""

    def refused(changes):
        with pytest.raises(ValueError, match=r"\w") as error:
            preflight(changed(opsd, changes))
        return str(error.value)

    return refused


def changed(opsd, changes):
    config = copy.deepcopy(opsd)
    with open_dict(config):
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
    return config


@pytest.fixture
def model(tmp_path):
    """Write a model's configuration; return its folder."""

    def written(**facts):
        facts = {"hidden_size": 2560, "max_position_embeddings": 65536} | facts
        (tmp_path / "config.json").write_text(json.dumps(facts))
        return {f"{MODEL}.path": str(tmp_path)}

    return written


@pytest.mark.parametrize(
    ("changes", "key", "remedy"),
    [
        ({f"{ACTOR}.policy_loss.loss_mode": "egrsd_ppo_clip"}, "policy_loss.loss_mode", "Set it to egrsd."),
        ({f"{ACTOR}.policy_loss.loss_mode": "vanilla"}, "loss_mode=vanilla", "set it to egrsd."),
        ({f"{ACTOR}.ppo_epochs": 2}, "2 updates per batch", "make it one."),
        ({f"{ACTOR}.ppo_mini_batch_size": 8}, "4 updates per batch", "make it one."),
        ({f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"}, "loss_agg_mode=seq-mean-token-mean", "unset"),
        ({f"{ACTOR}.loss_scale_factor": 2}, "loss_scale_factor=2", "leave the key unset"),
        ({f"{ACTOR}.clip_ratio_high": 0.28}, "clip_ratio_high=0.28", "leave the key unset"),
        ({f"{ACTOR}.strategy": "fsdp"}, f"{ACTOR}.strategy=fsdp", "set fsdp2"),
        ({f"{ACTOR}.ulysses_sequence_parallel_size": 2}, "ulysses_sequence_parallel_size=2", "set it to 1"),
        (
            {f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size": 2},
            "fsdp_config.ulysses_sequence_parallel_size=2",
            "set it to 1",
        ),
        ({f"{MODEL}.target_modules": ["q_proj", "lm_head"]}, f"{MODEL}.target_modules", "leave lm_head out"),
        ({f"{MODEL}.lora_rank": 0, "actor_rollout_ref.ref.strategy": "fsdp"}, "ref.strategy=fsdp", "fsdp2"),
        ({"model_engine": "megatron"}, "model_engine=megatron", "Set model_engine=dp"),
        ({f"{SECTION}.kind": "sideways"}, f"{SECTION}.kind='sideways'", "forward, reverse, jsd"),
        ({f"{SECTION}.first_tokens": 0}, f"{SECTION}.first_tokens=0", "1 or more"),
    ],
)
def test_what_cannot_work_is_refused_by_key_and_remedy(refusal, changes, key, remedy):
    message = refusal(changes)
    assert key in message
    assert remedy in message


REMEDIES = {
    "egrsd": {f"{ACTOR}.policy_loss.loss_mode": "egrsd_ppo_clip"},
    "opsd": {f"{ACTOR}.ppo_epochs": 1, f"{ACTOR}.ppo_mini_batch_size": 32},
}


@pytest.mark.parametrize("name", REMEDIES)
@pytest.mark.parametrize("changes", [{f"{ACTOR}.ppo_epochs": 2}, {f"{ACTOR}.ppo_mini_batch_size": 8}])
def test_the_remedy_for_several_updates_is_one_that_the_method_can_follow(opsd, name, changes):
    changes = {"algorithm.adv_estimator": name, f"{ACTOR}.policy_loss.loss_mode": None} | changes
    with pytest.raises(ValueError, match="make it one") as refused:
        preflight(changed(opsd, changes))
    assert ("egrsd_ppo_clip" in str(refused.value)) == (name == "egrsd")
    preflight(changed(opsd, changes | REMEDIES[name]))


def test_none_on_the_command_line_is_no_clip_also_where_the_trainer_checks_again():
    config = composed("+preset=opsd", "+model=qwen3_4b", "+hardware=gpu8", f"{SECTION}.clip=none")
    for _ in ("command", "trainer"):
        method, _ = preflight(config)
        assert method.divergence is not None
        assert method.divergence.clip is None


def test_a_support_that_holds_the_models_vocabulary_is_refused_before_the_start(refusal, opsd, model):
    folder = model(vocab_size=500)
    message = refusal(folder | {f"{SECTION}.top_k": 500})
    assert message == f"{SECTION}.top_k=500 holds the whole vocabulary of 500: take fewer, or set it to none."
    preflight(changed(opsd, folder | {f"{SECTION}.top_k": 499}))
    preflight(changed(opsd, folder | {f"{SECTION}.top_k": "none"}))


@pytest.mark.parametrize("key", ["final_logit_softcapping", "logits_scaling", "logit_scale"])
def test_a_model_that_changes_its_logits_is_refused_before_the_start(refusal, model, key):
    message = refusal(model(**{key: 30.0}))
    assert f"{key}=30.0 in its config.json" in message
    assert "choose another model" in message


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("egrsd", "reads teacher_entropy, teacher_log_prob"),
        ("opsd_gated", "reads teacher_entropy"),
        ("direction", "has no divergence over the vocabulary"),
    ],
)
def test_a_steered_teacher_is_refused_where_its_scores_of_tokens_are_read(refusal, method, why):
    message = refusal(
        {
            "algorithm.adv_estimator": method,
            "actor_rollout_ref.teacher.steering": 3.0,
            "actor_rollout_ref.rollout.n": 2,
        }
    )
    assert "teacher.steering=3.0 moves the hidden states" in message
    assert f"algorithm.adv_estimator={method} {why}: leave it unset, or choose" in message


def test_a_scale_of_one_changes_nothing(opsd, model):
    method, _ = preflight(changed(opsd, model(logit_scale=1.0, final_logit_softcapping=None)))
    assert method.divergence is not None


def test_hidden_states_beyond_the_bound_are_refused_with_the_number(refusal, opsd, model):
    """32 rollouts of 1,024 tokens of width 2,560 in two bytes each are 0.17 GB."""
    folder = model()
    message = refusal(folder | {f"{SECTION}.hidden_gigabytes": 0.16})
    assert f"{SECTION}.hidden_gigabytes=0.16 is below the 0.17 GB" in message
    assert f"lower {SECTION}.first_tokens" in message
    preflight(changed(opsd, folder | {f"{SECTION}.hidden_gigabytes": 0.17}))
    few = {f"{SECTION}.hidden_gigabytes": 0.16, f"{SECTION}.first_tokens": 512}
    preflight(changed(opsd, folder | few))


@pytest.mark.parametrize("name", ["tip_divergence", "eopd"])
def test_what_reads_whole_responses_is_not_told_to_cut_them(refusal, model, name):
    changes = {"algorithm.adv_estimator": name, f"{SECTION}.hidden_gigabytes": 0.01}
    assert "first_tokens" not in refusal(model() | changes)


def test_a_hidden_state_has_the_bytes_of_the_engines_precision(opsd):
    assert token_bytes(opsd, methods()["opsd"], 2560) == 5120
    assert token_bytes(opsd, methods()["tip_divergence"], 2560) == 10240
    exact = {f"{ACTOR}.fsdp_config.mixed_precision": {"param_dtype": "fp32"}}
    assert token_bytes(changed(opsd, exact), methods()["opsd"], 2560) == 10240


def test_the_plan_of_a_run_has_the_hidden_states_that_its_method_keeps(opsd):
    """32 rollouts of 1,024 tokens of width 2,560, two bytes each; TIP keeps both sides."""
    one_side = 32 * 1_024 * 2_560 * 2
    for name, kept in (("opsd", one_side), ("tip_divergence", 2 * one_side), ("egrsd", 0)):
        config = changed(opsd, {"algorithm.adv_estimator": name})
        method, teacher = preflight(config)
        assert plan_of(config, method, teacher, QWEN3_4B, 80e9).hidden_bytes == kept


def test_a_key_of_the_divergence_is_unknown_to_other_methods(opsd):
    with pytest.raises(ValueError, match=r"divergence\.clip=0\.1 of egrsd.*algorithm\.adv_estimator=opsd"):
        preflight(changed(opsd, {"algorithm.adv_estimator": "egrsd", f"{SECTION}.clip": 0.1}))
