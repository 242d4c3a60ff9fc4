"""Time and memory of the head: our sums over the vocabulary, the bare matrix product, and verl's torch head.

    python -m tests.benchmarks.scorer > tests/benchmarks/results/scorer.md

Run it from the checkout on an idle machine; it takes some minutes and 5 GB. All ways take turns, and each row
is the best of several rounds. Memory is the peak of resident memory above what was there before the call.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tests.benchmarks.conditions import conditions
from verl_egrsd.output.tables import text_table
from verl_egrsd.scoring import scorer

Way = Callable[[Tensor, Tensor, Tensor], object]


def product_in_row_blocks(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> None:
    """Multiply with the whole head, a block of rows at a time, and drop the logits."""
    for rows in hidden.split(scorer.BLOCK_ROWS):
        torch.mm(rows, weight.T)


def product_in_blocks(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> None:
    """Multiply blocks of rows with blocks of the head, as the scorer does, into one buffer."""
    for rows in hidden.split(scorer.BLOCK_ROWS):
        for entries in weight.split(scorer.BLOCK_COLUMNS):
            torch.mm(rows, entries.T)


def ours(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Score with the package."""
    return scorer.score_tokens(hidden, weight, token_ids)


def verl(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Score with verl's chunked head in torch."""
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    with torch.no_grad():
        return FusedLinearForPPO()(hidden, weight, token_ids)


WAYS: dict[str, Way] = {
    "product, row blocks": product_in_row_blocks,
    "product, row and column blocks": product_in_blocks,
    "`score_tokens`": ours,
    "verl `FusedLinearForPPO`": verl,
}


def measure(way: Way, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    """Return seconds and the peak of resident memory in MiB above the level before."""
    gc.collect()
    # Freed memory that the allocator keeps would hide what a way takes.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = resident("VmRSS"), time.perf_counter()
    way(*inputs)
    return time.perf_counter() - start, resident("VmHWM") - before


def resident(field: str) -> float:
    """Return a field of /proc/self/status in MiB."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match, field
    return int(match[1]) / 1024


def make_inputs(rows: int, width: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return random hidden states, a head whose logits spread by 3, and token ids."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=draw).to(dtype)
    weight = torch.randn(vocabulary, width, generator=draw).mul_(3 / width**0.5).to(dtype)
    return hidden, weight, torch.randint(vocabulary, (rows,), generator=draw)


def best_of(inputs: tuple[Tensor, Tensor, Tensor], rounds: int) -> dict[str, tuple[float, float]]:
    """Return each way's best (seconds, MiB) over rounds in which all take turns."""
    found = [{name: measure(way, inputs) for name, way in WAYS.items()} for _ in range(rounds)]
    return {name: min(one[name] for one in found) for name in WAYS}


def product_seconds(best: dict[str, tuple[float, float]]) -> float:
    """Return the seconds of the faster bare product."""
    return min(seconds for name, (seconds, _) in best.items() if name.startswith("product"))


def largest_error(inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    """Return the largest difference in nats from float64 logits, over the first rows."""
    hidden, weight, token_ids = (inputs[0][:32], inputs[1], inputs[2][:32])
    log_probs = torch.cat([hidden.double() @ part.double().T for part in weight.split(16_384)], 1)
    log_probs = log_probs.log_softmax(dim=1)
    right = (
        log_probs.gather(1, token_ids.unsqueeze(1)).squeeze(1),
        torch.special.entr(log_probs.exp()).sum(dim=1),
    )
    found = scorer.score_tokens(hidden, weight, token_ids)
    return max(float((a - b).abs().max()) for a, b in zip(found, right, strict=True))


def main() -> None:
    """Measure and print the page."""
    load = os.getloadavg()[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_048)
    parser.add_argument("--width", type=int, default=1_024)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    n, d, v = options.rows, options.width, options.vocabulary
    print(f"# Log-probs and entropies: {n:,} rows, width {d:,}, vocabulary {v:,}\n")
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs = make_inputs(n, d, v, dtype)
        best = best_of(inputs, options.rounds)
        product, theirs = product_seconds(best), best["verl `FusedLinearForPPO`"][0]
        for name, (seconds, memory) in best.items():
            ratios = (seconds / product, theirs / seconds)
            numbers = (f"{number:.2f}" for number in (seconds, *ratios))
            rows.append((str(dtype)[6:], name, *numbers, f"{memory:,.0f}"))
        if dtype == torch.float32:
            error = largest_error(inputs)
    head = ("dtype", "way", "seconds", "to the faster product", "to verl", "peak memory, MiB")
    print(text_table(head, rows, "ll"))
    floor = 2 * n * d * v
    print(f"\nThe floor is the product: {floor / 1e9:,.0f} GFLOP, whose {n * v / 1e6:,.0f} M logits need not")
    print(f"be stored. Largest difference from float64 logits in float32: {error:.1e} nats.\n")
    print(conditions(load))
    command = " ".join(["python -m tests.benchmarks.scorer", *sys.argv[1:]])
    print(f"- best of {options.rounds} rounds; `{command}`")


if __name__ == "__main__":
    main()
