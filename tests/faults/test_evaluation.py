"""An evaluation with vLLM that is ended leaves no process, and goes on with what it has."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

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

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.timeout(4 * LIMIT)]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Start the same evaluation again and again, in one folder or in others."""
    model = ROOT / ".cache" / "rehearsal" / "small"
    build(model, BuildSettings())
    folder = tmp_path_factory.mktemp("evaluation")
    data = folder / "sums.parquet"
    pd.DataFrame(generate_rows("validation", PROBLEMS, seed=0)).to_parquet(data)
    command = [sys.executable, "-m", "verl_egrsd.cli", "eval", str(model / "model")]
    command += ["--benchmarks", str(data), "--samples", str(K)]
    command += ["--preset", "rehearsal", "--enforce-eager", "--gpu-memory-utilization", "0.1"]
    command += ["--max-num-seqs", "1"]

    def started(*others, out="out"):
        arguments = [*command, "--out", str(folder / out), *others]
        with (folder / "log.txt").open("ab") as log:
            return psutil.Popen(arguments, env=os.environ | ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)

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


def test_replicas_draw_what_one_engine_drew_also_when_one_is_killed(evaluation, measured):
    """Without the tests above, one engine draws first."""
    folder, started = evaluation
    assert started().wait(LIMIT) == 0
    (folder / "log.txt").unlink()
    process = started("--replicas", "2", out="shared")
    family = [process]
    try:
        end = time.monotonic() + LIMIT
        while process.is_running() and lines_of(folder / "shared" / "samples.jsonl") < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        family += process.children(recursive=True)
        at = {connection.laddr.ip for one in family for connection in listening(one)}
        replicas = [one for one in family if "".join(one.cmdline()[:1]).startswith("ray::Replica")]
        replicas[-1].kill()
        with measured(
            "eval: one of 2 replicas killed", "the other draws its samples; the evaluation finishes"
        ):
            assert process.wait(LIMIT) == 0, (folder / "log.txt").read_text()[-3000:]
        _, alive = psutil.wait_procs(family, timeout=LEFT)
        assert not alive
    finally:
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    log = (folder / "log.txt").read_text()
    assert len(replicas) == 2
    assert {ip.removeprefix("::ffff:") for ip in at} <= {"127.0.0.1", "::1"}
    assert re.search(r"verl_egrsd: replica [01] (died|did not start): its process was killed", log), log
    assert "the evaluation goes on with 1 replica." in log
    assert "arning" not in log
    drawn, alone = (
        {sample.key: sample for sample in read_samples(folder / out / "samples.jsonl")}
        for out in ("shared", "out")
    )
    # Each sample has a seed of its own, and on this machine equal seeds give equal answers.
    assert drawn == alone
    assert len(drawn) == lines_of(folder / "shared" / "samples.jsonl") == PROBLEMS * K


def listening(process):
    """The sockets on which a process listens."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return [one for one in process.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
    return []
