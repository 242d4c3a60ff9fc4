"""Outcome of a step's rollouts: their scores, which of them were truncated, and by which cap."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

logger = logging.getLogger(__name__)

TOO_MANY_TRUNCATED = 0.9
"""A step warns if a larger share of its rollouts was truncated."""
SHOWN_SCORES = 8
"""Largest number of different scores that a message lists."""


def describe_scores(scores: Float[Tensor, " batch"], correct_above: float, estimator: str | None) -> str:
    """Return a message about scores other than 0 and 1; "" if there are none.

    Args:
        scores: finite scores of the valid rows, as the reward function gave them.
        correct_above: `algorithm.egrsd.correct_above`.
        estimator: the estimator of verl that takes the scores as they are; None for one of this package.
    """
    if torch.isin(scores, torch.tensor([0.0, 1.0])).all():
        return ""
    right = scores > correct_above
    if estimator is None:
        use = "A correct answer earns 1 and the length bonus, any other one 0, whatever its score is"
    else:
        use = f"algorithm.adv_estimator={estimator} takes the scores as they are; egrsd/correct does not"
    return (
        "the reward function gives scores other than 0 and 1. An answer is correct above "
        f"algorithm.egrsd.correct_above={correct_above:g}: {_listed(scores[right])} count as correct, "
        f"{_listed(scores[~right])} do not. {use}: set correct_above to what separates right answers from "
        "wrong ones in your scores."
    )


def _listed(scores: Tensor) -> str:
    """Return the different scores and how many rollouts have them, such as `0.1 (12 rollouts), 0 (3)`."""
    values, counts = scores.unique(return_counts=True)
    if not len(values):
        return "no rollouts"
    if len(values) > SHOWN_SCORES:
        return f"{len(values)} scores from {values[0]:g} to {values[-1]:g} ({len(scores)} rollouts)"
    pairs = zip(values.flip(0).tolist(), counts.flip(0).tolist(), strict=True)
    (first, rows), *others = pairs
    return ", ".join([f"{first:g} ({rows} rollouts)", *(f"{value:g} ({count})" for value, count in others)])


def end_token_ids(tokenizer: Any, generation_config: Any) -> list[int]:
    """Return the tokens that end a response: those of the generation configuration and the tokenizer's own.

    vLLM stops at each of them; verl passes no other stop to it.

    Raises:
        ValueError: when neither names one.
    """
    named = getattr(generation_config, "eos_token_id", None)
    ids = {*([named] if isinstance(named, int) else named or []), tokenizer.eos_token_id} - {None}
    if not ids:
        raise ValueError(
            "neither the generation configuration nor the tokenizer of the model names an end token, so "
            "every response would be cut: set eos_token_id in the model's generation_config.json."
        )
    return sorted(ids)


def truncated_rows(
    responses: Int[Tensor, "batch time"], lengths: Int[Tensor, " batch"], ends: Sequence[int]
) -> Bool[Tensor, " batch"]:
    """Return which responses were truncated, for any reason: those that do not end in an end token.

    Args:
        responses: token ids, padded on the right.
        lengths: tokens of each response; an empty one counts as truncated.
        ends: see :func:`end_token_ids`.
    """
    last = responses.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    return (lengths == 0) | ~torch.isin(last, torch.tensor(ends))


@dataclass(frozen=True)
class Caps:
    """The limits that can truncate a response, in tokens.

    Attributes:
        response: `data.max_response_length`.
        prompt: `data.max_prompt_length`, the longest prompt.
        sequence: `rollout.max_model_len`, prompt and response together; None: the model's own.
    """

    response: int
    prompt: int
    sequence: int | None


class OutcomeWarnings:
    """Warns about the outcomes of a run's steps; a warning that holds for the whole run is given once.

    Args:
        caps: of the run.
        correct_above: `algorithm.egrsd.correct_above`.
        estimator: the estimator of verl that takes the scores as they are; None for one of this package.
        may_think_less: whether the chat template lets the student think less than it does.
    """

    def __init__(
        self, caps: Caps, correct_above: float, estimator: str | None = None, *, may_think_less: bool = False
    ) -> None:
        self.caps, self.correct_above, self.estimator = caps, correct_above, estimator
        self.may_think_less = may_think_less
        self._said: set[str] = set()

    def look_at_scores(self, scores: Float[Tensor, " batch"]) -> None:
        """Warn once about scores other than 0 and 1."""
        said = describe_scores(scores, self.correct_above, self.estimator)
        if said:
            self._warn_once("scores", said)

    def look_at_cuts(
        self,
        truncated: Bool[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        prompt_lengths: Int[Tensor, " batch"],
    ) -> None:
        """Name the cap that truncated nearly all responses; warn once if another limit truncated some."""
        many = float(truncated.float().mean()) > TOO_MANY_TRUNCATED
        if not many and not (truncated & (lengths < self.caps.response)).any():
            return
        said = describe_cut(truncated, lengths, prompt_lengths, self.caps)
        if not many:
            self._warn_once("cut short", said)
            return
        less = " Or let the student think less: data.apply_chat_template_kwargs.enable_thinking=False."
        logger.warning("%s Hardly anything can be learned.%s", said, less if self.may_think_less else "")

    def _warn_once(self, what: str, said: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning(said)


def describe_cut(
    truncated: Bool[Tensor, " batch"],
    lengths: Int[Tensor, " batch"],
    prompt_lengths: Int[Tensor, " batch"],
    caps: Caps,
) -> str:
    """Return which cap truncated how many responses, how long they were, and what to raise.

    Args:
        truncated: which responses were truncated, at least one.
        lengths: tokens of each response.
        prompt_lengths: tokens of each prompt.
        caps: of the run.
    """
    short = truncated & (lengths < caps.response)
    # SGLang keeps one place of its sequence free.
    full = short & (lengths + prompt_lengths >= (caps.sequence or 2**62) - 1)
    causes = {
        f"data.max_response_length={caps.response} (raise it, and with it "
        f"actor_rollout_ref.rollout.max_model_len={caps.sequence} if you set that)": truncated & ~short,
        f"actor_rollout_ref.rollout.max_model_len={caps.sequence}, prompt and response together (raise it to "
        f"{caps.prompt + caps.response} or leave it unset)": full,
        "a cap or a stop that this trainer does not know (look at the settings and messages of the rollout "
        "engine)": short & ~full,
    }
    said = [f"{int(rows.sum())} by {cause}" for cause, rows in causes.items() if rows.any()]
    seen = lengths[truncated]
    return (
        f"{int(truncated.sum())} of {len(truncated)} rollouts were cut before they ended, after "
        f"{int(seen.min())} to {int(seen.max())} tokens: {'; '.join(said)}."
    )
