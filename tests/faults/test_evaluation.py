"""An evaluation with vLLM that is ended leaves no process, and goes on with what it has."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from recipes.rehearsal.build import BuildSettings, build
from recipes.rehearsal.task import generate_rows
from tests.test_docs import ROOT
from verl_egrsd.evaluation.samples import read_samples

PROBLEMS, K = 8, 3
LIMIT = 240
"""Seconds to wait for the first samples; on two idle cores they take about a tenth of that."""
LEFT = 15
"""Seconds in which every process must have ended."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}

pytestmark = [pytest.mark.faults, pytest.mark.stack, pytest.mark.timeout(4 * LIMIT)]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Start the same evaluation again and again, in one folder."""
    model = ROOT / ".cache" / "rehearsal" / "small"
    build(model, BuildSettings())
    folder = tmp_path_factory.mktemp("evaluation")
    data = folder / "sums.parquet"
    pd.DataFrame(generate_rows("validation", PROBLEMS, seed=0)).to_parquet(data)
    command = [sys.executable, "-m", "verl_egrsd.cli", "eval", str(model / "model")]
    command += ["--benchmarks", str(data), "--out", str(folder / "out"), "--samples", str(K)]
    command += ["--preset", "rehearsal", "--enforce-eager", "--gpu-memory-utilization", "0.1"]
    command += ["--max-num-seqs", "1"]

    def started():
        with (folder / "log.txt").open("ab") as log:
            return psutil.Popen(command, env=os.environ | ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)

    return folder, started


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def end_after(process, samples, wanted, number):
    """Wait for samples, send a signal to the evaluation alone; return its processes, and what it had."""
    end = time.monotonic() + LIMIT
    while process.is_running() and lines_of(samples) < wanted and time.monotonic() < end:
        time.sleep(0.01)
    family = [process, *process.children(recursive=True)]
    before = samples.read_bytes() if samples.exists() else b""
    process.send_signal(number)
    return family, before


@pytest.mark.parametrize(
    ("wanted", "number", "how"),
    [
        (2, signal.SIGKILL, "killed with -9"),
        (5, signal.SIGTERM, "SIGTERM"),
        (8, signal.SIGINT, "Ctrl-C to it alone"),
    ],
)
def test_an_evaluation_that_is_ended_leaves_no_process_and_its_samples(
    evaluation, measured, wanted, number, how
):
    folder, started = evaluation
    samples = folder / "out" / "samples.jsonl"
    family, before = end_after(started(), samples, wanted, number)
    with measured(f"eval: {how}", "0 processes; the samples so far stay"):
        _, alive = psutil.wait_procs(family, timeout=LEFT)
    try:
        log = (folder / "log.txt").read_text()
        assert len(family) > 1, log[-3000:]
        assert before.count(b"\n") >= wanted, log[-3000:]
        assert not alive, (alive, log[-3000:])
        if number != signal.SIGKILL:
            said = f"interrupted after {lines_of(samples)} of {PROBLEMS * K} samples: run the same command"
            assert said in log, log[-3000:]
    finally:
        for process in alive:
            process.kill()
    assert samples.read_bytes().startswith(before)


def test_after_all_that_each_sample_is_there_once(evaluation):
    folder, started = evaluation
    process = started()
    try:
        assert process.wait(LIMIT) == 0, (folder / "log.txt").read_text()[-3000:]
    finally:
        for other in [*process.children(recursive=True), process] if process.is_running() else []:
            other.kill()
    keys = [sample.key for sample in read_samples(folder / "out" / "samples.jsonl")]
    assert len(keys) == len(set(keys)) == PROBLEMS * K
