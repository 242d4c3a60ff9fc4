"""The samples of an evaluation as arrays, and the majority vote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verl_egrsd.evaluation.samples import SAMPLES, Sample, read_samples, read_settings
from verl_egrsd.reward import normalise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The samples of one benchmark: P problems in the order of their ids, K samples each.

    Attributes:
        ids: ids of the problems (P).
        tokens: lengths of the answers in tokens (P, K).
        correct: 1 for right answers (P, K).
        truncated: 1 for answers that ended at the limit of new tokens (P, K).
        majority: whether the answer given most often is right (P); a tie gives a share.
    """

    ids: tuple[str, ...]
    tokens: Floats
    correct: Floats
    truncated: Floats
    majority: Floats

    @property
    def samples(self) -> int:
        """K, samples per problem."""
        return self.tokens.shape[1]

    def select(self, ids: Iterable[str]) -> Table:
        """Return the table of a subset of the problems."""
        chosen = set(ids)
        rows = np.array([identity in chosen for identity in self.ids], dtype=bool)
        kept = tuple(identity for identity in self.ids if identity in chosen)
        return Table(kept, self.tokens[rows], self.correct[rows], self.truncated[rows], self.majority[rows])


def read_tables(folder: Path) -> dict[str, Table]:
    """Return the tables of an evaluation by benchmark, in the order in which the evaluation received them.

    Raises:
        FileNotFoundError: when the folder was not written by `verl-egrsd eval`.
        ValueError: when samples are missing, with the remedy.
    """
    expected = read_settings(folder)["identity"]["benchmarks"]
    path = folder / SAMPLES
    samples: dict[str, list[Sample]] = {benchmark: [] for benchmark in expected}
    for sample in read_samples(path) if path.exists() else ():
        samples.setdefault(sample.benchmark, []).append(sample)
    for benchmark, sizes in expected.items():
        wanted, found = sizes["problems"] * sizes["samples"], len(samples[benchmark])
        if found != wanted:
            raise ValueError(
                f"{path} holds {found} of {wanted} samples of {benchmark}: run the same eval again."
            )
    return {benchmark: make_table(found) for benchmark, found in samples.items()}


def make_table(samples: Iterable[Sample]) -> Table:
    """Return the table of one benchmark's samples, the same for every order of them.

    Raises:
        ValueError: when problems have different numbers of samples, or there are none.
    """
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_problem[sample.problem].append(sample)
    sizes = {len(found) for found in by_problem.values()}
    if len(sizes) != 1:
        raise ValueError(f"problems have {sorted(sizes)} samples: all need the same number, 1 or more.")
    rows = [sorted(by_problem[identity], key=lambda sample: sample.sample) for identity in sorted(by_problem)]

    def column(name: str) -> Floats:
        return np.array([[getattr(sample, name) for sample in row] for row in rows], dtype=np.float64)

    return Table(
        ids=tuple(sorted(by_problem)),
        tokens=column("tokens"),
        correct=column("correct"),
        truncated=np.array(
            [[sample.finish_reason == "length" for sample in row] for row in rows], dtype=float
        ),
        majority=np.array([majority_vote(row) for row in rows]),
    )


def majority_vote(samples: Sequence[Sample]) -> float:
    """Return whether the answer that is given most often is right: 1 or 0.

    Answers vote together when they are equal after :func:`verl_egrsd.reward.normalise`. Samples without an
    answer do not vote; if no sample has one, the vote is wrong. A tie is decided at random, so the result is
    the share of correct answers among those that tie.
    """
    votes: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        if answer := normalise(sample.extracted):
            votes[answer].append(sample.correct)
    most = max(map(len, votes.values()), default=0)
    # All verdicts of a group agree, unless one ran into the time limit.
    winners = [sum(group) / most for group in votes.values() if len(group) == most]
    return sum(winners) / len(winners) if winners else 0.0
