"""Time and memory of the divergences with their gradients, beside the products that each must do.

    python -m tests.benchmarks.divergence > tests/benchmarks/results/divergence.md

Run it on an idle machine; it takes some minutes and 6 GB. TRL and Liger-Kernel are measured where they are
installed. Memory is the peak of anonymous memory above what was there before the call, less the gradients.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import time
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from threading import Event, Thread
from typing import NamedTuple

import torch

from tests.benchmarks.conditions import conditions
from tests.benchmarks.divergence_ways import Inputs, Way, ours, products, ways
from tests.benchmarks.scorer import resident
from verl_egrsd.divergences import Divergence
from verl_egrsd.output.tables import text_table

PEERS = {"trl": "TRL", "liger_kernel": "Liger-Kernel"}
CPU = torch.device("cpu")


class Found(NamedTuple):
    """One call: seconds, seconds of all processors that worked for it, and the peak of memory, MiB."""

    seconds: float
    processor: float
    memory: float


class Peak(Thread):
    """Watches the memory of this process that no file backs; libraries come and go with others' needs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = resident("RssAnon")
        self._over = Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._over.wait(0.005):
            self.most = max(self.most, resident("RssAnon"))

    def above(self) -> float:
        """Stop, and return the peak above what was there, MiB."""
        self._over.set()
        self.join()
        return max(self.most, resident("RssAnon")) - self.before


def measure(way: Way, inputs: Inputs, gradients: int) -> Found:
    """Call a way; `gradients` are the bytes that its gradients take."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that the allocator keeps would hide what a way takes
    peak = Peak()
    peak.start()
    start, processor = time.perf_counter(), time.process_time()
    way(inputs)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return Found(seconds, processor, peak.above() - gradients / 2**20)


def table(found: dict[str, Found], floor: Found) -> str:
    """Return a line per way, with its ratios to the bare products."""
    lines = [
        (
            name,
            f"{one.seconds:.2f}",
            f"{one.processor:.2f}",
            f"{one.seconds / floor.seconds:.2f}",
            f"{one.processor / floor.processor:.2f}",
            f"{one.memory:,.0f}",
        )
        for name, one in found.items()
    ]
    return text_table(
        ("way", "s", "processor s", "ratio", "ratio of processor s", "peak memory, MiB"), lines, "l"
    )


def best_of(rounds: int, some: dict[str, Way], inputs: Inputs, gradients: int) -> dict[str, Found]:
    """Return each way's best call over rounds in which all take turns."""
    found: dict[str, list[Found]] = {name: [] for name in some}
    for _ in range(rounds):
        for name, way in some.items():
            found[name].append(measure(way, inputs, gradients))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    return {name: Found(*map(min, zip(*calls, strict=True))) for name, calls in found.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the page."""
    load = os.getloadavg()[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--width", type=int, default=1_024)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    n, d, v = options.rows, options.width, options.vocabulary
    inputs = Inputs.random((n, d, v), torch.float32, CPU)
    hidden = inputs.student.nbytes
    frozen = best_of(options.rounds, ways(CPU), inputs, hidden)
    four: dict[str, Way] = {"bare products": partial(products, head_trained=True)}
    four["forward"] = partial(ours, settings=Divergence(), head_trained=True)
    trained = best_of(options.rounds, four, inputs, hidden + inputs.head.nbytes)
    print(f"# Divergences and their gradients: {n:,} rows, width {d:,}, vocabulary {v:,}, float32\n")
    print(
        "Aims: at most 1.2 times the bare products (1.3 for a JSD) and 256 MiB beside inputs and gradients.\n"
    )
    print(f"With a frozen head, which costs three products of {2 * n * d * v / 1e9:,.0f} GFLOP:\n")
    print(table(frozen, frozen["bare products"]))
    print("\nWith a trained head, four products:\n")
    print(table(trained, trained["bare products"]))
    print(f"\n{conditions(load)}; load average at the end {os.getloadavg()[0]:.1f}")
    names = (f"{name} {version(package)}" for package, name in PEERS.items() if find_spec(package))
    print(f"- other packages: {', '.join(names) or 'neither TRL nor Liger-Kernel is installed'}")
    command = " ".join(["python -m tests.benchmarks.divergence", *(arguments or sys.argv[1:])])
    print(f"- best of {options.rounds} rounds; `{command}`")


if __name__ == "__main__":
    main()
