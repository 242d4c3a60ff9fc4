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
from tests.faults.run import WatchedRun, title_of
from tests.test_docs import ROOT
from verl_egrsd.evaluation.samples import read_samples

CLI = ["-m", "verl_egrsd.cli"]
PROBLEMS, K = 8, 3
MANY = 40
"""Samples of each problem for two replicas: some are left for the next test when one starts late."""
LIMIT = 240
"""Seconds to wait for the first samples; on two idle cores they take about a tenth of that."""
HANGS = 20
"""Seconds without progress after which a replica is given up."""
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
    command = ["eval", str(model / "model")]
    command += ["--benchmarks", str(data), "--samples", str(K)]
    command += ["--preset", "rehearsal", "--enforce-eager", "--gpu-memory-utilization", "0.1"]
    command += ["--max-num-seqs", "1"]

    def started(*others, out="out", log=folder / "log.txt", program=CLI, group=None):
        arguments = [sys.executable, *program, *command, "--out", str(folder / out), *others]
        with log.open("ab") as stream:
            return psutil.Popen(
                arguments,
                env=os.environ | ENVIRONMENT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                process_group=group,
            )

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
            assert family[0].wait() == 128 + number
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


@pytest.fixture
def replicas(evaluation):
    """Two replicas that draw into one folder, where each test goes on; all processes end with the test."""
    folder, started = evaluation
    log, samples = folder / "shared.txt", folder / "shared" / "samples.jsonl"
    runs = []

    def drawing(*arguments, program=CLI):
        """Start them; wait until both draw."""
        log.write_bytes(b"")
        before = lines_of(samples)
        arguments = ["--replicas", "2", "--samples", str(MANY), *arguments]
        # A group of its own, as in a terminal, whose Ctrl-C goes to the whole group.
        driver = started(*arguments, out="shared", log=log, program=program, group=0)
        runs.append(run := WatchedRun(driver, log))

        def both():
            return len(ready_replicas(run)) == 2 and lines_of(samples) > before

        run.wait_until(both, LIMIT, "answer of two replicas")
        return run

    yield samples, drawing
    for run in runs:
        run.close()


def ready_replicas(run):
    """The replicas whose start has ended: Ray puts what an actor does in its process's title."""
    titles = {process: title_of(process) for process in run.left()}
    replicas = [one for one, title in titles.items() if "ray::Replica" in title and ".start" not in title]
    return [one for one in replicas if engines_of(one)]  # before its start it has none


def engines_of(replica):
    """The processes of vLLM's engine."""
    return [child for child in replica.children() if "Engine" in title_of(child)]


def said_at_the_end(run):
    """The lines after the last one of the progress."""
    return run.log.read_text().rpartition("\nsamples:")[2].splitlines()[1:]


@pytest.mark.parametrize(
    ("send", "how", "seconds"),
    [
        (lambda run: os.killpg(run.driver.pid, signal.SIGINT), "Ctrl-C in a terminal", LEFT),
        (lambda run: run.driver.terminate(), "SIGTERM", LEFT),
        (lambda run: run.driver.kill(), "killed with -9", 2 * LEFT),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_replicas_that_are_ended_leave_no_process_and_their_samples(replicas, measured, send, how, seconds):
    samples, drawing = replicas
    run = drawing()
    before = samples.read_bytes()
    with measured(f"eval with 2 replicas: {how}", "0 processes; the samples so far stay"):
        send(run)
        run.wait_for_all(seconds)
    assert samples.read_bytes().startswith(before)
    code = run.driver.wait()
    if how != "killed with -9":
        drawn = f"{lines_of(samples)} of {PROBLEMS * MANY} samples"
        said = f"verl-egrsd eval: interrupted after {drawn}: run the same command again."
        assert (code, said_at_the_end(run)) == (143 if how == "SIGTERM" else 130, [said])


def test_a_replica_that_hangs_is_replaced_by_the_other_and_then_none_is_left(replicas, measured):
    samples, drawing = replicas
    run = drawing("--no-progress", str(HANGS), program=[str(ROOT / "tests/support/patient_eval.py")])
    hanging, other = ready_replicas(run)
    (engine,) = engines_of(hanging)
    fault = f"with --no-progress {HANGS}"
    with measured(f"eval: one of 2 replicas hangs, {fault}", "the other draws its samples"):
        engine.suspend()
        run.wait_for("Its samples are drawn again", LIMIT)
    before = lines_of(samples)
    run.wait_until(lambda: lines_of(samples) > before, LIMIT, "answer of the other replica")
    with measured(f"eval: all replicas hang, {fault}", "named in the last line; the samples so far stay"):
        other.suspend()
        assert run.driver.wait(LIMIT) == 1
        run.wait_for_all(LEFT)
    hangs = rf"replica [01] made no progress for {HANGS} s \(--no-progress\)\."
    ends = f"It ended after {lines_of(samples)} of {PROBLEMS * MANY} samples: run the same command again."
    found = re.findall(f"{hangs} Its samples are drawn again", run.log.read_text())
    assert len(found) == 1
    *_, last = said_at_the_end(run)
    assert re.fullmatch(f"verl-egrsd eval: no replica is left: {hangs} {ends}", last), last


def test_replicas_draw_what_one_engine_drew_also_when_one_is_killed(replicas, measured, evaluation):
    """Without the tests above, one engine draws first."""
    folder, started = evaluation
    assert started().wait(LIMIT) == 0
    samples, drawing = replicas
    run = drawing()
    at = {connection.laddr.ip for one in run.left() for connection in listening(one)}
    ready_replicas(run)[-1].kill()
    with measured("eval: one of 2 replicas killed", "the other draws its samples; the evaluation finishes"):
        code = run.driver.wait(LIMIT)
        run.wait_for_all(LEFT)
    log = run.log.read_text()
    assert code == 0, log[-3000:]
    assert {ip.removeprefix("::ffff:") for ip in at} <= {"127.0.0.1", "::1"}
    assert re.search(r"verl_egrsd: replica [01] died: its process was killed", log), log[-3000:]
    assert "the evaluation goes on with 1 replica." in log
    assert "arning" not in log
    drawn, alone = (
        {sample.key: sample for sample in read_samples(path)}
        for path in (samples, folder / "out" / "samples.jsonl")
    )
    assert len(drawn) == lines_of(samples) == PROBLEMS * MANY
    # Each sample has a seed of its own, and on this machine equal seeds give equal answers.
    assert {key: drawn[key] for key in alone} == alone


def listening(process):
    """The sockets on which a process listens."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return [one for one in process.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
    return []
