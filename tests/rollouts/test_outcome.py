"""What a step says about scores that are no verdicts, and about responses that were cut."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.rollouts.outcome import (
    Caps,
    OutcomeWarnings,
    describe_cut,
    describe_scores,
    end_token_ids,
    truncated_rows,
)

CAPS = Caps(response=8, prompt=20, sequence=28)
END, OTHER_END = 7, 9


def ids(*rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Responses padded with an end token, which must not count, and their lengths."""
    longest = max(map(len, rows))
    padded = [row + [END] * (longest - len(row)) for row in rows]
    return torch.tensor(padded), torch.tensor([len(row) for row in rows])


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_scores_of_zero_and_one_need_no_word():
    assert describe_scores(torch.tensor([0.0, 1.0, 1.0]), 0.5, None) == ""
    assert describe_scores(torch.zeros(3), 0.5, "grpo") == ""


def test_other_scores_are_listed_with_their_counts_and_what_becomes_of_them():
    text = describe_scores(torch.tensor([1.0, 0.1, 0.1, 0.7, -1.0, 0.0]), 0.5, None)
    assert "correct_above=0.5" in text
    assert "1 (1 rollouts), 0.7 (1) count as correct" in text
    assert "0.1 (2 rollouts), 0 (1), -1 (1) do not" in text
    assert "earns 1 and the length bonus, any other one 0, whatever its score is" in text


def test_an_estimator_of_verl_takes_the_scores_as_they_are():
    text = describe_scores(torch.tensor([0.1, 0.0]), 0.5, "grpo")
    assert "no rollouts count as correct" in text
    assert "adv_estimator=grpo takes the scores as they are" in text
    assert "earns 1" not in text


def test_many_different_scores_are_summed_up():
    text = describe_scores(torch.arange(20) / 20, 0.5, None)
    assert "9 scores from 0.55 to 0.95 (9 rollouts) count as correct" in text
    assert "11 scores from 0 to 0.5 (11 rollouts) do not" in text


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.5, 0.7, 1.0, 2.0]), min_size=1, max_size=20))
def test_a_word_is_said_exactly_when_a_score_is_not_a_verdict(scores):
    assert bool(describe_scores(torch.tensor(scores), 0.5, None)) == bool(set(scores) - {0.0, 1.0})


def test_what_becomes_of_scores_is_said_once_in_the_first_step_that_has_them(caplog):
    outcomes = OutcomeWarnings(CAPS, 0.5)
    for scores in ([0.0, 1.0], [0.1, 1.0], [0.1, 0.7]):
        outcomes.look_at_scores(torch.tensor(scores))
    (warning,) = said(caplog)
    assert "0.1 (1 rollouts) do not" in warning


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        ([1, 2, END], False),
        ([1, OTHER_END], False),
        ([END], False),
        ([1, 2, 3], True),  # far below the cap, and cut all the same
        ([1, END, 2], True),
        ([1, 2, 3, 4, 5, 6, 8, END], False),
        ([], True),
    ],
)
def test_a_response_is_cut_when_it_does_not_end_in_an_end_token_whatever_its_length(row, cut):
    responses, lengths = ids(row, [1, 2, 3, 4, 5, 6, 8, 8])
    assert truncated_rows(responses, lengths, [END, OTHER_END]).tolist() == [cut, True]


@pytest.mark.parametrize(
    ("configured", "own", "ends"),
    [
        (END, END, [END]),
        ([END, OTHER_END], END, [END, OTHER_END]),
        (OTHER_END, END, [END, OTHER_END]),
        (None, END, [END]),
        (0, None, [0]),
        ([], END, [END]),
    ],
)
def test_a_response_may_end_in_what_the_generation_configuration_or_the_tokenizer_names(
    configured, own, ends
):
    tokenizer = SimpleNamespace(eos_token_id=own)
    assert end_token_ids(tokenizer, SimpleNamespace(eos_token_id=configured)) == ends
    if configured is None:
        assert end_token_ids(tokenizer, None) == ends


def test_a_model_without_an_end_token_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"set eos_token_id in the model's generation_config\.json"):
        end_token_ids(SimpleNamespace(eos_token_id=None), None)


def test_the_cap_that_cut_is_named_with_the_lengths_and_what_to_raise():
    truncated = torch.tensor([True, True, True, True, False])
    lengths = torch.tensor([8, 8, 3, 1, 8])
    prompts = torch.tensor([20, 5, 25, 4, 20])
    text = describe_cut(truncated, lengths, prompts, CAPS)
    assert text.startswith("4 of 5 rollouts were cut before they ended, after 1 to 8 tokens: ")
    assert "2 by data.max_response_length=8 (raise it" in text
    assert (
        "1 by actor_rollout_ref.rollout.max_model_len=28, prompt and response together (raise it to 28"
        in text
    )
    assert "1 by a cap or a stop that this trainer does not know" in text


def test_only_caps_that_cut_are_named():
    rows = torch.tensor([True, True])
    by_response = describe_cut(rows, torch.tensor([8, 8]), torch.tensor([20, 5]), CAPS)
    assert "data.max_response_length=8" in by_response
    assert "prompt and response together" not in by_response
    by_sequence = describe_cut(rows, torch.tensor([4, 3]), torch.tensor([8, 9]), Caps(8, 20, 12))
    assert (
        "2 by actor_rollout_ref.rollout.max_model_len=12, prompt and response together (raise it to 28"
        in (by_sequence)
    )
    assert "max_response_length" not in by_sequence
    unknown = describe_cut(rows, torch.tensor([4, 3]), torch.tensor([8, 9]), Caps(8, 20, None))
    assert "does not know" in unknown


def test_a_step_warns_when_nearly_all_are_cut_and_once_when_some_are_cut_before_their_own_cap(caplog):
    caplog.set_level(logging.WARNING)
    outcomes = OutcomeWarnings(CAPS, 0.5)
    prompts, at_cap = torch.full((4,), 5), torch.full((4,), 8)
    some, all_rows = torch.tensor([True, False, False, False]), torch.ones(4, dtype=torch.bool)
    outcomes.look_at_cuts(some, at_cap, prompts)
    assert said(caplog) == []
    for _ in range(2):
        outcomes.look_at_cuts(some, torch.tensor([3, 8, 8, 8]), prompts)
    assert len(said(caplog)) == 1
    for _ in range(2):
        outcomes.look_at_cuts(all_rows, at_cap, prompts)
    assert len(said(caplog)) == 3
    assert "Hardly anything can be learned." in said(caplog)[-1]
    assert "enable_thinking=False" not in said(caplog)[-1]


def test_thinking_less_is_advised_only_where_the_template_can(caplog):
    rows = torch.ones(2, dtype=torch.bool)
    OutcomeWarnings(CAPS, 0.5, may_think_less=True).look_at_cuts(
        rows, torch.full((2,), 8), torch.full((2,), 5)
    )
    assert "data.apply_chat_template_kwargs.enable_thinking=False" in said(caplog)[0]
