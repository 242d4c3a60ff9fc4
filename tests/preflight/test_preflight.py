"""The real configuration: what the presets compose to, and everything that is refused before a run starts."""

import copy
import re
import warnings
from contextlib import contextmanager

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf, open_dict

from tests.support.composing import PAPER, composed
from tests.test_docs import CONFIGURATION, section, table
from verl_egrsd.main import check
from verl_egrsd.preflight import REFUSALS, REMARKS, lora_rank, plain, preflight
from verl_egrsd.preflight.values import check_values


@pytest.fixture(scope="module")
def paper():
    return composed(*PAPER)


@pytest.fixture
def config(paper):
    return copy.deepcopy(paper)


def changed(config, changes):
    with open_dict(config):
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
    return config


ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
SYNC = {"trainer.v1.trainer_mode": "sync"}
REFUSED = {
    "legacy_trainer": ({"trainer.use_v1": False}, r"use_v1=False .*set trainer\.use_v1=True"),
    "estimator_without_its_trainer": (
        SYNC,
        r"adv_estimator=egrsd .*Set trainer\.v1\.trainer_mode=egrsd_sync",
    ),
    "loss_without_its_trainer": (
        SYNC | {"algorithm.adv_estimator": "grpo"},
        r"loss_mode=egrsd expects .*trainer_mode=sync: set it to egrsd_sync",
    ),
    "estimator_without_its_loss": (
        {f"{ACTOR}.policy_loss.loss_mode": "vanilla"},
        r"loss_mode=vanilla is not a loss of this method: set it to egrsd .* or egrsd_ppo_clip",
    ),
    "kl_in_reward": ({"algorithm.use_kl_in_reward": True}, r"use_kl_in_reward=True .*set it to False"),
    "bypass_mode": (
        {"algorithm.rollout_correction.bypass_mode": True},
        r"bypass_mode=True .*set it to False",
    ),
    "importance_sampling": (
        {"algorithm.rollout_correction.rollout_is": "token"},
        r"rollout_is=token reweights .*set it to null",
    ),
    "rejection_sampling": (
        {"algorithm.rollout_correction.rollout_rs": "token"},
        r"rollout_rs=token masks .*set it to null",
    ),
    "gae": ({"algorithm.adv_estimator": "gae"}, r"adv_estimator=gae needs a critic.*: choose egrsd, "),
    "estimator_without_its_columns": (
        {"algorithm.adv_estimator": "remax"},
        r"adv_estimator=remax needs .*columns .*: choose egrsd, ",
    ),
    "another_loss_under_the_trainer": (
        {"algorithm.adv_estimator": "grpo", f"{ACTOR}.policy_loss.loss_mode": "gspo"},
        r"loss_mode=gspo is not a loss of this method",
    ),
    "critic": ({"critic.enable": True}, r"critic\.enable=True adds a critic.*leave critic\.enable unset"),
    "mini_batch_above_the_batch": (
        {f"{ACTOR}.ppo_mini_batch_size": 64},
        r"ppo_mini_batch_size=64 is above data\.train_batch_size=32: .*Set it to data\.train_batch_size",
    ),
    "prompts_fetched_in_odd_lots": (
        {"data.gen_batch_size": 5},
        r"gen_batch_size=5 does not divide data\.train_batch_size=32: leave it unset",
    ),
    "dynamic_batches_on_one_side": (
        {f"{ROLLOUT}.log_prob_use_dynamic_bsz": False},
        r"log_prob_use_dynamic_bsz=False differs from .*use_dynamic_bsz=True.*leave it unset",
    ),
    "no_micro_batch": (
        {f"{ACTOR}.use_dynamic_bsz": False},
        r"use_dynamic_bsz=False needs .*ppo_micro_batch_size_per_gpu .*set .*use_dynamic_bsz=True",
    ),
    "engine_wider_than_the_node": (
        {f"{ROLLOUT}.tensor_model_parallel_size": 3},
        r"tensor_model_parallel_size \* data_parallel_size=3 does not divide the 8 GPUs",
    ),
    "validation_only_that_would_train": (
        {"trainer.val_only": True, "trainer.val_before_train": False},
        r"val_only=True with trainer\.val_before_train=False would train: .*Set trainer\.val_before_train=",
    ),
    "resume_from_nowhere": (
        {"trainer.resume_mode": "resume_path"},
        r"resume_from_path=None .*set it to a folder global_step_N",
    ),
    "several_mini_batches": (
        {f"{ACTOR}.ppo_mini_batch_size": 16},
        r"2 updates per batch \(actor\.ppo_mini_batch_size=16 of data\.train_batch_size=32.*=egrsd_ppo_clip",
    ),
    "several_epochs": ({f"{ACTOR}.ppo_epochs": 3}, r"3 updates per batch .*actor\.ppo_epochs=3.*make it one"),
    "adapter_that_full_fine_tuning_leaves_out": (
        {"actor_rollout_ref.model.lora_adapter_path": "x", "actor_rollout_ref.model.lora_rank": 0},
        r"lora_adapter_path=x with .*lora_rank=0: .*Set lora_rank to the adapter's, or merge it",
    ),
    "adapter_beside_fsdp1": (
        {"actor_rollout_ref.model.lora_adapter_path": "x", f"{ACTOR}.strategy": "fsdp"},
        r"actor\.strategy=fsdp with .*lora_adapter_path=x: .*shards of FSDP2 only\. Set .*strategy=fsdp2",
    ),
    "moving_teacher_in_a_reference_engine_of_fsdp1": (
        {
            "actor_rollout_ref.teacher.refresh": "copy",
            "actor_rollout_ref.model.lora_rank": 0,
            "actor_rollout_ref.ref.strategy": "fsdp",
        },
        r"ref\.strategy=fsdp with .*refresh=copy: .*Set actor_rollout_ref\.ref\.strategy=fsdp2",
    ),
    "average_in_half_precision": (
        {
            "actor_rollout_ref.teacher.refresh": "ema",
            "actor_rollout_ref.model.lora_rank": 0,
            "actor_rollout_ref.ref.fsdp_config.model_dtype": "bf16",
        },
        r"ref\.fsdp_config\.model_dtype=bf16 with .*refresh=ema: .*rounds away\. Set it to fp32",
    ),
    "moving_teacher_that_nobody_asks": (
        {
            "actor_rollout_ref.teacher.refresh": "ema",
            "algorithm.egrsd.gamma": 0.0,
            "algorithm.egrsd.clip": 0.0,
        },
        r"teacher\.refresh=ema says how a teacher moves, but this method has no teacher: leave it unset",
    ),
    "multi_turn": ({f"{ROLLOUT}.multi_turn.enable": True}, r"multi_turn\.enable=True.*set it to False"),
    "two_temperatures": (
        {"actor_rollout_ref.teacher.temperature": 0.7},
        r"teacher\.temperature=0\.7 differs from .*temperature=1\.1.*Remove it",
    ),
    "bf16_entropy": (
        {"actor_rollout_ref.model.use_remove_padding": False},
        r"entropy would come back in bf16: set .*use_remove_padding=True, or \+actor_rollout_ref\.actor\.",
    ),
    "bf16_entropy_of_the_reference": (
        {"actor_rollout_ref.model.use_remove_padding": False, "actor_rollout_ref.model.lora_rank": 0},
        r"entropy would come back in bf16: .*\+actor_rollout_ref\.ref\.fsdp_config",
    ),
    "megatron": (
        {"model_engine": "megatron"},
        r"model_engine=megatron is not supported: .*Set model_engine=dp",
    ),
    "veomni": ({f"{ACTOR}.strategy": "veomni"}, r"strategy=veomni is not supported: .*Set it to fsdp2"),
    "no_rollout_engine": ({f"{ROLLOUT}.name": "???"}, r"rollout\.name is not set: set it to vllm"),
    "misspelt_estimator": (
        {"algorithm.adv_estimator": "cl_egrds"},
        r"adv_estimator=cl_egrds is unknown to verl: did you mean cl_egrsd\? Known: .*egrsd, .*gae",
    ),
    "engine_of_an_older_verl": (
        {f"{ROLLOUT}.name": "hf"},
        r"rollout\.name=hf is unknown to verl: Known: .*vllm",
    ),
    "misspelt_logger": (
        {"trainer.logger": ["console", "wandbb"]},
        r"trainer\.logger=wandbb is unknown to verl: did you mean wandb\?",
    ),
    "unknown_template": (
        {"actor_rollout_ref.teacher.template": "oracle"},
        r"template='oracle' is unknown; known templates: reference_solution",
    ),
    "unknown_key_of_the_method": (
        {"algorithm.egrsd.gama": 0.3},
        r"unknown key algorithm\.egrsd\.gama=0\.3 of egrsd; known keys: .*gamma",
    ),
    "unknown_key_of_the_teacher": (
        {"actor_rollout_ref.teacher.thinking": True},
        r"unknown key actor_rollout_ref\.teacher\.thinking=True; known keys",
    ),
    "value_out_of_range": ({"algorithm.egrsd.gamma": 1.5}, r"algorithm\.egrsd\.gamma=1\.5 is not allowed"),
    "contradiction": ({"algorithm.egrsd.window": 3}, r"window=3 contradicts .*cl_egrsd is the method"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_with_key_value_and_remedy(paper, name):
    changes, message = REFUSED[name]
    with changed_for_now(paper, changes), pytest.raises(ValueError, match=message):
        preflight(paper)


def messages(config, changes, entries):
    """What each entry says of the changed config, by its position in the table."""
    with changed_for_now(config, changes):
        return {index: says(config) for index, (holds, says) in enumerate(entries) if holds(config)}


@pytest.fixture(scope="module")
def said(paper):
    """What each refusal says of some case here, by its position in the table."""
    found = {}
    for changes, _ in REFUSED.values():
        found |= messages(paper, changes, REFUSALS)
    return found


def test_every_refusal_is_tested_here_and_none_refuses_the_preset(paper, said):
    assert messages(paper, {}, REFUSALS) == {}
    assert said.keys() == set(range(len(REFUSALS)))


def test_every_refusal_has_a_row_that_names_a_setting_of_its_message(said):
    rows = table(section(CONFIGURATION, "### Settings that contradict each other"))
    named = [re.findall(r"`(?:[a-z_.]*\.)?([a-z_]+)(?:=\w+)?`", refused) for refused, _ in rows]
    assert [any(word in said[index] for word in words) for index, words in enumerate(named)] == [True] * len(
        REFUSALS
    )


def test_several_updates_per_batch_are_fine_under_the_clipped_loss(config):
    preflight(
        changed(
            config, {f"{ACTOR}.ppo_mini_batch_size": 16, f"{ACTOR}.policy_loss.loss_mode": "egrsd_ppo_clip"}
        )
    )


def test_the_paper_recipe_is_what_the_preset_composes_to(config):
    preflight(config)
    actor, model, rollout = (config.actor_rollout_ref[name] for name in ("actor", "model", "rollout"))
    optim = actor.optim
    assert (optim.optimizer, optim.lr, list(optim.betas)) == ("AdamW", 5e-6, [0.9, 0.999])
    assert (optim.clip_grad, optim.weight_decay) == (0.1, 0.0)
    assert (optim.lr_scheduler_type, optim.lr_warmup_steps) == ("constant", 0)
    assert actor.fsdp_config.model_dtype == "fp32"
    assert (actor.policy_loss.loss_mode, actor.loss_agg_mode) == ("egrsd", "token-mean")
    assert (actor.use_kl_loss, actor.entropy_coeff, actor.ppo_epochs, actor.ppo_mini_batch_size) == (
        False,
        0,
        1,
        32,
    )
    assert (model.path, model.lora_rank, model.lora_alpha, model.lora.merge) == (
        "Qwen/Qwen3-4B",
        64,
        128,
        False,
    )
    projections = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"
    assert list(model.target_modules) == projections.split()
    assert (rollout.name, rollout.n) == ("vllm", 1)
    assert (rollout.temperature, rollout.top_p, rollout.top_k) == (1.1, 0.95, 20)
    assert (config.data.train_batch_size, config.data.max_response_length) == (32, 1024)
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (1, 8)
    assert (config.trainer.total_training_steps, config.trainer.save_freq) == (100, 25)
    assert config.data.apply_chat_template_kwargs.enable_thinking is False
    teacher = config.actor_rollout_ref.teacher
    assert (teacher.enable_thinking, teacher.template) == (True, "reference_solution")
    assert teacher.max_prompt_length + config.data.max_response_length == 20_000
    method = config.algorithm.egrsd
    assert (config.algorithm.adv_estimator, method.gamma, method.window, method.clip) == (
        "egrsd",
        0.3,
        0,
        0.2,
    )
    assert (method.floor, method.denominator, method.min_denominator) == (0.1, "raw", 1.0)
    assert (method.warmup_steps, method.warmup_baseline, method.length_beta) == (10, 0.5, 0.5)
    assert method.max_response_length == 1024


@pytest.mark.parametrize(
    ("preset", "estimator", "gamma", "window", "clip", "rollouts"),
    [
        ("egrsd", "egrsd", 0.3, 0, 0.2, (32, 1)),
        ("cl_egrsd", "cl_egrsd", 0.3, 3, 0.2, (32, 1)),
        ("rlsd", "rlsd", 0.0, 0, 0.2, (32, 1)),
        ("direction", "direction", None, None, None, (32, 1)),
        ("grpo", "grpo", 0.0, 0, 0.0, (4, 8)),
    ],
)
def test_every_preset_resolves_to_its_arm(preset, estimator, gamma, window, clip, rollouts):
    config = composed(f"+preset={preset}", "+model=qwen3_8b", "+hardware=gpu8")
    keys = preflight(config)[0].keys()
    assert config.algorithm.adv_estimator == estimator
    assert (keys.get("gamma"), keys.get("window"), keys.get("clip")) == (gamma, window, clip)
    assert (config.data.train_batch_size, config.actor_rollout_ref.rollout.n) == rollouts


def test_the_resolved_method_has_no_null_and_a_second_pass_changes_nothing(config):
    first = preflight(config)
    resolved = OmegaConf.to_container(config, resolve=True)
    assert None not in resolved["algorithm"]["egrsd"].values()
    assert preflight(config) == first
    assert OmegaConf.to_container(config, resolve=True) == resolved


@pytest.mark.parametrize(
    ("rank", "refresh", "scoring", "other"),
    [
        (64, "frozen", "actor", "ref"),
        (64, "ema", "actor", "ref"),
        (0, "frozen", "ref", "actor"),
        (0, "ema", "ref", "actor"),
        (0, "current", "actor", "ref"),
    ],
)
def test_the_engine_that_scores_returns_float32_entropies(config, rank, refresh, scoring, other):
    values = {"actor_rollout_ref.model.lora_rank": rank, "actor_rollout_ref.teacher.refresh": refresh}
    preflight(changed(config, values))
    section = config.actor_rollout_ref
    assert section[scoring].entropy_from_logits_with_chunking is True
    assert section[scoring].fsdp_config.entropy_from_logits_with_chunking is True
    assert not section[other].fsdp_config.entropy_from_logits_with_chunking


@pytest.mark.parametrize("factors", [["tip"], ["ratio", "tip"], ["fire_gate"]])
def test_the_student_returns_float32_entropies_where_the_method_reads_them(config, factors):
    values = {"algorithm.egrsd.factors": factors, "algorithm.egrsd.tip.score": "entropy"}
    if factors == ["fire_gate"]:
        del values["algorithm.egrsd.tip.score"]
    preflight(changed(config, values | {"actor_rollout_ref.model.lora_rank": 0}))
    section = config.actor_rollout_ref
    assert section.actor.fsdp_config.entropy_from_logits_with_chunking is True
    assert bool(section.ref.fsdp_config.entropy_from_logits_with_chunking) == (factors != ["tip"])


def test_without_a_teacher_the_precision_of_its_entropy_is_left_alone():
    config = composed("+preset=direction", *PAPER[1:], "actor_rollout_ref.model.use_remove_padding=false")
    preflight(config)
    assert not config.actor_rollout_ref.actor.fsdp_config.entropy_from_logits_with_chunking


@pytest.mark.parametrize("model", ["tiny", "tiny_qwen3"])
def test_the_cpu_recipes_pass_in_float32(model):
    config = composed("+preset=cl_egrsd", f"+model={model}", "+hardware=cpu")
    _, teacher = preflight(config)
    assert config.actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype == "fp32"
    assert teacher.temperature == config.actor_rollout_ref.rollout.temperature


def test_several_nodes_take_their_number_from_the_environment(monkeypatch):
    monkeypatch.setenv("NNODES", "3")
    config = composed("+preset=egrsd", "+model=qwen3_8b", "+hardware=multinode")
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (3, 8)


def test_the_adapters_rank_is_read_from_both_keys_of_verl(config):
    assert lora_rank(config) == 64
    assert lora_rank(changed(config, {"actor_rollout_ref.model.lora_rank": 0})) == 0
    assert lora_rank(changed(config, {"actor_rollout_ref.model.lora.rank": 8})) == 8


@pytest.mark.parametrize("group", ["preset", "model", "hardware"])
def test_an_unknown_choice_lists_the_known_ones(group):
    with pytest.raises(MissingConfigException, match=rf"Could not find '{group}/unheard'") as refused:
        composed(f"+{group}=unheard")
    known = {"preset": "cl_egrsd", "model": "qwen3_4b", "hardware": "gpu8"}
    assert known[group] in str(refused.value)


def test_a_cpu_run_needs_the_platform_in_the_environment(monkeypatch):
    config = composed("+preset=egrsd", "+model=tiny", "+hardware=cpu")
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    with pytest.raises(
        ValueError, match=r"trainer\.device=cpu needs the environment variable VERL_PLATFORM=cpu"
    ):
        check(config)


def test_the_paper_recipe_passes_every_check_of_verl(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(config)
    assert config.algorithm.egrsd.gamma == 0.3


BAD_VALUES = {
    f"{ROLLOUT}.n": (0, "a whole number of 1 or more"),
    f"{ROLLOUT}.top_p": (0, "a number in (0, 1]"),
    f"{ROLLOUT}.top_k": (-2, "a whole number of -1 or more"),
    f"{ROLLOUT}.temperature": (0, "a number above 0"),
    f"{ROLLOUT}.mode": ("sync", "one of async"),
    f"{ROLLOUT}.gpu_memory_utilization": (60, "a number in (0, 1]"),
    f"{ACTOR}.optim.lr": ("fast", "a number of 0 or more"),
    f"{ACTOR}.ppo_mini_batch_size": (0, "a whole number of 1 or more"),
    "actor_rollout_ref.model.lora_rank": (-1, "a whole number of 0 or more"),
    "data.train_batch_size": (0, "a whole number of 1 or more"),
    "data.max_response_length": ("long", "a whole number of 1 or more"),
    "trainer.total_training_steps": ("ten", "a whole number of 1 or more, or null"),
    "trainer.total_epochs": (0, "a whole number of 1 or more"),
    "trainer.resume_mode": ("yes", "one of auto, disable, resume_path, latest-whole"),
    "trainer.n_gpus_per_node": (0, "a whole number of 1 or more"),
    "trainer.val_only": ("no", "true or false"),
}


@pytest.mark.parametrize("key", BAD_VALUES)
def test_a_value_that_no_run_can_work_with_is_refused_by_name(paper, key):
    value, allowed = BAD_VALUES[key]
    message = f"{key}={value} is not allowed: it must be {allowed}."
    with changed_for_now(paper, {key: value}), pytest.raises(ValueError, match=re.escape(message)):
        check_values(paper)


def test_no_step_at_all_is_refused_like_a_word(paper):
    with (
        changed_for_now(paper, {"trainer.total_training_steps": 0}),
        pytest.raises(ValueError, match=r"total_training_steps=0 is not allowed: .*1 or more, or null"),
    ):
        check_values(paper)


def written(config, key):
    """The value of a key as it is written: an interpolation stays one; None where the key is not there."""
    parent, _, name = key.rpartition(".")
    section = OmegaConf.select(config, parent) if parent else config
    return plain(section, resolve=False).get(name)


@contextmanager
def changed_for_now(config, changes):
    """The shared configuration with other values, put back afterwards; copying it instead takes seconds."""
    before = {key: written(config, key) for key in changes}
    changed(config, changes)
    try:
        yield
    finally:
        changed(config, before)


REMARKED = {
    "one_rollout_has_no_group": (
        {"algorithm.adv_estimator": "grpo"},
        r"adv_estimator=grpo compares .*rollout\.n=1 .*set n to 2 or more",
    ),
    "bonus_for_a_length_out_of_reach": (
        {"algorithm.egrsd.max_response_length": 4096},
        r"max_response_length=4096 is above data\.max_response_length=1024: .*Leave it unset",
    ),
    "nothing_is_trained": ({"trainer.val_only": True}, r"val_only=True validates once and trains nothing"),
}


@pytest.mark.parametrize("name", REMARKED)
def test_what_is_rarely_meant_is_named_in_the_warning(config, caplog, name):
    changes, message = REMARKED[name]
    preflight(changed(config, changes))
    (record,) = caplog.records
    assert re.search(message, record.getMessage())


def test_every_remark_is_tested_here_and_none_is_made_of_the_preset(paper):
    found = [messages(paper, changes, REMARKS).keys() for changes, _ in REMARKED.values()]
    assert messages(paper, {}, REMARKS) == {}
    assert set().union(*found) == set(range(len(REMARKS)))


def test_all_that_is_named_stands_in_one_warning_and_a_plain_run_has_none(config, caplog):
    preflight(config)
    assert not caplog.records
    preflight(changed(config, {f"{ACTOR}.grad_clip": 0.5, f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"}))
    (record,) = caplog.records
    assert "actor_rollout_ref.actor.grad_clip=0.5 is read by nobody" in record.getMessage()
    assert "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean weights" in record.getMessage()
