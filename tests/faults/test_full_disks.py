"""Disks that are full or read-only, under the commands beside training: each names what it cannot write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from recipes.rehearsal.build import BuildSettings, build
from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.checkpoints.test_export import write_checkpoint
from tests.data_prep.raw_rows import sums, write_lines
from tests.evaluation.builders import make_samples, write_evaluation
from tests.test_docs import ROOT
from verl_egrsd.evaluation.samples import read_samples
from verl_egrsd.evaluation.summary import write_summary

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

LIMIT = 400
"""Seconds for a command on busy cores."""
CLI = ("-m", "verl_egrsd.cli")
PROBLEMS, SAMPLES = 8, 12


def preparation(folder: Path) -> list[str]:
    """Three thousand sums, which need 400 KiB."""
    return ["-m", "data_prep.openthoughts", "--source", write_lines(folder / "rows.jsonl", sums(3000))]


def export(folder: Path) -> list[str]:
    """A small model, of 2 MiB."""
    tokenizer = build_small_tokenizer(folder / "base")
    model = new_model(small_qwen3_config(len(tokenizer)), seed=0)
    save_model(model, tokenizer, folder / "base")
    return [
        *CLI,
        "export",
        str(write_checkpoint(folder / "run", model.state_dict(), folder / "base", lora=False)),
    ]


def frontier(folder: Path) -> list[str]:
    """Two evaluations of one problem."""
    runs = [
        write_evaluation(folder / name, make_samples([[(40, True), (tokens, False)]]), name)
        for name, tokens in (("short", 50), ("long", 90))
    ]
    for run in runs:
        write_summary(run)
    return [*CLI, "frontier", *map(str, runs)]


def reproduction(folder: Path) -> list[str]:
    """The data of a reproduction on the CPU."""
    stages = ["--stages", "model", "benchmarks", "data"]
    return [
        "-m",
        "recipes.reproduce.run",
        "--model",
        "qwen3_4b",
        "--hardware",
        "cpu",
        "--arms",
        "egrsd",
        *stages,
    ]


COMMANDS = {
    "data preparation": (preparation, 32, "data_card.json"),
    "export": (export, 64, "model.safetensors"),
    "frontier": (frontier, 16, "frontier.html"),
    "the reproduction": (reproduction, 64, "data/data_card.json"),
}
"""What makes the arguments of a command, KiB that are too few for its result, and what makes that whole."""


def run(arguments: list[str], out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments, "--out", str(out)]
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=LIMIT, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_whose_disk_is_full_names_the_file_and_leaves_nothing_that_looks_whole(
    small_disk, tmp_path, measured, name
):
    arguments, room, last = COMMANDS[name]
    disk, words = small_disk(f"size={room}k"), arguments(tmp_path)
    with measured(f"{name}: disk full", "the file is named"):
        ended = run(words, disk / "out")
    assert ended.returncode == 1, ended.stderr[-3000:]
    assert f"no space left for {disk}/out" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not (disk / "out" / last).exists()
    # What is there can be removed, and the same command then has its room.
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
    again = run(words, disk / "out")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (disk / "out" / last).exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_whose_disk_is_read_only_names_the_folder(small_disk, tmp_path, measured, name):
    disk, words = small_disk("size=64k,ro"), COMMANDS[name][0](tmp_path)
    with measured(f"{name}: read-only disk", "refused"):
        ended = run(words, disk / "out")
    assert ended.returncode in (1, 2), ended.stderr[-3000:]
    assert f"{disk}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.ray
def test_an_evaluation_whose_disk_gets_full_in_a_line_goes_on_with_each_sample_once(
    small_disk, tmp_path, measured
):
    small = ROOT / ".cache" / "rehearsal" / "small"
    build(small, BuildSettings())
    data, disk = tmp_path / "sums.parquet", small_disk("size=24k")
    pd.DataFrame(generate_rows("validation", PROBLEMS, seed=0)).to_parquet(data)
    words = [*CLI, "eval", str(small / "model"), "--benchmarks", str(data), "--samples", str(SAMPLES)]
    words += ["--preset", "rehearsal", "--enforce-eager", "--gpu-memory-utilization", "0.1"]
    with measured("eval: disk full in a line of the samples", "the file is named; the samples so far stay"):
        ended = run(words, disk / "out")
    assert ended.returncode == 1, ended.stderr[-3000:]
    assert f"no space left for {disk}/out/samples.jsonl" in ended.stderr.splitlines()[-1]
    before = (disk / "out" / "samples.jsonl").read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert whole
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    again = run(words, disk / "out")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (disk / "out" / "samples.jsonl").read_bytes().startswith(whole)
    keys = [sample.key for sample in read_samples(disk / "out" / "samples.jsonl")]
    assert len(keys) == len(set(keys)) == PROBLEMS * SAMPLES
    json.loads((disk / "out" / "summary.json").read_text())
