"""The known schemas of raw rows, recognised by their columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from data_prep.named import suggested_flag, top_column
from data_prep.readers import (
    Raw,
    Reader,
    answer_column,
    assistant_reasoning,
    assistant_solution,
    column,
    conversation_problem,
    named_problem,
    named_reasoning,
    named_solution,
    nothing,
    reasoning_column,
    solution_column,
    text,
    verl_problem,
    verl_solution,
)
from data_prep.rows import without_marks
from verl_egrsd.reward.answer import BOX, own_answer

SolutionPart = Literal["concise", "reasoning"]


@dataclass(frozen=True)
class Exercise:
    """A problem with its reference solution, on its way from a raw row to verl's parquet.

    Attributes:
        index: position of the row in the source, from 0.
        source: where the row comes from: the origin that the data names, else the source that was read.
        problem: text of the problem.
        solution: the solution for the teacher's prompt, "" if the data holds none.
        own_answer: the final answer of the solution, "" if it has none.
        ground_truth: the answer that the data states apart from the solution, "" if it states none.
        normalised: the problem as :func:`data_prep.rows.normalise_problem` spells it, used to compare rows.
        answer: the final answer for the reward, "" until it is chosen.
        verified: whether the solution's own answer equals a separate ground truth.
    """

    index: int
    source: str
    problem: str
    solution: str
    own_answer: str
    ground_truth: str
    normalised: str
    answer: str = ""
    verified: bool = False


@dataclass(frozen=True)
class Schema:
    """A schema: which columns hold which part of a row.

    Attributes:
        name: as reported.
        columns: columns that every row of this schema has; they identify it.
        also: further columns that are read if they exist.
        reasoning_columns: columns that are read only if the long reasoning is requested.
        problem: text of the problem.
        solution: the concise solution, with its final answer; :func:`nothing` if the schema has no solutions.
        ground_truth: the answer that is stated apart from the solution, "" without one.
        reasoning: the long reasoning trace; None if the schema has none.
        shown: returns the part of a concise solution that the teacher is shown.
        domain: columns that may name the domain; the first filled one counts.
        source: columns that may say where a row comes from; the first filled one counts.
        mixes_domains: whether rows of several domains occur without a column that tells them apart.
        fits: whether a row with these columns has this schema.
        may_lack_solutions: whether a source with these columns may hold no solution at all.
    """

    name: str
    columns: tuple[str, ...]
    problem: Reader
    solution: Reader
    ground_truth: Reader
    reasoning: Reader | None = None
    shown: Callable[[str], str] = str
    also: tuple[str, ...] = ()
    reasoning_columns: tuple[str, ...] = ()
    domain: tuple[str, ...] = ("domain",)
    source: tuple[str, ...] = ("source",)
    mixes_domains: bool = False
    fits: Callable[[Raw], bool] = lambda raw: True
    may_lack_solutions: bool = False

    def columns_read(self, reference: SolutionPart) -> tuple[str, ...]:
        """Return the columns to read; leaving the reasoning out saves nine tenths of the bytes."""
        shared = (*self.columns, *self.also, *self.domain, *self.source)
        return (*shared, *self.reasoning_columns) if reference == "reasoning" else shared


def choose_schema(sample: Sequence[Raw], named: Mapping[str, str] | None = None) -> Schema:
    """Return the schema of a source whose first rows these are.

    Args:
        sample: the first rows; a column counts when one of them has it.
        named: columns by role, a key of :data:`data_prep.named.ROLES`; None to recognise all of them.

    Raises:
        ValueError: as :func:`recognise`, and for a named column that no row has.
    """
    columns = list(dict.fromkeys(name for row in sample for name in row))
    if not named:
        return recognise(columns, sample)
    if missing := [
        name for name in named.values() if name not in columns and top_column(name) not in columns
    ]:
        raise ValueError(
            f"--columns names {', '.join(missing)}, which the source lacks. Columns found: "
            f"{', '.join(columns) or 'none'}."
        )
    return with_columns(None if "problem" in named else recognise(columns, sample), named)


def recognise(columns: Collection[str], sample: Sequence[Raw] = ()) -> Schema:
    """Return the schema of a source with these columns.

    Args:
        columns: columns found.
        sample: a few rows, which decide between forms with equal columns.

    Raises:
        ValueError: for unknown columns, listing the columns found, the known schemas, and the flag to use.
    """
    for schema in SCHEMAS:
        if set(schema.columns) <= set(columns) and (not sample or any(map(schema.fits, sample))):
            says_domain = not set(schema.domain).isdisjoint(columns)
            return replace(schema, mixes_domains=schema.mixes_domains and not says_domain)
    known = "; ".join(f"{schema.name} ({', '.join(schema.columns)})" for schema in SCHEMAS)
    raise ValueError(
        f"the source's schema is unknown. Columns found: {', '.join(columns) or 'none'}. Name those that "
        f"hold the parts of a row: {suggested_flag(columns)}. Schemas known: {known}."
    )


def with_columns(schema: Schema | None, named: Mapping[str, str]) -> Schema:
    """Return the schema that `--columns` describes.

    Args:
        schema: the recognised schema, which gives the parts that are not named; None if the problem is named:
            then only named columns are read.
        named: columns by role, a key of :data:`data_prep.named.ROLES`.
    """
    base = schema or Schema("named columns", (), nothing, nothing, nothing, may_lack_solutions=True)
    readers: dict[str, dict[str, Callable[[str], Reader]]] = {
        "problem": {"problem": named_problem},
        "solution": {"solution": named_solution, "reasoning": named_reasoning},
        "answer": {"ground_truth": answer_column},
        "reasoning": {"reasoning": column},
    }
    parts: dict[str, Any] = {
        part: make(named[role]) for role in readers if role in named for part, make in readers[role].items()
    }
    if "solution" in named:
        parts |= {"shown": without_marks, "may_lack_solutions": False}
    if "domain" in named:
        parts |= {"domain": (named["domain"],), "mixes_domains": False}
    if "source" in named:
        parts["source"] = (named["source"],)
    return replace(base, also=(*base.also, *named.values(), *map(top_column, named.values())), **parts)


def _is_worked(raw: Raw) -> bool:
    """Whether GSM8K's column `answer` holds a worked solution and not a bare value."""
    answer = raw.get("answer")
    return isinstance(answer, str) and ("####" in answer or BOX in answer)


_ANSWERS = ("Answer", "answer", "final_answer", "expected_answer", "ground_truth", "reference_answer")

SCHEMAS: tuple[Schema, ...] = (
    Schema(
        "verl",
        columns=("prompt", "reward_model"),
        problem=verl_problem,
        solution=verl_solution,
        ground_truth=answer_column("reward_model.ground_truth"),
        also=("extra_info",),
        shown=without_marks,
        domain=("ability",),
        source=("data_source",),
        may_lack_solutions=True,
    ),
    Schema(
        "OpenThoughts-114k metadata",
        columns=("problem", "deepseek_solution", "domain"),
        problem=column("problem"),
        solution=column("deepseek_solution"),
        ground_truth=lambda raw: own_answer(text(raw, "ground_truth_solution")),
        reasoning=column("deepseek_reasoning"),
        also=("ground_truth_solution",),
        reasoning_columns=("deepseek_reasoning",),
    ),
    Schema(
        "DeepMath",
        columns=("question", "final_answer", "r1_solution_1"),
        problem=column("question"),
        solution=solution_column("r1_solution_1", "r1_solution_2", "r1_solution_3", is_response=True),
        ground_truth=answer_column("final_answer"),
        reasoning=reasoning_column("r1_solution_1", "r1_solution_2", "r1_solution_3", is_response=True),
        also=("r1_solution_2", "r1_solution_3"),
    ),
    Schema(
        "s1K",
        columns=("question", "solution", "cot_type"),
        problem=column("question"),
        solution=column("deepseek_attempt", "gemini_attempt", "attempt"),
        ground_truth=lambda raw: own_answer(text(raw, "solution")) or answer_column("solution")(raw),
        reasoning=column(
            "deepseek_thinking_trajectory", "gemini_thinking_trajectory", "thinking_trajectories"
        ),
        also=("deepseek_attempt", "gemini_attempt", "attempt"),
        reasoning_columns=(
            *("deepseek_thinking_trajectory", "gemini_thinking_trajectory", "thinking_trajectories"),
        ),
        domain=("cot_type",),
        source=("source_type",),
    ),
    Schema(
        "OpenMathReasoning",
        columns=("problem", "generated_solution", "expected_answer"),
        problem=column("problem"),
        solution=solution_column("generated_solution", is_response=True),
        ground_truth=answer_column("expected_answer"),
        reasoning=reasoning_column("generated_solution", is_response=True),
        source=("problem_source",),
    ),
    Schema(
        "problem and solution",
        columns=("problem", "solution"),
        problem=column("problem"),
        solution=solution_column("solution"),
        ground_truth=answer_column(*_ANSWERS),
        reasoning=column("COT_Reason"),
        also=_ANSWERS,
        reasoning_columns=("COT_Reason",),
    ),
    Schema(
        "OpenThoughts-114k default",
        columns=("conversations",),
        problem=conversation_problem("conversations"),
        solution=assistant_solution("conversations", needs_marks=True),
        ground_truth=nothing,
        reasoning=assistant_reasoning("conversations"),
        mixes_domains=True,
    ),
    Schema(
        "question and solution",
        columns=("question", "solution"),
        problem=column("question"),
        solution=solution_column("solution"),
        ground_truth=answer_column(*_ANSWERS),
        also=_ANSWERS,
    ),
    Schema(
        "messages",
        columns=("messages",),
        problem=conversation_problem("messages"),
        solution=assistant_solution("messages"),
        ground_truth=nothing,
        reasoning=assistant_reasoning("messages"),
        mixes_domains=True,
    ),
    Schema(
        "GSM8K",
        columns=("question", "answer"),
        problem=column("question"),
        solution=column("answer"),
        ground_truth=nothing,
        shown=without_marks,
        fits=_is_worked,
    ),
    Schema(
        "problem and answer",
        columns=("problem", "answer"),
        problem=column("problem"),
        solution=nothing,
        ground_truth=answer_column("answer"),
        may_lack_solutions=True,
    ),
    Schema(
        "question and answer",
        columns=("question", "answer"),
        problem=column("question"),
        solution=nothing,
        ground_truth=answer_column("answer"),
        may_lack_solutions=True,
    ),
)
"""The known schemas; the first one that fits is taken."""
