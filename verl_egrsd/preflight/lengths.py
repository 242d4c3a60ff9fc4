"""Caps of tokens that must fit each other, so that no cap shortens what another one allows.

verl clamps in silence. Its servers generate at most `max_model_len` minus the prompt, even if the cap of the
response is larger, and cut the prompt on the left to `rollout.prompt_length`. An answer that ends there has
no end token and is shorter than the cap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.config import TeacherConfig
from verl_egrsd.methods import Method
from verl_egrsd.preflight.reading import model_facts

TOKENS_PER_GPU = 20_000
"""Default tokens of a micro-batch: the paper's cap of a sequence."""


def settle_lengths(config: DictConfig) -> None:
    """Fill in unset caps, so that the longest prompt with the longest answer fits.

    `rollout.max_model_len` becomes the sum of both lengths (one more for SGLang, which keeps one place free),
    and `actor.ppo_max_token_len_per_gpu` at least this sum.
    """
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    if rollout.max_model_len is None:
        rollout.max_model_len = _served(config)
    if actor.ppo_max_token_len_per_gpu is None:
        actor.ppo_max_token_len_per_gpu = max(TOKENS_PER_GPU, -(-_longest(config) // _ranks(config)))


def check_lengths(config: DictConfig, method: Method, teacher: TeacherConfig) -> None:
    """Refuse caps that contradict each other.

    Raises:
        ValueError: with the numbers and what to raise, lower or leave unset.
    """
    data, rollout = config.data, config.actor_rollout_ref.rollout
    prompt, response = data.max_prompt_length, data.max_response_length
    if rollout.response_length != response:
        raise ValueError(
            f"actor_rollout_ref.rollout.response_length={rollout.response_length} differs from "
            f"data.max_response_length={response}: one is where answers end, the other where they count as "
            "truncated. Leave rollout.response_length unset."
        )
    if rollout.prompt_length < prompt:
        raise ValueError(
            f"actor_rollout_ref.rollout.prompt_length={rollout.prompt_length} is below "
            f"data.max_prompt_length={prompt}: verl would cut longer prompts on the left. Leave "
            "rollout.prompt_length unset."
        )
    for key, length, needed in _caps(config):
        if length < needed:
            raise ValueError(
                f"{key}={length} is below the {needed} tokens of the longest sequence "
                f"(data.max_prompt_length={prompt}, data.max_response_length={response}): raise it to "
                f"{needed}, leave it unset, or lower one of the two."
            )
    context = model_context(config)
    if context is not None:
        _check_context(config, context, teacher if method.uses_teacher else None)


def model_context(config: DictConfig) -> int | None:
    """Return the number of positions of the model, in tokens; None if its `config.json` is not on this
    machine.
    """
    positions = model_facts(config).get("max_position_embeddings")
    return positions if isinstance(positions, int) else None


def _check_context(config: DictConfig, context: int, teacher: TeacherConfig | None) -> None:
    path, served = config.actor_rollout_ref.model.path, config.actor_rollout_ref.rollout.max_model_len
    response = config.data.max_response_length
    if served > context:
        raise ValueError(
            f"actor_rollout_ref.rollout.max_model_len={served} is above the {context} positions of {path}: "
            f"lower data.max_prompt_length={config.data.max_prompt_length} or "
            f"data.max_response_length={response}."
        )
    if teacher is not None and teacher.max_prompt_length + response > context:
        raise ValueError(
            f"actor_rollout_ref.teacher.max_prompt_length={teacher.max_prompt_length} and "
            f"data.max_response_length={response} together are above the {context} positions of {path}: the "
            f"teacher would score beyond its positions. Set actor_rollout_ref.teacher.max_prompt_length="
            f"{context - response} or less."
        )


def _caps(config: DictConfig) -> Iterator[tuple[str, int, int]]:
    """Yield key, value and smallest allowed value of every cap that must hold a whole sequence."""
    section, longest, served = config.actor_rollout_ref, _longest(config), _served(config)
    if config.data.get("max_sequence_length") is not None:
        yield "data.max_sequence_length", config.data.max_sequence_length, served
    yield "actor_rollout_ref.rollout.max_model_len", section.rollout.max_model_len, served
    for key in (f"actor_rollout_ref.rollout.engine_kwargs.{section.rollout.name}.max_model_len",):
        given: Any = OmegaConf.select(config, key)
        if given is not None:
            yield key, given, served
    if section.actor.use_dynamic_bsz:
        least = -(-longest // _ranks(config))
        yield (
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu",
            section.actor.ppo_max_token_len_per_gpu,
            least,
        )
        key = "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu"
        yield key, section.rollout.log_prob_max_token_len_per_gpu, least


def _longest(config: DictConfig) -> int:
    return config.data.max_prompt_length + config.data.max_response_length


def _served(config: DictConfig) -> int:
    return _longest(config) + (config.actor_rollout_ref.rollout.name == "sglang")


def _ranks(config: DictConfig) -> int:
    """Return the number of ranks that share a sequence; verl multiplies the cap of a micro-batch by it."""
    actor = config.actor_rollout_ref.actor
    return max(
        actor.get("ulysses_sequence_parallel_size", 1), actor.fsdp_config.ulysses_sequence_parallel_size
    )
