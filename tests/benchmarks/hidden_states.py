"""Seconds and bytes of a divergence's hidden states on their way through TransferQueue.

    python -m tests.benchmarks.hidden_states > tests/benchmarks/results/hidden_states.md

Run it on an idle machine; it takes a minute. The column is that of a step of the recipes, in bf16. It is
written and read as the trainer does, through TransferQueue with verl's settings.
"""

from __future__ import annotations

import os
import time

import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict

from tests.benchmarks.conditions import conditions_of_stack
from verl_egrsd.compat import verl_settings
from verl_egrsd.cost.shape import QWEN3_4B, QWEN3_8B
from verl_egrsd.methods.columns import TEACHER_HIDDEN
from verl_egrsd.output.tables import text_table
from verl_egrsd.trainer import queue

ROLLOUTS, TOKENS = 32, 1_024
ROUNDS = 7
WIDTHS = {"Qwen3-4B": QWEN3_4B.width, "Qwen3-8B": QWEN3_8B.width}


def best_seconds(width: int) -> tuple[float, float]:
    """Return the best seconds of a write and of a read over some steps."""
    rows = [torch.randn(TOKENS, width).bfloat16() for _ in range(ROLLOUTS)]
    column, writes, reads = queue.jagged(rows), [], []
    for step in range(ROUNDS):
        keys = [f"{step}-{row}" for row in range(ROLLOUTS)]
        lengths = TensorDict({"lengths": torch.full((ROLLOUTS,), TOKENS)}, batch_size=ROLLOUTS)
        batch = tq.kv_batch_put(keys=keys, fields=lengths, tags=[{}] * ROLLOUTS, partition_id="train")
        begun = time.perf_counter()
        batch = queue.write(batch, {TEACHER_HIDDEN: column})
        written = time.perf_counter()
        found = queue.read(batch, [TEACHER_HIDDEN])[TEACHER_HIDDEN]
        writes.append(written - begun)
        reads.append(time.perf_counter() - written)
        assert torch.equal(found.values(), column.values())
        tq.kv_clear(keys=keys, partition_id="train")
    return min(writes), min(reads)


def main() -> None:
    """Measure and print the page."""
    load, cells = os.getloadavg()[0], []
    ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False)
    with queue.started(OmegaConf.create(verl_settings()["transfer_queue"])):
        for model, width in WIDTHS.items():
            size = 2 * width * TOKENS * ROLLOUTS
            write, read = best_seconds(width)
            rates = (f"{size / seconds / 1e9:.2f}" for seconds in (write, read))
            cells.append((model, f"{size / 1e6:.0f}", f"{write:.2f}", f"{read:.2f}", *rates))
    ray.shutdown()
    head = ("width of", "MB", "write, s", "read, s", "write, GB/s", "read, GB/s")
    print("# Hidden states through TransferQueue\n")
    print(f"{ROLLOUTS} rollouts of {TOKENS:,} tokens in bf16, one column, written once and read once.\n")
    print(text_table(head, cells))
    print(f"\n{conditions_of_stack(load)}")
    print(f"- best of {ROUNDS} steps; `python -m tests.benchmarks.hidden_states`")


if __name__ == "__main__":
    main()
