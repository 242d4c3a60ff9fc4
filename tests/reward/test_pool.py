"""The pool: no item harms another, nothing is left behind, and it works wherever it is called from."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe

import psutil
import pytest

from verl_egrsd.reward import VerdictPool, self_test, verify_answer
from verl_egrsd.reward import pool as pool_module
from verl_egrsd.reward import selftest as selftest_module

pytestmark = pytest.mark.stack

ENDLESS = ("\\boxed{9^{9^{9^{9}}}}", "5")
PAIRS = [("\\boxed{0.5}", "\\frac{1}{2}"), ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}"), ("\\boxed{3}", "4")]
REASONS_OF_PAIRS = ["correct", "correct", "wrong"]


def workers(process: int | None = None) -> list[psutil.Process]:
    """Worker processes of a process (of this one by default) that are alive."""
    children = psutil.Process(process or os.getpid()).children()
    return [child for child in children if "verl_egrsd.reward.worker" in child.cmdline()]


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_in_a_burst_no_healthy_item_suffers_from_a_poisonous_neighbour():
    healthy = [(f"\\boxed{{\\frac{{{i}}}{{2}}}}", str(i / 2 + i % 2)) for i in range(2_000)]
    burst = [ENDLESS if i % 100 == 50 else pair for i, pair in enumerate(healthy)]
    before = len(workers())
    with VerdictPool(2, time_limit=2.0) as pool:
        reasons = [verdict.reason for verdict in pool.verify(burst)]
        assert len(workers()) - before <= 2
    right = ["wrong" if i % 2 else "correct" for i in range(2_000)]
    assert reasons == ["timeout" if i % 100 == 50 else reason for i, reason in enumerate(right)]
    assert len(workers()) == before


def test_a_stream_is_read_a_bounded_number_of_items_ahead():
    taken = 0

    def endless_stream() -> Iterator[tuple[str, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield "\\boxed{1}", "1"

    with VerdictPool(1) as pool:
        stream = pool.verify(endless_stream())
        assert all(next(stream).correct for _ in range(10))
        assert taken <= 10 + pool_module.LOOKAHEAD
        stream.close()


def test_threads_share_a_pool_and_get_their_own_verdicts():
    with VerdictPool(2) as pool, ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(lambda pair: pool.verify_one(*pair).reason, PAIRS * 40))
    assert verdicts == REASONS_OF_PAIRS * 40


def test_asyncio_gets_the_same_verdicts():
    async def judge() -> list[str]:
        found = await asyncio.gather(*(asyncio.to_thread(verify_answer, *pair) for pair in PAIRS * 10))
        return [verdict.reason for verdict in found]

    assert asyncio.run(judge()) == REASONS_OF_PAIRS * 10


def test_a_worker_that_dies_is_an_error_and_is_replaced(caplog):
    with VerdictPool(1, time_limit=60) as pool, ThreadPoolExecutor(1) as thread:
        assert pool.verify_one(*PAIRS[0]).correct
        (worker,) = pool._all
        endless = thread.submit(pool.verify_one, *ENDLESS)
        time.sleep(0.5)
        worker.process.kill()
        assert endless.result().reason == "error"
        assert pool.verify_one(*PAIRS[0]).correct
    (said,) = caplog.messages
    assert "(ground truth '5'): its process was killed or crashed. Its verdict is error" in said


def test_a_worker_stays_also_when_its_owner_once_took_much_memory():
    assert len(b"x" * 2**30) == 2**30
    with VerdictPool(1) as pool:
        used = set()
        for _ in range(3):
            assert pool.verify_one(*PAIRS[0]).correct
            used |= {worker.process.pid for worker in pool._all}
    assert len(used) == 1


def test_a_strictly_equal_answer_is_correct_even_when_it_cannot_be_computed():
    with VerdictPool(1, time_limit=1.0) as pool:
        verdict = pool.verify_one("\\boxed{\\sin(10^{10^{10}})+x}", "\\sin(10^{10^{10}}) + x")
    assert (verdict.reason, verdict.strict, verdict.disagreement) == (
        "correct",
        True,
        verdict.math != "correct",
    )


def test_ctrl_c_in_a_terminal_does_not_reach_a_worker_not_even_while_it_starts():
    with VerdictPool(1) as pool:
        assert pool.verify_one(*PAIRS[0]).correct
        (worker,) = pool._all
        assert os.getpgid(worker.process.pid) == worker.process.pid


def test_the_time_to_start_a_worker_does_not_count():
    with VerdictPool(1, time_limit=0.25) as pool:  # a start alone takes longer
        assert pool.verify_one("\\boxed{0.5}", "\\frac{1}{2}").correct


OWNER = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from verl_egrsd.reward import VerdictPool
pool = VerdictPool(2, time_limit=3)
with ThreadPoolExecutor(2) as threads:
    while len(pool._all) < 2:
        list(threads.map(lambda truth: pool.verify_one("\\\\boxed{1}", truth), "23"))
threading.Thread(target=pool.verify_one, args=("\\\\boxed{9^{9^{9^{9}}}}", "5"), daemon=True).start()
while len(pool._idle) > 1:
    time.sleep(0.01)
print("READY", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=["SIGKILL", "SIGTERM", "exit"])
def test_no_worker_outlives_its_owner(end):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "READY\n"
    orphans = workers(owner.pid)
    assert len(orphans) == 2  # one at rest, one that computes for ever
    if end is None:
        owner.communicate()
    else:
        owner.send_signal(end)
        owner.communicate()
    assert gone(orphans, seconds=30)


def test_a_fork_gets_workers_of_its_own():
    assert verify_answer(*PAIRS[0]).correct
    child = os.fork()
    if child == 0:
        os._exit(0 if verify_answer(*PAIRS[0]).correct and len(workers()) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert verify_answer(*PAIRS[0]).correct


def test_workers_load_neither_torch_nor_verl():
    assert verify_answer(*PAIRS[0]).correct
    for worker in workers():
        loaded = " ".join(mapping.path for mapping in worker.memory_maps())
        assert "torch" not in loaded
        assert worker.memory_info().rss < 200 * 2**20


def test_a_closed_pool_says_so():
    with VerdictPool(1) as pool:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        pool.verify_one(*PAIRS[0])


@pytest.mark.parametrize(("processes", "time_limit"), [(0, 1.0), (1, 0.0)])
def test_a_pool_without_workers_or_time_is_refused(processes, time_limit):
    with pytest.raises(ValueError, match="must be positive"):
        VerdictPool(processes, time_limit)


def test_a_worker_that_cannot_start_is_an_error_and_no_verdict(monkeypatch):
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "site-packages" not in folder])
    monkeypatch.setattr(sys, "executable", "/usr/bin/false")
    with VerdictPool(1) as pool, pytest.raises(RuntimeError, match="did not start"):
        pool.verify_one(*PAIRS[0])


def test_the_self_test_passes_and_leaves_no_process():
    before = len(workers())
    self_test()
    assert len(workers()) == before


def test_the_self_test_names_the_pair_that_fails(monkeypatch):
    wrong = (("so \\boxed{12}", "13", "correct"),)
    monkeypatch.setattr(selftest_module, "KNOWN", wrong)
    with pytest.raises(RuntimeError, match=r"boxed\{12\}' against '13' is wrong .*expected correct"):
        self_test()


def test_a_worker_whose_owner_is_gone_before_it_is_ready_ends_without_a_word():
    ours, theirs = Pipe()
    command = [sys.executable, "-m", "verl_egrsd.reward.worker", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    theirs.close()
    ours.close()
    assert process.communicate(timeout=120)[1] == b""
    assert process.returncode == 0
