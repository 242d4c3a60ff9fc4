"""The whole way on a CPU: vLLM answers with the small model, is killed, goes on, and is summed up."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import pandas as pd
import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.rehearsal.build import BuildSettings, build
from recipes.rehearsal.task import generate_rows
from tests.checkpoints.test_export import RANK, adapter_of, write_checkpoint
from tests.test_docs import ROOT
from verl_egrsd import cli
from verl_egrsd.checkpoints.export import export
from verl_egrsd.evaluation.compare import compare
from verl_egrsd.evaluation.problems import read_benchmarks
from verl_egrsd.evaluation.run import evaluate
from verl_egrsd.evaluation.samples import read_samples
from verl_egrsd.evaluation.settings import PRESETS, Settings
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.templates import TEMPLATES

from .builders import random_adapter

LIMIT = 240
"""Seconds for one process; on two idle cores it takes about a tenth of that."""
PROBLEMS, K = 8, 2
NEW_TOKENS = 24
"""Of the greedy answers that are compared with those of another engine."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}

pytestmark = [pytest.mark.ray, pytest.mark.timeout(2 * LIMIT)]


class Evaluation:
    """The command in a process of its own."""

    def __init__(self, folder, *arguments):
        self.log = folder / "log.txt"
        self.arguments = ["eval", *map(str, arguments), "--preset", "rehearsal", "--enforce-eager"]
        self.arguments += ["--gpu-memory-utilization", "0.1"]

    def start(self, *others):
        with self.log.open("ab") as stream:
            return psutil.Popen(
                [sys.executable, "-m", "verl_egrsd.cli", *self.arguments, *map(str, others)],
                env=os.environ | ENVIRONMENT,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def run(self):
        process = self.start()
        try:
            assert process.wait(LIMIT) == 0, self.log.read_text()[-3000:]
        finally:
            kill(process)


def kill(process):
    """End a process at once, with all that it started."""
    left = [process, *process.children(recursive=True)] if process.is_running() else []
    for other in left:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    psutil.wait_procs(left, timeout=10)


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(number, samples, process):
    """Wait until that many samples are written, or the process has ended."""
    end = time.monotonic() + LIMIT
    while process.is_running() and lines_of(samples) < number and time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def model():
    """The trained model of the rehearsal, which solves about half of the problems."""
    build(ROOT / ".cache" / "rehearsal" / "small", BuildSettings())
    return ROOT / ".cache" / "rehearsal" / "small" / "model"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.parquet"
    pd.DataFrame(generate_rows("validation", PROBLEMS, seed=0)).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, model, data):
    """An evaluation that was killed and went on, its folder, and the samples that it had before."""
    folder = tmp_path_factory.mktemp("resumed")
    samples = folder / "out" / "samples.jsonl"
    evaluation = Evaluation(folder, model, "--benchmarks", data, "--out", folder / "out", "--samples", K)
    # Two answers at a time, so that some are written while others have not begun.
    process = evaluation.start("--max-num-seqs", 2)
    wait_for(3, samples, process)
    kill(process)
    before = samples.read_bytes()
    assert 3 <= before.count(b"\n") < PROBLEMS * K, evaluation.log.read_text()[-3000:]
    samples.write_bytes(before + b'{"benchmark": "su')
    evaluation.run()
    return evaluation, folder / "out", before


def test_a_killed_evaluation_goes_on_and_draws_each_sample_once(resumed, data, capsys):
    evaluation, out, before = resumed
    samples = out / "samples.jsonl"
    log = evaluation.log.read_text()
    assert "the last line is unfinished (17 bytes); it is dropped." in log
    assert f"{PROBLEMS * K}/{PROBLEMS * K} samples" in log
    assert f"summary: {out / 'summary.md'}" in log
    assert "arning" not in log
    assert samples.read_bytes().startswith(before)

    drawn = {sample.key: sample for sample in read_samples(samples)}
    assert len(drawn) == lines_of(samples) == PROBLEMS * K
    problems = {problem.id: problem for problem in read_benchmarks([data])["sums"]}
    for (benchmark, problem, number), sample in drawn.items():
        assert sample.seed == PRESETS["rehearsal"].seed_for(benchmark, problem, number)
        assert sample.index == problems[problem].index
        assert sample.correct == (sample.extracted == problems[problem].ground_truth)
        assert (sample.tokens == PRESETS["rehearsal"].max_new_tokens) == (sample.finish_reason == "length")
    assert {sample.reason for sample in drawn.values()} >= {"correct", "wrong"}

    summary = json.loads((out / "summary.json").read_text())
    accuracy = sum(sample.correct for sample in drawn.values()) / len(drawn)
    assert summary["average"]["avg"]["value"] == pytest.approx(accuracy)
    assert f"{100 * accuracy:.1f} [" in log

    # The same samples are training data; nothing is drawn for that.
    sampled = ["sample", *evaluation.arguments[1:], "--data", str(data)]
    start = sampled.index("--benchmarks")
    assert cli.main([*sampled[:start], *sampled[start + 2 :], "--correct-only"]) == 0
    rows = pd.read_parquet(out / "samples.parquet")
    assert len(rows) == sum(sample.correct for sample in drawn.values())
    assert {extra["solution"] for extra in rows["extra_info"]} <= {sample.text for sample in drawn.values()}

    # Nothing is left to draw, so vLLM is not started; other settings are refused before it would be.
    assert cli.main(evaluation.arguments) == 0
    assert lines_of(samples) == PROBLEMS * K
    assert cli.main([*evaluation.arguments, "--seed", "1"]) == 1
    assert "settings.seed is 1, but the samples in" in capsys.readouterr().err


def test_the_same_model_answers_as_its_own_teacher(tmp_path, resumed, model, data, capsys):
    out, template = tmp_path / "teacher", TEMPLATES["reference_solution"]
    sampling = ("--temperature", 0, "--samples", 1, "--max-new-tokens", NEW_TOKENS)
    evaluation = Evaluation(tmp_path, model, "--benchmarks", data, "--out", out, *sampling)
    evaluation.arguments += ["--template", "reference_solution"]
    evaluation.run()
    found = {sample.index: sample.text for sample in read_samples(out / "samples.jsonl")}
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    flags = {"enable_thinking": True}
    context = PrivilegedContext(AutoTokenizer.from_pretrained(model), template, flags, flags)
    rows = generate_rows("validation", PROBLEMS, seed=0)
    expected = [written(plain, context, context.teacher_prompt_ids(row["prompt"], row)) for row in rows]
    assert [found[index] for index in range(PROBLEMS)] == expected != greedy(plain, model, data)
    comparison = compare(out, resumed[1])
    assert (comparison["a"], comparison["b"]) == ("teacher, as teacher (reference_solution)", "out")
    differing = comparison["settings"]
    assert differing["settings.template"] == ["reference_solution", None]
    assert "benchmarks.sums.sha256" not in differing

    assert cli.main(evaluation.arguments) == 0  # nothing is left to draw
    other = [*evaluation.arguments[:-1], "answer_only"]
    assert cli.main(other) == 1
    assert "settings.template is 'answer_only', but the samples in" in capsys.readouterr().err


def test_problems_that_were_read_for_the_student_are_not_answered_as_the_teacher(tmp_path, data):
    with pytest.raises(ValueError, match=r"template='none' does not fit the problems: give read_benchmarks"):
        evaluate("m", read_benchmarks([data]), tmp_path, settings=Settings(template="none"))


def written(model, context, prompt):
    """What transformers writes after a prompt, without sampling."""
    ids = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=NEW_TOKENS)[0]
    return context.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)


def test_a_lora_checkpoint_answers_as_its_merged_weights_do(tmp_path, model, data):
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plain = greedy(base, model, data)
    saved = write_checkpoint(tmp_path / "run", adapter_of(random_adapter(base, RANK)), model)
    merged = export(saved, tmp_path / "merged", dtype="float32")
    expected = greedy(AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32), model, data)
    assert expected != plain

    out = tmp_path / "out"
    sampling = ("--temperature", 0, "--samples", 1, "--max-new-tokens", NEW_TOKENS)
    Evaluation(tmp_path, saved, "--benchmarks", data, "--out", out, *sampling).run()
    found = {sample.index: sample.text for sample in read_samples(out / "samples.jsonl")}
    assert [found[index] for index in range(PROBLEMS)] == expected
    assert (out / "exported_model" / "adapter_model.safetensors").exists()


def greedy(model, tokenizer_folder, data):
    """What transformers writes for each problem, without sampling."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    answers = []
    for problem in read_benchmarks([data])["sums"]:
        prompt = tokenizer.apply_chat_template(
            problem.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**prompt, do_sample=False, max_new_tokens=NEW_TOKENS)[0]
        answers.append(tokenizer.decode(ids[prompt["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers
