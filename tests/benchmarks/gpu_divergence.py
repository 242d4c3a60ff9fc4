"""The divergences with their gradients on a GPU, as shares of the ceiling of a matrix product.

    python -m tests.benchmarks.gpu_divergence > tests/benchmarks/results/gpu_divergence.md

Needs torch and one GPU; TRL's and Liger-Kernel's divergences are measured where they are installed. Weights
and hidden states are random, in bf16, in the shapes of Qwen3-4B and Qwen3-8B. Without a GPU it says so and
ends with code 1; `--device cpu --shapes tiny` runs the same code on a CPU, to see that it works.
"""

from __future__ import annotations

import argparse
import platform
import sys
from datetime import date
from functools import partial

import torch

from tests.benchmarks.divergence_ways import Inputs, ways
from tests.benchmarks.gpu_teacher import MEASURED, SHAPES, line, machine, measure, without_gpu
from verl_egrsd.cost.shape import Shape
from verl_egrsd.output.tables import text_table

PRODUCTS = 3
"""Logits of both sides, and the gradient of the student's hidden states."""


def table(shape: Shape, responses: list[int], device: torch.device, limit: float) -> str:
    """Return a table with a line per number of rows and way."""
    lines = []
    for rows in responses:
        inputs = Inputs.random((rows, shape.width, shape.vocabulary), torch.bfloat16, device)
        operations = PRODUCTS * 2.0 * shape.head_weights * rows
        for name, way in ways(device).items():
            found = measure(partial(way, inputs), device)
            lines.append(line([f"{rows:,}", name], found, rows, operations, limit))
    return text_table(("rows", "way", *MEASURED), lines, "rl")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the page; returns 1 without the device that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", nargs="+", default=["4b", "8b"], choices=list(SHAPES))
    parser.add_argument("--responses", nargs="+", type=int, default=[1_024, 4_096, 16_384])
    options = parser.parse_args(arguments)
    if without_gpu(options.device):
        return 1
    device, name, limit = machine(options.device)
    print(f"# Divergences and their gradients on {name}\n")
    print(
        f"The ceiling is one large matrix product in bf16: {limit / 1e12:.3g} TFLOP/s. Each way is counted as"
    )
    print("three products with the head; peak memory includes the gradient.")
    for key in options.shapes:
        shape = SHAPES[key]
        print(f"\n## {key}: width {shape.width:,}, vocabulary {shape.vocabulary:,}\n")
        print(table(shape, options.responses, device, limit), flush=True)
    print(f"\n- {name}; Python {platform.python_version()}, torch {torch.__version__}; {date.today()}")
    print(f"- `python -m tests.benchmarks.gpu_divergence {' '.join(arguments or sys.argv[1:])}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
