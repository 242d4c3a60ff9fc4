"""Keys of verl that change what the method means: refused, or named in one warning before the start.

There is a rule for every key that adds to, replaces, filters or reweights the rollouts, the advantage, the
loss or the teacher's context. There is also one for every key that seems to do so but is never read. All
other keys of verl are in `other_keys`.

`python -m verl_egrsd.preflight.rules` prints the rules as docs/configuration.md shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig

from verl_egrsd.methods import methods
from verl_egrsd.preflight.reading import PLAIN_LOSS, VERIFIER, loss_mode

Effect = Literal["refused", "named"]
ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{name}" for name in ("actor", "rollout", "model"))
CONTENTS = ["model", "optimizer", "extra"]


@dataclass(frozen=True)
class Rule:
    """The effect of a key whose value is not neutral.

    Attributes:
        key: dotted name; `*` stands for any part of it.
        neutral: values that change nothing.
        does: what another value does; completes "key=value ...".
        remedy: what to do instead.
        effect: "refused", or "named" in the one warning before the start.
        when: whether the rule holds for this configuration.
    """

    key: str
    neutral: tuple[Any, ...]
    does: str
    remedy: str
    effect: Effect = "refused"
    when: Callable[[DictConfig], bool] = lambda _: True

    def message(self, key: str, value: Any) -> str:
        """Return the sentence that names the key, its value, the reason and the remedy."""
        return f"{key}={value} {self.does}: {self.remedy}."


def _named(
    key: str,
    neutral: tuple[Any, ...],
    does: str,
    remedy: str,
    when: Callable[[DictConfig], bool] = lambda _: True,
) -> Rule:
    return Rule(key, neutral, does, remedy, "named", when)


def _own_estimator(config: DictConfig) -> bool:
    return config.algorithm.adv_estimator in methods()


def _plain_loss(config: DictConfig) -> bool:
    return loss_mode(config) == PLAIN_LOSS


OFF = (False, None)
UNSET = (None,)
FALSE = "set it to False"
UNSET_IT = "leave it unset"

RULES: tuple[Rule, ...] = (
    # The trainer.
    Rule(
        "trainer.use_v1",
        (True,),
        "selects verl's legacy trainer, which has no teacher",
        "set trainer.use_v1=True",
    ),
    Rule("trainer.critic_warmup", (0, None), "skips the update of the first steps", "set it to 0"),
    Rule(
        "trainer.v1.sampler.custom_sampler.*",
        UNSET,
        "chooses the rollouts of a step by a rule of its own",
        UNSET_IT,
    ),
    Rule(
        "trainer.v1.sampler.sync_refill_failed_groups",
        OFF,
        "replaces prompts whose rollout failed by others, where this trainer stops and says so",
        FALSE,
    ),
    Rule("skip.*.enable", OFF, "trains on rollouts of an earlier run in place of the student's own", FALSE),
    Rule(
        "actor_rollout_ref.hybrid_engine",
        (True,),
        "is for verl's asynchronous trainer with rollouts elsewhere",
        "set it to True",
    ),
    # The reward and the advantage.
    Rule("algorithm.use_kl_in_reward", OFF, "changes the reward that the advantage is made of", FALSE),
    Rule(
        "algorithm.rollout_correction.bypass_mode",
        OFF,
        "replaces the student's log-probs by the rollout engine's, renormalised over top-k and top-p, so the "
        "ratio would be wrong",
        FALSE,
    ),
    Rule(
        "algorithm.rollout_correction.rollout_is",
        UNSET,
        "reweights tokens after the credit is known",
        "set it to null",
    ),
    Rule(
        "algorithm.rollout_correction.rollout_rs",
        UNSET,
        "masks rows after the credit is known",
        "set it to null",
    ),
    Rule(
        "algorithm.filter_groups.enable",
        OFF,
        "drops prompts whose rollouts all score alike, which is every prompt at one rollout each",
        FALSE,
    ),
    _named(
        "algorithm.use_pf_ppo",
        OFF,
        "would resample the rollouts, but verl reads it with a critic only",
        FALSE,
    ),
    Rule(
        "algorithm.gamma",
        (1, 1.0),
        "is verl's discount, which the methods of this package do not have",
        "leave it unset; the strength of the gate is algorithm.egrsd.gamma",
        when=_own_estimator,
    ),
    _named("algorithm.lam", (1, 1.0), "is read by the estimator gae only", UNSET_IT),
    _named(
        "algorithm.norm_adv_by_std_in_grpo",
        (True,),
        "is read by group-relative estimators of verl only",
        UNSET_IT,
        _own_estimator,
    ),
    Rule("critic.enable", OFF, "adds a critic, which has no place in EGRSD", "leave critic.enable unset"),
    Rule(
        "reward.reward_model.enable",
        OFF,
        "takes the reward from a model, where the method knows right and wrong answers",
        FALSE,
    ),
    Rule(
        "reward.reward_model.enable_resource_pool",
        OFF,
        "keeps GPUs for a reward model, which this method does not use",
        FALSE,
    ),
    Rule(
        "reward.reward_kwargs.overlong_buffer_cfg.enable",
        OFF,
        "subtracts a penalty from the score of long answers, so that a right answer may count as wrong",
        f"{FALSE}; algorithm.egrsd.length_beta rewards short answers",
    ),
    _named(
        "reward.reward_manager.name",
        ("naive", "dapo"),
        "may change the scores on their way to the advantage",
        "set it to naive",
    ),
    _named(
        "reward.reward_manager.source",
        ("register",),
        "loads a reward manager that may change the scores on their way to the advantage",
        "set it to register",
    ),
    _named(
        "reward.custom_reward_function.path",
        (VERIFIER,),
        "decides what is correct in place of this package's verifier; verl's own function (null) knows few "
        "data sources and raises on the others",
        f"set it to {VERIFIER}",
    ),
    _named(
        "reward.sandbox_fusion.url",
        UNSET,
        "runs code from answers, and verl reads it without a custom reward function only",
        UNSET_IT,
    ),
    Rule(
        "custom_reward_function.*",
        UNSET,
        "is a key of verl's older trainers, which its trainer of today does not read",
        "set reward.custom_reward_function.path and .name",
    ),
    Rule(
        "reward_model.*",
        UNSET,
        "is a key of verl's older trainers, which its trainer of today does not read",
        "remove it, or set the key of the same name under reward",
    ),
    Rule(
        "sandbox_fusion.*",
        UNSET,
        "is a key of verl's older trainers, which its trainer of today does not read",
        "remove it",
    ),
    # The loss.
    Rule(f"{ACTOR}.use_kl_loss", OFF, "adds a KL term to the loss, which the method does not have", FALSE),
    Rule(
        f"{ACTOR}.entropy_coeff",
        (0, 0.0, None),
        "adds an entropy bonus to the loss, which the method does not have",
        "set it to 0",
    ),
    Rule(
        "distillation.enabled",
        OFF,
        "adds verl's own distillation loss from another teacher",
        "set it to False; the teacher of this method is actor_rollout_ref.teacher",
    ),
    _named(
        f"{ACTOR}.loss_agg_mode",
        ("token-mean",),
        "weights tokens by the length of their answer or the size of the batch, where the method takes the "
        "mean over tokens",
        "set it to token-mean",
    ),
    _named(
        f"{ACTOR}.loss_scale_factor",
        UNSET,
        "scales the loss under loss_agg_mode=seq-mean-token-sum-norm only",
        UNSET_IT,
    ),
    *(
        _named(
            f"{ACTOR}.{name}",
            (default,),
            "is not read by the loss egrsd, which has no importance ratio",
            "leave it unset, or set actor_rollout_ref.actor.policy_loss.loss_mode=egrsd_ppo_clip",
            _plain_loss,
        )
        for name, default in (
            ("clip_ratio", 0.2),
            ("clip_ratio_low", 0.2),
            ("clip_ratio_high", 0.2),
            ("clip_ratio_c", 3.0),
        )
    ),
    _named(
        f"{ACTOR}.grad_clip",
        (1, 1.0),
        "is read by nobody",
        "set actor_rollout_ref.actor.optim.clip_grad, which is",
    ),
    _named(
        f"{ACTOR}.fsdp_config.model_dtype",
        ("fp32", "float32"),
        "keeps the trained weights in a precision in which small steps vanish",
        "set it to fp32; the forward pass is bfloat16 anyway",
    ),
    # The student: its weights.
    Rule(
        f"{MODEL}.lora.adapter_path",
        UNSET,
        "is read by verl's Megatron engine only, so training would not start from the adapter",
        "merge the adapter into the model and name that in actor_rollout_ref.model.path",
    ),
    Rule(
        f"{MODEL}.lora.rank",
        (0, None),
        "is read by verl's Megatron engine only: FSDP would train all weights while the rest of verl takes "
        "the run for LoRA",
        "set actor_rollout_ref.model.lora_rank (and lora_alpha) and leave this one at 0",
    ),
    *(
        _named(
            f"{MODEL}.lora.{name}",
            (default,),
            "is read by verl's Megatron engine only",
            f"set {remedy}" if remedy else UNSET_IT,
        )
        for name, default, remedy in (
            ("alpha", 32, "actor_rollout_ref.model.lora_alpha"),
            ("dropout", 0.0, ""),
            ("dtype", None, ""),
            ("type", "lora", ""),
            (
                "target_modules",
                ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"],
                "actor_rollout_ref.model.target_modules",
            ),
            ("exclude_modules", [], "actor_rollout_ref.model.exclude_modules"),
        )
    ),
    Rule(
        f"{MODEL}.mtp.enable_train",
        OFF,
        "adds a loss for further tokens, which the method does not have",
        FALSE,
    ),
    Rule(
        f"{ACTOR}.qat.enable",
        OFF,
        "trains quantised weights, which teacher and rollout engine would not share",
        FALSE,
    ),
    Rule(
        f"{ACTOR}.fsdp_config.qat.enable",
        OFF,
        "trains quantised weights, which teacher and rollout engine would not share",
        FALSE,
    ),
    Rule(
        "actor_rollout_ref.ref.fsdp_config.qat.enable",
        OFF,
        "quantises the teacher",
        FALSE,
    ),
    Rule(
        "actor_rollout_ref.ref.model.*",
        UNSET,
        "names another teacher, which verl ignores: the teacher is the model that training starts from",
        "remove it",
    ),
    Rule(
        f"{ACTOR}.checkpoint.save_contents",
        (CONTENTS, [*CONTENTS, "hf_model"], ["hf_model", *CONTENTS]),
        "leaves out weights, optimiser or schedule, without which a run cannot be resumed or exported",
        f"set it to {CONTENTS}".replace("'", ""),
        when=lambda c: not set(CONTENTS) <= set(c.actor_rollout_ref.actor.checkpoint.save_contents),
    ),
    Rule(
        f"{ACTOR}.checkpoint.load_contents",
        (CONTENTS, [*CONTENTS, "hf_model"], ["hf_model", *CONTENTS]),
        "leaves out weights, optimiser or schedule when a run is resumed, or asks for what is not saved",
        f"set it and save_contents to {CONTENTS}".replace("'", ""),
        when=lambda c: not set(CONTENTS) <= set(c.actor_rollout_ref.actor.checkpoint.load_contents),
    ),
    Rule(
        f"{ACTOR}.checkpoint.async_save",
        OFF,
        "is for verl's Megatron engine, and verl then notes no checkpoint to resume from",
        FALSE,
    ),
    # The rollouts.
    Rule(
        f"{ROLLOUT}.multi_turn.enable",
        OFF,
        "makes rollouts with holes in their response mask, which the lookahead does not define",
        FALSE,
    ),
    *(
        Rule(
            key,
            UNSET,
            "puts tools into the student's prompt, which the teacher's does not have",
            UNSET_IT,
        )
        for key in (
            f"{ROLLOUT}.multi_turn.tool_config_path",
            f"{ROLLOUT}.multi_turn.function_tool_path",
            "data.tool_config_path",
            "data.function_tool_path",
        )
    ),
    Rule(
        f"{ROLLOUT}.agent.default_agent_loop",
        ("single_turn_agent",),
        "makes rollouts of several turns or with other prompts, which the teacher does not see",
        "set it to single_turn_agent",
    ),
    *(
        Rule(f"{ROLLOUT}.agent.{name}", UNSET, "replaces the way in which verl makes rollouts", UNSET_IT)
        for name in (
            "agent_loop_config_path",
            "agent_loop_manager_class",
            "custom_async_server.path",
            "custom_async_server.name",
        )
    ),
    Rule(f"{ROLLOUT}.ignore_eos", OFF, "lets every answer run on to the cap, past its end", FALSE),
    Rule(f"{ROLLOUT}.over_sample_rate", (0, 0.0), "leaves out the slowest rollouts", "set it to 0"),
    Rule(
        f"{ROLLOUT}.enable_rollout_routing_replay",
        OFF,
        "replays the rollout's choice of experts for the student, but not for the teacher",
        FALSE,
    ),
    _named(
        f"{ROLLOUT}.quantization",
        UNSET,
        "takes the rollouts from quantised weights, and nothing corrects for the difference",
        UNSET_IT,
    ),
    _named(
        f"{ROLLOUT}.do_sample",
        (True,),
        "is read by nobody: rollouts are sampled at rollout.temperature",
        "leave it unset; rollout.top_k=1 is greedy",
    ),
    _named(
        f"{ROLLOUT}.repetition_penalty",
        (1, 1.0),
        "is read by nobody: verl samples with 1.0",
        UNSET_IT,
    ),
    *(
        _named(
            f"{ROLLOUT}.engine_kwargs.*.{name}",
            UNSET,
            "changes what the rollout engine samples from behind verl's back",
            "remove it",
        )
        for name in (
            "generation_config",
            "override_generation_config",
            "hf_overrides",
            "logits_processors",
            "quantization",
        )
    ),
    # The data.
    _named(
        "data.reward_fn_key",
        ("data_source",),
        "is read by nobody: verl takes the column data_source",
        UNSET_IT,
    ),
    _named(
        "data.truncation",
        ("error",),
        "is read by nobody: a prompt above data.max_prompt_length is an error, or left out",
        "set data.filter_overlong_prompts",
    ),
)
"""All rules, in order; the first refusal ends the check."""


def rule_rows() -> list[tuple[str, str, str, str, str]]:
    """Return the rules as the rows of a table: key, neutral values, effect, what it does, remedy."""
    return [(r.key, _values(r.neutral), r.effect, r.does, r.remedy) for r in RULES]


def _values(neutral: tuple[Any, ...]) -> str:
    names = {None: "null", True: "true", False: "false"}
    shown = [names[v] if v is None or isinstance(v, bool) else str(v).replace("'", "") for v in neutral]
    return ", ".join(shown)


if __name__ == "__main__":
    for key, neutral, effect, does, remedy in rule_rows():
        print(f"| `{key}` | `{neutral}` | {effect} | {does}: {remedy} |")
