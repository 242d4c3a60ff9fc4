"""Lengths of prompts and solutions against every cap of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig
from verl_egrsd.doctor.lines import CheckLine, doubt, wrong
from verl_egrsd.preflight.reading import plain

THINKING_CAP = 4_096
"""Answers with reasoning are mostly longer than this, in tokens."""


@dataclass(frozen=True)
class LengthsRead:
    """Tokens of the rows that were read.

    Attributes:
        student: of the student's prompts.
        teacher: of the teacher's prompts, room for rollouts included; empty without a teacher.
        solution: of the reference solutions.
    """

    student: Sequence[int]
    teacher: Sequence[int]
    solution: Sequence[int]

    @property
    def privileged(self) -> float:
        """What the teacher reads beyond the student, mean."""
        return max(0.0, mean(self.teacher) - mean(self.student)) if self.teacher else 0.0


def check_thinking(config: DictConfig) -> Iterator[CheckLine]:
    """Yield a doubt where the student thinks in answers too short for it."""
    data = config.data
    thinks = plain(data.get("apply_chat_template_kwargs")).get("enable_thinking")
    if thinks and data.max_response_length < THINKING_CAP:
        yield doubt(
            "lengths",
            f"the student thinks (data.apply_chat_template_kwargs.enable_thinking=true), and "
            f"data.max_response_length={data.max_response_length:,} cuts most answers that do: set it to "
            "16384, as THINKING=1 of a recipe does.",
        )


def compare_lengths(config: DictConfig, teacher: TeacherConfig, lengths: LengthsRead) -> Iterator[CheckLine]:
    """Yield the lengths of the prompts against the caps, and what does not fit."""
    data = config.data
    caps = [
        ("student's prompt", lengths.student, "data.max_prompt_length", data.max_prompt_length),
        (
            "teacher's prompt",
            lengths.teacher,
            "actor_rollout_ref.teacher.max_prompt_length",
            teacher.max_prompt_length,
        ),
    ]
    for what, found, key, cap in caps:
        if found:
            text = f"{what}: {min(found):,} to {max(found):,} tokens, {key}={cap:,}"
            over = sum(length > cap for length in found)
            drops = data.filter_overlong_prompts if what.startswith("student") else teacher.overlong == "drop"
            yield against(text, over, len(found), drops=drops, remedy="Raise the cap, or shorten the rows.")
    yield from _against_the_response(data.max_response_length, lengths.solution)


def against(text: str, over: int, of: int, *, drops: bool, remedy: str) -> CheckLine:
    """Return whether rows fit a cap of tokens.

    Args:
        text: what was compared.
        over: rows that are longer.
        of: rows that were read.
        drops: whether longer rows are left out and not refused.
        remedy: where they are refused, or none is left.
    """
    if not over:
        return CheckLine("lengths", text)
    if drops and over < of:
        return doubt("lengths", f"{text}: {over} of the first {of} rows are longer and are left out.")
    return wrong("lengths", f"{text}: {over} of the first {of} rows are longer. {remedy}")


def _against_the_response(cap: int, solutions: Sequence[int]) -> Iterator[CheckLine]:
    if not solutions:
        return
    longer = sum(length > cap for length in solutions) / len(solutions)
    text = f"reference solutions: mean {mean(solutions):,.0f} tokens, data.max_response_length={cap:,}"
    if longer > 0.5:
        yield doubt("lengths", f"{text}: {longer:.0%} are longer than an answer may be.")
    else:
        yield CheckLine("lengths", text)
