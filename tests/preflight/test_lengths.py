"""Caps of tokens: those left open follow the longest sequence, and those that contradict it are refused."""

import json

import pytest
from omegaconf import OmegaConf, open_dict

from tests.support.composing import PAPER, composed
from verl_egrsd.config import TeacherConfig
from verl_egrsd.methods import resolve
from verl_egrsd.preflight.lengths import check_lengths, model_context, settle_lengths

ROLLOUT, ACTOR = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"
LONGEST = 2048 + 1024


def paper(*overrides):
    """The paper's settings with overrides, as they are composed."""
    return composed(*PAPER, *overrides)


def settled(*overrides):
    config = paper(*overrides)
    settle_lengths(config)
    check(config)
    return config


def check(config, teacher=None):
    method = resolve("egrsd", max_response_length=config.data.max_response_length)
    check_lengths(config, method, teacher or TeacherConfig(max_prompt_length=4096))


@pytest.mark.parametrize("response", [1024, 4096, 16384, 30000])
def test_a_raised_response_cap_raises_every_cap_that_depends_on_it(response):
    config = settled(f"data.max_response_length={response}")
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    assert rollout.max_model_len == 2048 + response
    assert rollout.response_length == response
    assert actor.ppo_max_token_len_per_gpu == max(20_000, 2048 + response)
    assert rollout.log_prob_max_token_len_per_gpu == actor.ppo_max_token_len_per_gpu


def test_sglang_keeps_one_place_more_than_the_longest_sequence():
    assert settled(f"{ROLLOUT}.name=sglang").actor_rollout_ref.rollout.max_model_len == LONGEST + 1


def test_a_cap_of_ones_own_that_is_long_enough_stays():
    assert settled("data.max_sequence_length=9000").actor_rollout_ref.rollout.max_model_len == 9000
    assert settled(f"{ROLLOUT}.max_model_len=8000").actor_rollout_ref.rollout.max_model_len == 8000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [f"{ROLLOUT}.max_model_len=4096", "data.max_response_length=8192"],
            r"rollout\.max_model_len=4096 is below the 10240 tokens .*data\.max_prompt_length=2048, "
            r"data\.max_response_length=8192\): raise it to 10240, leave it unset",
        ),
        (
            ["data.max_sequence_length=3071"],
            r"data\.max_sequence_length=3071 is below the 3072 tokens of the longest sequence",
        ),
        (
            [f"{ROLLOUT}.response_length=512"],
            r"rollout\.response_length=512 differs from data\.max_response_length=1024: .*Leave .* unset",
        ),
        (
            [f"{ROLLOUT}.prompt_length=512"],
            r"rollout\.prompt_length=512 is below data\.max_prompt_length=2048: .*cut .*on the left",
        ),
        (
            [f"{ACTOR}.ppo_max_token_len_per_gpu=3071"],
            r"actor\.ppo_max_token_len_per_gpu=3071 is below the 3072 tokens",
        ),
        (
            [f"{ROLLOUT}.log_prob_max_token_len_per_gpu=1000"],
            r"rollout\.log_prob_max_token_len_per_gpu=1000 is below the 3072 tokens",
        ),
        (
            [f"+{ROLLOUT}.engine_kwargs.vllm.max_model_len=2000"],
            r"engine_kwargs\.vllm\.max_model_len=2000 is below the 3072 tokens",
        ),
    ],
)
def test_caps_that_contradict_each_other_are_refused_with_the_numbers(overrides, message):
    with pytest.raises(ValueError, match=message):
        settled(*overrides)


def test_ranks_that_share_a_sequence_share_its_tokens():
    config = settled(f"{ACTOR}.ulysses_sequence_parallel_size=4", f"{ACTOR}.ppo_max_token_len_per_gpu=768")
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu * 4 == LONGEST


def with_model(folder, positions, nested=False):
    """The paper's settings with a local model of so many positions."""
    facts = {"max_position_embeddings": positions}
    (folder / "config.json").write_text(json.dumps({"text_config": facts} if nested else facts))
    config = paper()
    with open_dict(config):
        OmegaConf.update(config, "actor_rollout_ref.model.path", str(folder))
    settle_lengths(config)
    return config


def test_sequences_above_the_positions_of_the_model_are_refused(tmp_path):
    config = with_model(tmp_path, 2048)
    with pytest.raises(
        ValueError, match=r"max_model_len=3072 is above the 2048 positions of .*: lower data\."
    ):
        check(config)


def test_a_teacher_that_could_not_read_its_prompt_is_refused(tmp_path):
    config = with_model(tmp_path, 4096)
    with pytest.raises(
        ValueError, match=r"teacher\.max_prompt_length=4096 and .*4096 positions .*Set .*=3072"
    ):
        check(config)
    check(config, TeacherConfig(max_prompt_length=3072))


def test_without_a_teacher_its_cap_does_not_matter(tmp_path):
    config = with_model(tmp_path, 4096)
    off = resolve("direction", max_response_length=1024)
    check_lengths(config, off, TeacherConfig(max_prompt_length=9999))


def test_the_positions_of_a_model_are_read_from_its_folder_or_are_not_known(tmp_path):
    assert model_context(with_model(tmp_path, 4096, nested=True)) == 4096
    assert model_context(paper("actor_rollout_ref.model.path=nobody/has-this-model")) is None
    raised = "+actor_rollout_ref.model.override_config.max_position_embeddings=131072"
    assert model_context(paper(raised)) == 131072
