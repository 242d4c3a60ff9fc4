"""Notes on dropped rows that the user may have wanted: their number, an example, the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from data_prep.lengths import UNRENDERED
from data_prep.stages import Stage

_REASONS = 5
"""Most reasons that a note lists; the card's table of stages lists all."""


class Remark(NamedTuple):
    """A note about rows that a stage dropped for one kind of reason.

    Attributes:
        stage: the stage.
        concerns: whether a reason is of this kind.
        text: describes the rows; follows their number.
        remedy: how to keep them.
    """

    stage: str
    concerns: Callable[[str], bool]
    text: str
    remedy: str


_REMARKS = (
    Remark(
        "select",
        lambda reason: reason.startswith("domain "),
        "rows belong to other domains than mathematics",
        "--domain any keeps them",
    ),
    Remark(
        "select",
        lambda reason: reason == "no solution",
        "rows hold no solution",
        "--template answer_only keeps them and shows the teacher the answer alone",
    ),
    Remark(
        "select",
        lambda reason: reason.startswith("holds "),
        "rows hold a value that is not text",
        "write it as text, or name another column with --columns",
    ),
    Remark(
        "solution",
        lambda reason: reason.startswith("holds "),
        "rows hold an answer that is not text",
        "write it as text, or name another column with --columns",
    ),
    Remark(
        "answer",
        lambda reason: reason == "no final answer",
        "rows have no final answer, neither a separate one nor a \\boxed{} or #### in the solution",
        "name the column that holds it with --columns answer=NAME",
    ),
    Remark(
        "verify",
        lambda reason: reason == "no_answer",
        "rows have a separate answer, but no \\boxed{} or #### in the solution to compare with it",
        "--no-answer keep keeps them, unverified",
    ),
    Remark(
        "lengths",
        lambda reason: reason == UNRENDERED,
        "rows cannot be rendered",
        "rewrite them, or pass the tokenizer of another model",
    ),
)


def remarks(stages: Mapping[str, Stage]) -> list[str]:
    """Return a note for each kind of dropped rows that the user may have wanted."""
    return [text for remark in _REMARKS for text in _sentences(remark, stages[remark.stage])]


def _sentences(remark: Remark, stage: Stage) -> Iterator[str]:
    counts = {reason: count for reason, count in stage.dropped.most_common() if remark.concerns(reason)}
    if counts:
        first = stage.examples[next(iter(counts))]
        listed = _listed(list(counts.items()))
        yield f"{sum(counts.values()):,} {remark.text} ({listed}; the first is {first}): {remark.remedy}."


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    rest = sum(count for _, count in counts[_REASONS:])
    named = [f"{reason} {count:,}" for reason, count in counts[:_REASONS]]
    return ", ".join([*named, f"others {rest:,}"] if rest else named)
