"""The terminal shows each step of a rehearsal while it trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from recipes.rehearsal import progress
from recipes.rehearsal.progress import Follower, step_line

SCRIPT = Path(progress.__file__)
STEP = {"egrsd/correct": 0.5, "egrsd/response_length/mean": 41.2, "egrsd/entropy_gate/mean": 0.874}


def entry(step, **metrics):
    return json.dumps({"step": step, "data": metrics}) + "\n"


def test_a_step_is_one_line_with_what_changes():
    line = step_line(3, STEP | {"timing_s/step": 6.04}, 12)
    assert (
        line == "  step  3 of 12: 50% of the answers correct, 41 tokens an answer, entropy gate 0.87, 6.0 s"
    )


def test_a_validation_before_training_says_so():
    line = step_line(0, {"val-core/rehearsal/sums/acc/mean@1": 0.484}, 12)
    assert line == "  before training: 48 % of the validation problems correct"


def test_a_method_without_a_gate_shows_no_gate():
    assert "gate" not in step_line(1, {"egrsd/correct": 0.5}, None)


def test_only_what_is_new_and_whole_is_shown(tmp_path):
    follower, steps = Follower(tmp_path), tmp_path / "report.jsonl"
    assert list(follower.new_lines()) == []
    steps.write_text(entry(1, **STEP) + '{"step": 2, "da')
    assert [line[:9] for line in follower.new_lines()] == ["  step  1"]
    assert list(follower.new_lines()) == []
    (tmp_path / "report.json").write_text('{"total_steps": 2}')
    steps.write_text(entry(1, **STEP) + entry(2, **STEP))
    assert [line[:13] for line in follower.new_lines()] == ["  step  2 of "]


def test_what_is_left_is_shown_when_the_run_has_ended(tmp_path):
    with subprocess.Popen([sys.executable, SCRIPT, tmp_path], stderr=subprocess.PIPE, text=True) as following:
        (tmp_path / "report.jsonl").write_text(entry(1, **STEP))
        assert following.stderr is not None
        assert following.stderr.readline().startswith("  step  1:")
        with (tmp_path / "report.jsonl").open("a") as file:
            file.write(entry(2, **STEP))
        following.terminate()
        assert following.stderr.read().startswith("  step  2:")
    assert following.returncode == 0
