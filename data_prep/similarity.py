"""The similarity of two problems: shingles, their Jaccard similarity, and MinHash to find candidates.

MinHash proposes pairs, and the exact Jaccard similarity of their shingles decides. So the seed and the hash
functions can miss a pair (with the probability stated in :func:`band_width`) but never invent one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

SHINGLE_TOKENS = 3
PERMUTATIONS = 128
RECALL = 0.999
"""Share of the pairs at the threshold that the bands must find."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class Match(NamedTuple):
    """A dropped row beside the problem that it matches, so that a person can judge.

    Attributes:
        kind: the test that found the match.
        row: index of the row in the source.
        problem: its problem.
        answer: its answer.
        match: where the matching problem is: "row 17", or a benchmark with the index of its problem.
        match_problem: the matching problem.
        match_answer: its answer.
        similarity: the measure of the test, in [0, 1]; 1 for an exact match.
    """

    kind: str
    row: int
    problem: str
    answer: str
    match: str
    match_problem: str
    match_answer: str
    similarity: float


def shingles(normalised: str, size: int = SHINGLE_TOKENS) -> frozenset[str]:
    """Return all runs of `size` tokens of a normalised problem; a shorter problem is one shingle."""
    tokens = normalised.split()
    return frozenset(" ".join(tokens[i : i + size]) for i in range(max(1, len(tokens) - size + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity: shingles of both over shingles of either, in [0, 1]."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def signatures(problems: Sequence[str], seed: int) -> NDArray[np.uint32]:
    """Return MinHash signatures of normalised problems, (problems, PERMUTATIONS)."""
    sets = ([shingle.encode() for shingle in shingles(problem)] for problem in problems)
    sketches = MinHash.generator(sets, num_perm=PERMUTATIONS, seed=seed)
    rows = [sketch.hashvalues for sketch in sketches]
    return np.stack(rows) if rows else np.empty((0, PERMUTATIONS), np.uint32)


def band_width(threshold: float) -> int:
    """Return the number of values per band: the largest that still finds RECALL of the pairs at the
    threshold.

    Two problems of similarity s agree in a band of w values with probability s^w, so in one of b bands with
    probability 1 - (1 - s^w)^b.
    """
    widths = range(PERMUTATIONS, 1, -1)
    return next((w for w in widths if 1 - (1 - threshold**w) ** (PERMUTATIONS // w) >= RECALL), 1)


def band_keys(signature: NDArray[np.uint32], threshold: float) -> NDArray[np.uint64]:
    """Return one key per band, (problems, bands); two problems are compared if they share a key.

    Two bands may share a key by chance, which costs one comparison.
    """
    width = band_width(threshold)
    bands = PERMUTATIONS // width
    values = signature[:, : bands * width].reshape(len(signature), bands, width).astype(np.uint64)
    keys = np.broadcast_to(np.arange(bands, dtype=np.uint64), values.shape[:2])
    for place in range(width):
        keys = (keys ^ values[:, :, place]) * _ODD
        keys = keys ^ (keys >> _HALF)
    return keys
