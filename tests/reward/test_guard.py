"""A reward function of the user's own may give anything, raise anything, and never return."""

import asyncio
import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.reward.acceptance import REFUSED, ScoreChecks
from verl_egrsd.reward.guard import Guard, scored_row

pytestmark = pytest.mark.stack

ROW = {
    "data_source": "sums",
    "solution_str": "so \\boxed{3}",
    "ground_truth": "3",
    "extra_info": {"problem": "1+2?"},
}
LONG = 60.0
"""Seconds; no call of these tests comes near it."""


def score(function, checks=None, **row):
    async def run():
        return await Guard(function, checks or ScoreChecks())(**ROW | row)

    return asyncio.run(run())


@pytest.mark.parametrize("value", [1, 0.0, True, np.float32(0.5), np.array(1.0), torch.tensor(0.25)])
def test_a_number_in_the_range_is_the_score(value):
    assert score(lambda **_: value) == {"score": float(value), "acc": value, REFUSED: ""}


def test_what_the_function_gives_beside_the_score_stays():
    found = score(lambda **_: {"score": 1, "pred": "3", "acc": 1.0})
    assert found == {"score": 1.0, "pred": "3", "acc": 1.0, REFUSED: ""}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "it gave nan"),
        (math.inf, "it gave inf"),
        (None, "it gave None, which is not a number"),
        ("1.0", "it gave '1.0', which is not a number"),
        (5.0, "it gave 5, outside scores.range=[0, 1]"),
        (-3.0, "it gave -3, outside scores.range=[0, 1]"),
        ({"score": math.nan, "pred": "3"}, "it gave nan"),
        ({"value": 1}, "it gave a dictionary without the key score: {'value': 1}"),
        (np.ones(2), "can only convert an array of size 1"),
    ],
)
def test_what_is_not_a_score_is_refused_with_its_value(value, said):
    found = score(lambda **_: value)
    assert found["score"] == 0
    assert said in found[REFUSED]


@given(
    st.floats(-1e6, 1e6).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 1, low + 1e6))),
    st.floats(allow_nan=True),
)
def test_a_score_is_accepted_exactly_if_it_is_finite_and_within_the_stated_scale(scale, value):
    checks = ScoreChecks(range=scale)
    if math.isfinite(value) and scale[0] <= value <= scale[1]:
        assert checks.accepted(value) == value
    else:
        with pytest.raises(ValueError, match="it gave"):
            checks.accepted(value)


@pytest.mark.parametrize("error", [KeyError("key"), StopIteration(), SystemExit(3), TimeoutError("slow")])
def test_an_exception_of_the_function_is_the_rows_and_not_the_runs(error):
    def function(**_):
        raise error

    assert score(function)[REFUSED].startswith(f"it raised {type(error).__name__}")


def test_an_exception_does_not_bring_the_answers_control_characters_to_the_terminal():
    def function(solution_str, **_):
        raise ValueError(solution_str)

    assert score(function, solution_str="\x1b[2J")[REFUSED] == "it raised ValueError('\\x1b[2J')"


def test_a_coroutine_function_is_awaited_and_its_exception_is_the_rows():
    async def function(ground_truth, **_):
        await asyncio.sleep(0)
        return 1 / int(ground_truth)

    assert score(function, ground_truth="2")["score"] == 0.5
    assert "ZeroDivisionError" in score(function, ground_truth="0")[REFUSED]


def test_a_call_that_hangs_is_given_up_and_the_others_go_on():
    def function(ground_truth, **_):
        if ground_truth == "hang":
            time.sleep(3600)
        return 1.0

    async def run():
        guard = Guard(function, ScoreChecks(time_limit=5))
        rows = ["1"] * 50 + ["hang"] * 3 + ["2"] * 50
        return await asyncio.gather(*(guard(**ROW | {"ground_truth": row}) for row in rows))

    found = asyncio.run(run())
    assert [row[REFUSED] == "" for row in found] == [True] * 50 + [False] * 3 + [True] * 50
    assert found[50][REFUSED] == "it took longer than scores.time_limit=5 s"


def test_a_coroutine_function_that_hangs_is_given_up():
    async def function(**_):
        await asyncio.sleep(3600)

    assert "took longer" in score(function, ScoreChecks(time_limit=0.2))[REFUSED]


def test_a_coroutine_function_that_blocks_is_not_taken_for_one_that_hangs():
    """Each call is short; together they take longer than the limit of one."""

    async def function(**_):
        time.sleep(0.02)
        return 1.0

    async def run():
        guard = Guard(function, ScoreChecks(time_limit=0.6))
        guard._sentinel.grace = 0.2
        return await asyncio.gather(*(guard(**ROW) for _ in range(60)))

    assert all(found["score"] == 1.0 for found in asyncio.run(run()))


def test_calls_that_were_given_up_are_not_many_before_the_run_ends(monkeypatch):
    monkeypatch.setattr("verl_egrsd.reward.guard.THREADS", 1)

    async def run():
        guard = Guard(lambda **_: time.sleep(3600), ScoreChecks(time_limit=0.2))
        assert "took longer" in (await guard(**ROW))[REFUSED]
        with pytest.raises(RuntimeError, match=r"^1 calls of the reward function took longer than scores"):
            await guard(**ROW)

    asyncio.run(run())


def test_calls_run_beside_each_other():
    both = threading.Barrier(2, timeout=LONG)

    def function(**_):
        both.wait()
        return 1.0

    async def run():
        guard = Guard(function, ScoreChecks())
        return await asyncio.gather(guard(**ROW), guard(**ROW))

    assert [row["score"] for row in asyncio.run(run())] == [1.0, 1.0]


HOLDS_THE_INTERPRETER = """
import asyncio, re, time
from pathlib import Path
from verl_egrsd.reward import guard, sentinel
from verl_egrsd.reward.acceptance import ScoreChecks

def function(solution_str, **_):
    if solution_str == "wait":
        time.sleep(60)
    return float(bool(re.fullmatch(r"(a|a)*b", solution_str)))

async def run():
    judge = guard.Guard(function, ScoreChecks(time_limit=2), last_words=Path("last_words"))
    judge._sentinel.grace = 0.5
    def call(answer, problem):
        return judge(solution_str=answer, data_source="", ground_truth="3", extra_info={"problem": problem})

    print(await call("aab", "1+2?"), flush=True)
    await asyncio.gather(call("wait", "0?"), call("wait", "4?"), call("a" * 60, "1+2?"))

asyncio.run(run())
"""


def test_a_function_that_holds_the_interpreter_ends_its_process_and_the_row_is_named(tmp_path):
    command = [sys.executable, "-c", HOLDS_THE_INTERPRETER]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG)
    assert "'score': 1.0" in run.stdout
    assert run.returncode == -9
    assert "longer than scores.time_limit=2 s in one of the 3 calls for" in run.stderr
    assert re.findall("problem '(.*?)', response", run.stderr) == ["0?", "4?", "1+2?"]
    assert run.stderr.endswith(f"verl_egrsd: {(tmp_path / 'last_words').read_text()}")


def test_a_process_is_ended_also_where_its_last_words_cannot_be_written(tmp_path):
    (tmp_path / "last_words").mkdir()  # in the place of the file
    command = [sys.executable, "-c", HOLDS_THE_INTERPRETER]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG)
    assert run.returncode == -9
    assert "IsADirectoryError" in run.stderr


def test_the_sentinel_ends_with_its_owner(tmp_path):
    script = (
        "import subprocess, sys\n"
        "from verl_egrsd.reward.sentinel import Sentinel\n"
        "sentinel = Sentinel(60)\n"
        "with sentinel.watching('row'):\n"
        "    print(sentinel._process.pid, flush=True)\n"
        "    import os; os._exit(0)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG)
    process, deadline = Path(f"/proc/{int(run.stdout)}/cmdline"), time.monotonic() + LONG
    while process.exists() and b"sentinel" in process.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_row_is_named_by_its_problem_or_else_by_its_ground_truth():
    assert scored_row(ROW) == "problem '1+2?', response ...'so \\\\boxed{3}'"
    assert scored_row(ROW | {"extra_info": None}).startswith("ground truth '3', response")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("range", [1, 0]),
        ("range", [0, 1, 2]),
        ("range", "0..1"),
        ("range", [0, math.inf]),
        ("refused", "zero"),
        ("time_limit", 0),
        ("time_limit", math.inf),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=re.escape(f"scores.{key}={value!r} is not allowed")):
        ScoreChecks(**{key: value})
