"""Duplicates: of several rows with the same problem, the one with the shortest verified solution is kept.

Rows are taken in order of preference: verified before unverified, short solutions before long ones, early
rows before late ones. A row is dropped when a kept row already has its problem:

- exact: the problems are equal after normalisation, whatever the answers are;
- near: the Jaccard similarity of the problems is high, and the answers are equal. Exercises often differ in
  one number only. Different answers tell them apart.

Exact duplicates are dropped first. The row that an exact duplicate matches may then be dropped itself, as the
near duplicate of another row. No two kept rows are found alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.schemas import Exercise
from data_prep.similarity import Match, band_keys, jaccard, shingles, signatures
from data_prep.stages import Dropped
from verl_egrsd.reward import normalise

Similarity = Literal["near", "exact", "off"]
Integers = NDArray[np.int64]


class Duplicates:
    """Collects the rows of a stream, finds the duplicates among them, and leaves them out of a second pass.

    Memory for a row: twice the text of its problem, and about 1 kB.

    Args:
        level: "near" finds exact and near duplicates, "exact" finds exact ones only, "off" finds none.
        similarity: Jaccard similarity from which two problems are near duplicates, in (0, 1].
        seed: seed of the MinHash permutations.

    Attributes:
        matches: the dropped rows, by index in the source; filled by :meth:`find`.
    """

    def __init__(self, level: Similarity, similarity: float, seed: int) -> None:
        self.level, self.similarity, self.seed = level, similarity, seed
        self.matches: dict[int, Match] = {}
        self._exercises: list[Exercise] = []
        self._preferences: list[tuple[bool, int, int]] = []
        self._signatures: list[NDArray[np.uint32]] = []

    def add(self, exercises: Sequence[Exercise]) -> None:
        """Take the rows of one batch; their solutions are not kept."""
        if self.level == "off":
            return
        self._exercises += [replace(exercise, solution="") for exercise in exercises]
        self._preferences += [(not row.verified, len(row.solution), row.index) for row in exercises]
        if self.level == "near":
            self._signatures.append(signatures([row.normalised for row in exercises], self.seed))

    def find(self) -> None:
        """Find the duplicates among all rows that were added."""
        order = sorted(range(len(self._exercises)), key=self._preferences.__getitem__)
        kept: dict[str, int] = {}
        for row in order:
            first = kept.setdefault(self._exercises[row].normalised, row)
            if first != row:
                self._match("exact duplicate", row, first, 1.0)
        if self.level == "near" and kept:
            for row, first, similarity in self._near(list(kept.values())):
                self._match("near duplicate", row, first, similarity)

    def drop(self, exercises: Sequence[Exercise]) -> list[Exercise | Dropped]:
        """Return the rows of one batch; a duplicate becomes `Dropped`."""
        found = (self.matches.get(exercise.index) for exercise in exercises)
        return [Dropped(match.kind) if match else row for match, row in zip(found, exercises, strict=True)]

    def _match(self, kind: str, row: int, first: int, similarity: float) -> None:
        gone, stays = self._exercises[row], self._exercises[first]
        self.matches[gone.index] = Match(
            kind=kind,
            row=gone.index,
            problem=gone.problem,
            answer=gone.answer,
            match=f"row {stays.index}",
            match_problem=stays.problem,
            match_answer=stays.answer,
            similarity=similarity,
        )

    def _near(self, order: list[int]) -> Iterator[tuple[int, int, float]]:
        """Yield each near duplicate, the kept row that it matches, and their similarity.

        Args:
            order: rows without exact duplicates, in order of preference; a rank is a position in it.
        """
        keys = band_keys(np.concatenate(self._signatures)[order], self.similarity)
        numbers: dict[str, int] = {}
        answers = np.array(
            [numbers.setdefault(normalise(self._exercises[row].answer), len(numbers)) for row in order]
        )
        buckets = [_buckets(band, answers) for band in keys.T]
        stays = np.ones(len(order), bool)
        crowded = np.any([place > start for _, start, place in buckets], axis=0)
        for rank in np.flatnonzero(crowded):
            earlier = np.unique(
                np.concatenate([members[start[rank] : place[rank]] for members, start, place in buckets])
            )
            mine = self._shingles(order[rank])
            candidates = [
                (jaccard(mine, self._shingles(order[other])), order[other])
                for other in earlier[stays[earlier]]
            ]
            similarity, first = max(candidates, default=(0.0, 0), key=lambda found: found[0])
            if similarity >= self.similarity:
                stays[rank] = False
                yield order[rank], first, similarity

    def _shingles(self, row: int) -> frozenset[str]:
        return shingles(self._exercises[row].normalised)


def _buckets(keys: NDArray[np.uint64], answers: Integers) -> tuple[Integers, Integers, Integers]:
    """Group ranks by key and answer, without a dictionary of Python objects.

    Returns:
        The ranks sorted by bucket; for each rank, the position where its bucket starts; and for each rank its
        own position. The ranks between these two positions share its bucket and come before it.
    """
    members = np.lexsort((keys, answers))
    places = np.arange(len(keys))
    begins = np.zeros(len(keys), bool)
    begins[1:] = (np.diff(keys[members]) != 0) | (np.diff(answers[members]) != 0)
    start, place = np.empty_like(places), np.empty_like(places)
    start[members] = np.maximum.accumulate(np.where(begins, places, 0))
    place[members] = places
    return members, start, place
