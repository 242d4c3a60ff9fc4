"""The teacher's pass on a GPU: its head, and the whole forward pass, against the plain way and other kernels.

    python -m tests.benchmarks.gpu_teacher > tests/benchmarks/results/gpu_teacher.md

Needs torch, transformers and one GPU; the heads of verl, TRL and Liger-Kernel are measured where they are
installed.
Weights are random, in bf16, in the shapes of Qwen3-4B and Qwen3-8B. Without a GPU it says so and ends with
code 1; `--device cpu --shapes tiny` runs the same code on a CPU, to see that it works.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.benchmarks.decoder import random_decoder
from verl_egrsd.cost.shape import QWEN3_4B, QWEN3_8B, Shape
from verl_egrsd.cost.work import forward
from verl_egrsd.output.tables import text_table
from verl_egrsd.scoring.kernels import candidates
from verl_egrsd.scoring.scorer import score_tokens

Way = Callable[[Tensor, Tensor, Tensor], Any]
SHAPES = {"tiny": Shape(2, 64, 4, 2, 16, 128, 1_003), "4b": QWEN3_4B, "8b": QWEN3_8B}
PROMPT = 128
ROUNDS = 5


class Found(NamedTuple):
    """One measurement: milliseconds of a call, and the peak of memory above what was there, MiB."""

    milliseconds: float
    memory: float


def measure(call: Callable[[], Any], device: torch.device) -> Found | str:
    """Return the best of several calls after a first one; or that the memory did not suffice."""
    cuda = device.type == "cuda"
    gc.collect()
    try:
        call()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if cuda else 0
        best = min(_milliseconds(call, cuda) for _ in range(ROUNDS))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return "out of memory"
    peak = torch.cuda.max_memory_allocated() - before if cuda else 0
    return Found(best, peak / 2**20)


def _milliseconds(call: Callable[[], Any], cuda: bool) -> float:
    if not cuda:
        start = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def plain(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Score through all logits at once, in float32."""
    log_probs = torch.mm(hidden, weight.T).float().log_softmax(dim=1)
    return log_probs.gather(1, token_ids[:, None])[:, 0], torch.special.entr(log_probs.exp()).sum(dim=1)


def verl_torch(hidden: Tensor, weight: Tensor, token_ids: Tensor) -> Any:
    """Score with verl's chunked head in torch."""
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    return FusedLinearForPPO()(hidden, weight, token_ids)


def ways(device: torch.device) -> dict[str, Way]:
    """Return the heads that can run here, by name."""
    found: dict[str, Way] = {"plain logits": plain}
    if find_spec("verl"):
        found["verl's torch head"] = verl_torch
    kernels = candidates(device, biased=False)
    return found | {name: partial(kernel, temperature=1.0, bias=None) for name, kernel in kernels.items()}


@torch.no_grad()
def ceiling(device: torch.device, size: int) -> float:
    """Return the operations per second of one large matrix product in bf16."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    found = measure(lambda: torch.mm(left, right), device)
    assert isinstance(found, Found)
    return 2 * size**3 / (found.milliseconds / 1e3)


@torch.no_grad()
def head_table(shape: Shape, responses: list[int], device: torch.device, limit: float) -> str:
    """Return a table with a line per number of rows and way of scoring them."""
    weight = torch.randn(shape.vocabulary, shape.width, device=device).mul_(3 / shape.width**0.5).bfloat16()
    lines = []
    for rows in responses:
        hidden = torch.randn(rows, shape.width, device=device).bfloat16()
        token_ids = torch.randint(shape.vocabulary, (rows,), device=device)
        for name, way in ways(device).items():
            found = measure(partial(way, hidden, weight, token_ids), device)
            lines.append(line([f"{rows:,}", name], found, rows, 2.0 * shape.head_weights * rows, limit))
    return text_table(("rows", "head", *MEASURED), lines, "rl")


@torch.no_grad()
def teacher_table(
    shape: Shape, responses: list[int], solutions: list[int], device: torch.device, limit: float
) -> str:
    """Return a table with a line per lengths: whole forward passes with all rows and with response rows."""
    with torch.device(device):
        model = random_decoder(shape, tie_word_embeddings=True, dtype=torch.bfloat16).to(torch.bfloat16)
    lines = []
    for solution in solutions:
        for response in responses:
            tokens = PROMPT + solution + response
            input_ids = torch.randint(shape.vocabulary, (1, tokens), device=device)

            def all_rows(input_ids: Tensor = input_ids) -> Any:
                hidden = model.model(input_ids, use_cache=False).last_hidden_state[0]
                return plain(hidden, model.lm_head.weight, input_ids[0].roll(-1))

            def response_rows(input_ids: Tensor = input_ids, response: int = response) -> Any:
                hidden = model.model(input_ids, use_cache=False).last_hidden_state[0, -response - 1 : -1]
                return score_tokens(hidden, model.lm_head.weight, input_ids[0, -response:])

            for name, call, rows in (
                ("all rows", all_rows, tokens),
                ("response rows", response_rows, response),
            ):
                sizes = [f"{solution:,}", f"{response:,}", name]
                work = forward(shape, tokens, rows).total
                lines.append(line(sizes, measure(call, device), response, work, limit))
    return text_table(("solution", "response", "scores of", *MEASURED), lines, "rrl")


MEASURED = ("ms", "tokens/s", "peak memory, MiB", "share of the ceiling")


def line(cells: list[str], found: Found | str, tokens: int, operations: float, limit: float) -> list[str]:
    """Return the cells of a line: what was measured, and its share of the ceiling."""
    if isinstance(found, str):
        return [*cells, found, "", "", ""]
    seconds = found.milliseconds / 1e3
    numbers = [f"{found.milliseconds:.2f}", f"{tokens / seconds:,.0f}", f"{found.memory:,.0f}"]
    return [*cells, *numbers, f"{operations / seconds / limit:.2f}"]


def without_gpu(device: str) -> bool:
    """Return, and say, that the GPU that is asked for is not here."""
    missing = device == "cuda" and not torch.cuda.is_available()
    if missing:
        message = "no GPU here: nothing was measured. --device cpu --shapes tiny shows that it runs."
        print(message, file=sys.stderr)
    return missing


class Machine(NamedTuple):
    """What is measured on: its device, name, and operations per second in a large product."""

    device: torch.device
    name: str
    limit: float


def machine(device: str) -> Machine:
    """Measure the ceiling of a device."""
    cuda = device == "cuda"
    limit = ceiling(torch.device(device), 8_192 if cuda else 512)
    return Machine(torch.device(device), torch.cuda.get_device_name() if cuda else "CPU", limit)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the page; returns 1 without the device that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", nargs="+", default=["4b", "8b"], choices=list(SHAPES))
    parser.add_argument("--responses", nargs="+", type=int, default=[1_024, 4_096, 8_192, 16_384])
    parser.add_argument("--solutions", nargs="+", type=int, default=[0, 1_024, 4_096])
    options = parser.parse_args(arguments)
    if without_gpu(options.device):
        return 1
    device, name, limit = machine(options.device)
    print(f"# The teacher's pass on {name}\n")
    print(f"The ceiling is one large matrix product in bf16: {limit / 1e12:.3g} TFLOP/s. Best of {ROUNDS}.")
    for key in options.shapes:
        shape = SHAPES[key]
        print(f"\n## {key}: the head, width {shape.width:,}, vocabulary {shape.vocabulary:,}\n")
        print(head_table(shape, options.responses, device, limit), flush=True)
        print(f"\n## {key}: the whole pass, a prompt of {PROMPT} tokens, solution and response\n")
        table = teacher_table(shape, options.responses, options.solutions, device, limit)
        print(table, flush=True)
    print(f"\n- {name}; Python {platform.python_version()}, torch {torch.__version__}; {date.today()}")
    print(f"- `python -m tests.benchmarks.gpu_teacher {' '.join(arguments or sys.argv[1:])}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
