"""Small evaluations for the tests: samples, tables and folders as `verl-egrsd eval` writes them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.evaluation.samples import Sample, SampleLog, begin_or_resume
from verl_egrsd.evaluation.settings import Settings
from verl_egrsd.evaluation.tables import Table, make_table

Outcome = tuple[int, bool]
"""Tokens, and whether the answer is right."""


def make_sample(
    problem: str, sample: int, tokens: int, correct: bool, *, benchmark: str = "sums", **others: Any
) -> Sample:
    """A sample whose answer is "7" when it is right and "8" when it is wrong."""
    facts = {"finish_reason": "stop", "extracted": "7" if correct else "8", "text": "é\u2028\\boxed{7}\n"}
    reason = "correct" if correct else "wrong"
    facts |= {"index": 0, "seed": 1, "reason": reason} | others
    return Sample(benchmark, problem, sample=sample, tokens=tokens, correct=correct, **facts)


def make_samples(problems: list[list[Outcome]], benchmark: str = "sums") -> list[Sample]:
    """The samples of problems p0, p1, ..., given as rows of outcomes."""
    return [
        make_sample(f"p{row}", sample, tokens, correct, benchmark=benchmark)
        for row, outcomes in enumerate(problems)
        for sample, (tokens, correct) in enumerate(outcomes)
    ]


def table_of(problems: list[list[Outcome]]) -> Table:
    return make_table(make_samples(problems))


def write_evaluation(folder: Path, lines: list[Sample], name: str = "run", **settings: Any) -> Path:
    """Write a finished evaluation."""
    sizes: dict[str, dict[str, Any]] = {}
    for benchmark in dict.fromkeys(sample.benchmark for sample in lines):
        problems = [sample.problem for sample in lines if sample.benchmark == benchmark]
        distinct = len(set(problems))
        sizes[benchmark] = {"problems": distinct, "samples": len(problems) // distinct, "sha256": "0"}
    identity = {"settings": asdict(Settings(**settings)), "benchmarks": sizes, "versions": {"vllm": "1"}}
    facts = {"name": name, "model": "models/x", "base": None, "date": "2026-01-02", "identity": identity}
    begin_or_resume(folder, facts)
    with SampleLog(folder) as log:
        for sample in lines:
            log.append(sample)
    return folder


def small_model(folder: Path) -> tuple[Path, Any]:
    """Write a small random Qwen3 with its tokenizer; returns its folder and the model."""
    folder.mkdir()
    tokenizer = build_small_tokenizer(folder)
    model = new_model(small_qwen3_config(len(tokenizer)), seed=0)
    save_model(model, tokenizer, folder)
    return folder, model


def random_adapter(model: Any, rank: int) -> Any:
    """Wrap a model with LoRA weights that are not the identity; their alpha is twice the rank."""
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=modules, task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    return wrapped


@st.composite
def outcome_tables(draw: st.DrawFn) -> list[list[Outcome]]:
    """Outcomes of 1 to 6 problems with 1 to 5 samples each."""
    outcome = st.tuples(st.integers(1, 3000), st.booleans())
    k = draw(st.integers(1, 5))
    return draw(st.lists(st.lists(outcome, min_size=k, max_size=k), min_size=1, max_size=6))
