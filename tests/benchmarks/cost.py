"""How the teacher's pass grows with response, reference, rollouts per prompt and vocabulary, on this machine.

    python -m tests.benchmarks.cost

Run it on an idle machine; it takes some minutes. It writes results/cost.json and results/cost.md beside this
file. A decoder of random weights scores the response rows as the worker does; four numbers fit the formula of
`verl_egrsd.cost` to the times: one per call, and a rate for each kind of operation.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from scipy.optimize import nnls
from transformers import Qwen3ForCausalLM

from tests.benchmarks.conditions import conditions
from tests.benchmarks.decoder import random_decoder
from verl_egrsd.cost.shape import Shape
from verl_egrsd.cost.work import MeanRollout, Work, forward
from verl_egrsd.output.tables import text_table
from verl_egrsd.scoring.scorer import score_tokens

SHAPE = Shape(4, 256, 4, 2, 64, 768, 8_192)
RESULTS = Path(__file__).parent / "results"
ROUNDS = 7


@dataclass(frozen=True)
class Case:
    """One measurement: lengths in tokens, rollouts that are scored together, entries of the vocabulary."""

    prompt: int = 64
    solution: int = 256
    response: int = 512
    rollouts: int = 1
    vocabulary: int = 8_192


CASES = [
    *(replace(Case(), response=response) for response in (64, 256, 512, 1_024, 2_048, 4_096)),
    *(replace(Case(), solution=solution) for solution in (0, 1_024, 2_048, 4_096)),
    *(replace(Case(), rollouts=rollouts) for rollouts in (2, 4, 8)),
    *(replace(Case(), vocabulary=vocabulary) for vocabulary in (89, 1_024, 32_768, 151_936)),
]


def work(case: Case) -> Work:
    """Return the operations of a case."""
    lengths = MeanRollout(case.prompt, case.solution, case.response)
    tokens = lengths.prompt + lengths.solution + lengths.response
    return forward(replace(SHAPE, vocabulary=case.vocabulary), tokens, lengths.response).times(case.rollouts)


def features(case: Case) -> list[float]:
    """Return what the fit weighs: one call, and the operations of each kind in units of 1e9."""
    return [1.0, *(part / 1e9 for part in work(case))]


def fit(cases: Sequence[Case], seconds: Sequence[float]) -> list[float]:
    """Return seconds per call and per 1e9 operations of each kind, none negative.

    Those with the least squared relative errors.
    """
    rows = [
        [feature / found for feature in features(case)] for case, found in zip(cases, seconds, strict=True)
    ]
    return nnls(rows, [1.0] * len(rows))[0].tolist()


def predict(case: Case, rates: Sequence[float]) -> float:
    """Return the seconds that the formula gives for a case."""
    return sum(rate * feature for rate, feature in zip(rates, features(case), strict=True))


@torch.no_grad()
def measure(model: Qwen3ForCausalLM, case: Case) -> float:
    """Return the seconds of the teacher's pass: the layers over all rows, the scores of response rows."""
    draw = torch.Generator().manual_seed(0)
    tokens = case.prompt + case.solution + case.response
    input_ids = torch.randint(89, (case.rollouts, tokens), generator=draw)
    weight = torch.randn(case.vocabulary, SHAPE.width, generator=draw)
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        hidden = model.model(input_ids, use_cache=False).last_hidden_state[:, -case.response - 1 : -1]
        score_tokens(hidden.flatten(0, 1), weight, input_ids[:, -case.response :].flatten())
        best = min(best, time.perf_counter() - start)
    return best


def measure_all(cases: Sequence[Case]) -> list[float]:
    """Return the seconds of each case, by one decoder that was warmed up."""
    model = random_decoder(replace(SHAPE, vocabulary=89))
    measure(model, Case())
    return [measure(model, case) for case in cases]


def table(cases: Sequence[Case], seconds: Sequence[float], rates: Sequence[float]) -> str:
    """Return a line per case, with what the formula says."""
    sizes = ("prompt", "solution", "response", "rollouts", "vocabulary")
    rows = []
    for case, measured in zip(cases, seconds, strict=True):
        predicted = predict(case, rates)
        off = f"{100 * (predicted / measured - 1):+.0f}"
        given = (f"{size:,}" for size in asdict(case).values())
        rows.append((*given, f"{measured:.3f}", f"{predicted:.3f}", off))
    return text_table((*sizes, "measured, s", "formula, s", "off by, %"), rows, "r")


def main() -> None:
    """Measure, fit, and write both files."""
    load = os.getloadavg()[0]
    seconds = measure_all(CASES)
    rates = fit(CASES, seconds)
    found = {"rates": rates, "cases": [asdict(case) for case in CASES], "seconds": seconds}
    (RESULTS / "cost.json").write_text(json.dumps(found, indent=1) + "\n")
    per_call, *per_kind = rates
    speeds = ", ".join(
        f"{name} {1 / rate:.0f} GFLOP/s" for name, rate in zip(Work._fields, per_kind, strict=True)
    )
    page = [
        "# How the teacher's pass grows",
        f"A decoder of {SHAPE.layers} layers and width {SHAPE.width}, float32; best of {ROUNDS} rounds. "
        f"Fitted: {per_call * 1e3:.0f} ms per call, {speeds}.",
        table(CASES, seconds, rates),
        f"{conditions(load)}\n- `python -m tests.benchmarks.cost`",
    ]
    (RESULTS / "cost.md").write_text("\n\n".join(page) + "\n")
    print(page[-2])


if __name__ == "__main__":
    main()
