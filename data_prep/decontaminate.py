"""Decontamination: drops rows that match a problem of a benchmark.

There are three tests. The first one that applies names the match:

- exact: the same problem after normalisation;
- ngram: a large share of the benchmark problem's n-grams occurs in the row, also amid other text. One common
  n-gram proves nothing: competition problems end in the same phrases, "where m and n are relatively prime";
- near: the Jaccard similarity of the two problems is high, as for reworded problems.

Answers are not compared, so most rows that differ from a benchmark problem in one number are dropped too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pyarrow.parquet as pq

from data_prep.rows import normalise_problem
from data_prep.schemas import Exercise
from data_prep.similarity import Match, jaccard, shingles
from data_prep.stages import Dropped

Test = Literal["exact", "ngram", "near"]
TESTS: tuple[Test, ...] = get_args(Test)
Hit = tuple[Test, int, float]
"""A test, the number of the benchmark problem that it found, and what it measured."""
_COLUMNS = ("data_source", "reward_model", "extra_info")


class BenchmarkProblem(NamedTuple):
    """A benchmark problem that must not be trained on."""

    benchmark: str
    row: int
    problem: str
    answer: str
    normalised: str


def read_benchmark_problems(folder: Path) -> list[BenchmarkProblem]:
    """Return the problems of all parquet files of a folder; data_prep.benchmarks writes such files.

    Raises:
        ValueError: for a folder without parquet files, or a file in another schema.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise ValueError(
            f"--benchmarks {folder} holds no parquet file: make them with "
            f"python -m data_prep.benchmarks --out {folder}."
        )
    return [problem for file in files for problem in _read(file)]


def _read(file: Path) -> Iterator[BenchmarkProblem]:
    found = pq.read_schema(file).names
    if not set(_COLUMNS) <= set(found):
        raise ValueError(
            f"--benchmarks: {file} has the columns {', '.join(found)}, but {', '.join(_COLUMNS)} are needed: "
            "make it with python -m data_prep.benchmarks."
        )
    for row in pq.read_table(file, columns=list(_COLUMNS)).to_pylist():
        problem, index = row["extra_info"]["problem"], row["extra_info"]["index"]
        answer = row["reward_model"]["ground_truth"]
        yield BenchmarkProblem(row["data_source"], index, problem, answer, normalise_problem(problem))


class Decontamination:
    """Drops the rows that match a problem of a benchmark, and lists them.

    Args:
        problems: the benchmarks' problems; with an empty list nothing matches.
        tests: the tests of `TESTS` to run.
        ngram_tokens: tokens of an n-gram.
        ngram_overlap: share of a benchmark problem's n-grams from which a row matches, in (0, 1].
        similarity: Jaccard similarity from which a row matches, in (0, 1].

    Attributes:
        matches: the dropped rows, in the order of the source.
    """

    def __init__(
        self,
        problems: Sequence[BenchmarkProblem],
        tests: Collection[Test],
        *,
        ngram_tokens: int,
        ngram_overlap: float,
        similarity: float,
    ) -> None:
        self.problems, self.tests = problems, tests
        self.ngram_tokens, self.ngram_overlap, self.similarity = ngram_tokens, ngram_overlap, similarity
        self.matches: list[Match] = []
        self._exact = {problem.normalised: number for number, problem in enumerate(problems)}
        self._ngrams = [self._ngrams_of(problem.normalised) for problem in problems]
        self._by_ngram = _index(self._ngrams)
        self._shingles = [shingles(problem.normalised) for problem in problems]
        self._by_shingle = _index(_telling(self._shingles, similarity))

    def drop(self, exercises: Sequence[Exercise]) -> list[Exercise | Dropped]:
        """Return the rows of one batch; a row that matches becomes `Dropped`."""
        return [self._judge(row) for row in exercises]

    def _judge(self, row: Exercise) -> Exercise | Dropped:
        found = next((hit for hit in self._hits(row.normalised) if hit is not None), None)
        if found is None:
            return row
        kind, number, similarity = found
        benchmark = self.problems[number]
        self.matches.append(
            Match(
                kind=kind,
                row=row.index,
                problem=row.problem,
                answer=row.answer,
                match=f"{benchmark.benchmark} {benchmark.row}",
                match_problem=benchmark.problem,
                match_answer=benchmark.answer,
                similarity=similarity,
            )
        )
        return Dropped(f"{kind} match with a benchmark")

    def _hits(self, normalised: str) -> Iterator[Hit | None]:
        if "exact" in self.tests and normalised in self._exact:
            yield "exact", self._exact[normalised], 1.0
        if "ngram" in self.tests:
            yield self._most_overlap(self._ngrams_of(normalised))
        if "near" in self.tests:
            yield self._most_similar(shingles(normalised))

    def _most_overlap(self, ngrams: frozenset[str]) -> Hit | None:
        candidates = {number for ngram in ngrams for number in self._by_ngram.get(ngram, ())}
        shares = {n: len(ngrams & self._ngrams[n]) / len(self._ngrams[n]) for n in candidates}
        return _best("ngram", shares, self.ngram_overlap)

    def _most_similar(self, mine: frozenset[str]) -> Hit | None:
        candidates = {number for shingle in mine for number in self._by_shingle.get(shingle, ())}
        return _best("near", {n: jaccard(mine, self._shingles[n]) for n in candidates}, self.similarity)

    def _ngrams_of(self, normalised: str) -> frozenset[str]:
        """Return the n-grams of a problem; an empty set if it is shorter than an n-gram."""
        enough = normalised.count(" ") + 1 >= self.ngram_tokens
        return shingles(normalised, self.ngram_tokens) if enough else frozenset()


def _best(kind: Test, measured: Mapping[int, float], threshold: float) -> Hit | None:
    """Return the largest measure that reaches the threshold; among equal ones, the first problem wins."""
    number = max(sorted(measured), key=measured.__getitem__, default=None)
    return (kind, number, measured[number]) if number is not None and measured[number] >= threshold else None


def _index(sets: Sequence[Iterable[str]]) -> dict[str, list[int]]:
    """Return the numbers of the sets that hold each text."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(sets):
        for text in each:
            found[text].append(number)
    return dict(found)


def _telling(sets: Sequence[frozenset[str]], similarity: float) -> list[list[str]]:
    """Return the rarest shingles of each set, enough that every similar set shares at least one of them.

    A set that is similar to s holds at least similarity * |s| shingles of s. So it holds at least one of any
    (1 - similarity) * |s| + 1 shingles of s.
    """
    frequency = Counter(shingle for each in sets for shingle in each)
    ranked = [sorted(each, key=lambda shingle: (frequency[shingle], shingle)) for each in sets]
    return [each[: len(each) - int(similarity * len(each)) + 1] for each in ranked]
