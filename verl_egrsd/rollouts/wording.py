"""Two early signs of rambling in the responses of a step: repeated n-grams, and words of hesitation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

HESITATION_WORDS = (
    *("wait", "hmm", "hm", "oh", "uh", "ah", "but", "however", "though", "actually", "alternatively"),
    *("maybe", "perhaps", "probably", "unsure", "mistake", "check", "recheck", "double-check", "verify"),
    *("reconsider", "hold on", "on second thought"),
)
"""Words and phrases of doubt and of checking: reports count them, and `verl-egrsd inspect` groups by them."""
NGRAM = 8
"""Tokens of an n-gram: long enough that plain arithmetic does not count as repetition."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of the rolling hash, which wraps at 2^64."""


def wording_metrics(
    responses: Int[Tensor, "batch time"],
    response_mask: Bool[Tensor, "batch time"],
    tokenizer: Any,
    *,
    words: Sequence[str] = HESITATION_WORDS,
    ngram: int = NGRAM,
) -> dict[str, float]:
    """Summarise the wording of the valid rows of one step.

    Args:
        responses: token ids, padded on the right.
        response_mask: true on response tokens.
        tokenizer: decodes the responses, without special tokens.
        words: words and phrases of hesitation.
        ngram: tokens of an n-gram.
    """
    shares = repeated_share(responses, response_mask, ngram)
    rows = [row[real] for row, real in zip(responses, response_mask, strict=True)]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return {
        "egrsd/repetition/mean": float(shares.mean()),
        "egrsd/repetition/max": float(shares.max()),
        "egrsd/hesitation_rate": hesitation_rate(texts, words),
    }


def repeated_share(
    ids: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], n: int = NGRAM
) -> Float[Tensor, " batch"]:
    """Return, per row, the share of its n-grams that occurred earlier in it: 1 - distinct / all.

    A row of fewer than n tokens has no n-gram and a share of 0. The n-grams are compared by a 64-bit hash.

    Args:
        ids: token ids, padded on the right.
        mask: true on the tokens that count.
        n: tokens of an n-gram, at least 1.
    """
    counts = (mask.sum(dim=1).numpy() - n + 1).clip(min=0)
    width = ids.shape[1] - n + 1
    if width < 1:
        return torch.zeros(len(ids))
    tokens = ids.numpy().astype(np.uint64)
    hashes = np.zeros((len(ids), width), dtype=np.uint64)
    for offset in range(n):
        hashes = hashes * _FACTOR + tokens[:, offset : offset + width]
    position = np.arange(width)
    # Positions beyond the row are sorted to the end.
    hashes[position >= counts[:, None]] = np.iinfo(np.uint64).max
    hashes.sort(axis=1)
    repeats = (hashes[:, 1:] == hashes[:, :-1]) & (position[1:] < counts[:, None])
    return torch.from_numpy(repeats.sum(axis=1) / counts.clip(min=1)).float()


def hesitation_rate(texts: Sequence[str], words: Sequence[str] = HESITATION_WORDS) -> float:
    """Return words of hesitation per 100 words of all texts together; 0 when they have no words.

    A phrase counts once, upper and lower case are the same, and only whole words count. White
    space separates words.
    """
    longest_first = sorted(words, key=len, reverse=True)
    choices = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in longest_first)
    pattern = re.compile(rf"\b(?:{choices})\b", re.IGNORECASE)
    total = sum(len(text.split()) for text in texts)
    return 100 * sum(len(pattern.findall(text)) for text in texts) / max(total, 1)
