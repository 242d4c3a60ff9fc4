"""From a raw row to an exercise: keeps mathematics, and chooses the solution for the teacher's prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from data_prep.readers import Raw
from data_prep.rows import normalise_problem
from data_prep.schemas import Exercise, Schema, SolutionPart
from data_prep.stages import Dropped
from data_prep.values import UnreadableError, as_text, field
from verl_egrsd.reward.answer import own_answer
from verl_egrsd.rows import NOTHING

Domain = Literal["math", "any"]
Numbered = tuple[int, Raw]
"""A raw row with its position in the source."""
_Taken = TypeVar("_Taken")

MATHEMATICS = re.compile(r"(?:^|[^a-z])math", re.IGNORECASE)
"""Names of the domain: `math`, `Mathematics`, `Applied Mathematics -> Algebra`, `competition_math`."""
UNSTATED = {"notfound", "not found"}
"""How data sets mark a missing answer."""
PROOFS = {"proof"}
"""How data sets mark a problem that asks for a proof."""


class Selection:
    """Keeps the mathematics of one source and turns its rows into exercises.

    A row with a value that is not text is dropped and counted by column and kind. One bad row does not stop
    the rest.

    Args:
        schema: schema of the rows.
        source: name of the source, for rows that do not name their origin.
        domain: "math", or "any" for rows of every domain.
        assume_math: treat the rows of a schema that names no domain as mathematics.
        reference: "concise", or "reasoning" for the long trace followed by the concise solution.
        needs_solution: whether a row without a solution is dropped.

    Raises:
        ValueError: when the schema cannot say what is mathematics, or has no reasoning to show.
    """

    def __init__(
        self,
        schema: Schema,
        source: str,
        *,
        domain: Domain,
        assume_math: bool,
        reference: SolutionPart,
        needs_solution: bool = True,
    ) -> None:
        if schema.mixes_domains and domain == "math" and not assume_math:
            raise ValueError(
                f"rows of the schema {schema.name!r} do not say whether they are mathematics: read the "
                "metadata form, pass --assume-math if you know that they are, or name the column that says "
                "so with --columns domain=NAME."
            )
        if reference == "reasoning" and schema.reasoning is None:
            raise ValueError(
                f"rows of the schema {schema.name!r} hold no long reasoning: pass --reference concise, or "
                "name the column that holds it with --columns reasoning=NAME."
            )
        self.schema, self.source, self.domain, self.reference = schema, source, domain, reference
        self.needs_solution = needs_solution

    def mathematics(self, rows: Sequence[Numbered]) -> list[Numbered | Dropped]:
        """Return the rows of one batch that are mathematics with a problem and a solution."""
        return [_readable(self._judge, row) for row in rows]

    def exercises(self, rows: Sequence[Numbered]) -> list[Exercise | Dropped]:
        """Return the rows of one batch with the solution for the teacher's prompt."""
        return [_readable(self._exercise, row) for row in rows]

    def _judge(self, row: Numbered) -> Numbered | Dropped:
        index, raw = row
        stated = _stated(raw, self.schema.domain)
        if self.domain == "math" and stated and not MATHEMATICS.search(stated):
            return Dropped(f"domain {_first_part(stated)}", f"row {index}")
        if not self.schema.problem(raw):
            return Dropped("no problem", f"row {index}")
        if self.needs_solution and not self.schema.solution(raw):
            return Dropped("no solution", f"row {index}")
        return row

    def _exercise(self, row: Numbered) -> Exercise | Dropped:
        index, raw = row
        problem, concise = self.schema.problem(raw), self.schema.solution(raw)
        solution = self.schema.shown(concise)
        if self.reference == "reasoning" and self.schema.reasoning is not None:
            trace = self.schema.reasoning(raw)
            if not trace:
                return Dropped("no reasoning", f"row {index}")
            solution = f"{trace}\n\n{solution}"
        truth = self.schema.ground_truth(raw)
        if truth.lower() in PROOFS:
            return Dropped("asks for a proof, not an answer", f"row {index}: {truth}")
        return Exercise(
            index=index,
            source=_stated(raw, self.schema.source) or self.source,
            problem=problem,
            solution=solution,
            own_answer=own_answer(concise),
            ground_truth="" if truth.lower() in UNSTATED | NOTHING else truth,
            normalised=normalise_problem(problem),
        )


def _readable(work: Callable[[Numbered], _Taken | Dropped], row: Numbered) -> _Taken | Dropped:
    try:
        return work(row)
    except UnreadableError as error:
        return Dropped(f"holds {error.what}", f"row {row[0]}: {error.value}")


def _stated(raw: Raw, names: Sequence[str]) -> str:
    """Return the text of the first filled column; several values are joined with commas."""
    values = (raw[name] if name in raw else field(raw, name) for name in names)
    value: Any = next((found for found in values if found is not None), None)
    if hasattr(value, "tolist"):  # numpy
        value = value.tolist()
    return ", ".join(map(as_text, value)) if isinstance(value, list | tuple) else as_text(value)


def _first_part(domain: str) -> str:
    """Return the first part of a domain, such as `Physics` of `Physics -> Optics -> Lenses, Chemistry`."""
    return re.split(r"\s*(?:->|,)\s*", domain.lower())[0][:40]
