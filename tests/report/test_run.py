"""The report of a run: what it holds, what survives a crash and a resume, equal bytes for equal runs."""

import json
import math
import os
import re
from contextlib import nullcontext
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.exceptions import RayTaskError

from tests.report.test_health import GOOD
from verl_egrsd.report import ending as run_ending
from verl_egrsd.report.curves import draw_curves
from verl_egrsd.report.ending import ending, noting
from verl_egrsd.report.health import all_checks
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.page import _parts
from verl_egrsd.report.run import RunReport, describe_run, note_ending, report_mark
from verl_egrsd.report.settings import ReportConfig

NOW = "2026-11-21T10:00:00+00:00"
VALIDATION = {"val-core/rehearsal/sums/acc/mean@1": 0.625, "val-aux/rehearsal/sums/score/mean@1": 0.625}


@pytest.fixture
def described(tmp_path):
    parquet = tmp_path / "train.parquet"
    pq.write_table(pa.table({"data_source": ["rehearsal/sums"] * 3}), parquet)
    settings = {
        "algorithm": {"egrsd": {"factors": ["ratio", "entropy_gate"]}},
        "trainer": {"experiment_name": "a <b> run"},
        "actor_rollout_ref": {"rollout": {"name": "scripted"}},
    }
    files = {"training": [parquet], "validation": [parquet]}
    return describe_run(settings, 4, files, {"rehearsal/sums": 3}) | {"date": "2026-11-21"}


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    monkeypatch.setattr(run_ending, "now", lambda: NOW)


@pytest.fixture
def start(tmp_path, described):
    def started(resumed_at=0, folder="run", **more):
        return RunReport(ReportConfig(str(tmp_path / folder)), described, resumed_at, **more)

    return started


def step(number, **changes):
    few = {"training/global_step": float(number), "egrsd/correct": number / 10, "egrsd/truncated": 0.02}
    return few | changes


def written(report):
    return json.loads((report.folder / "report.json").read_text())


def test_a_report_exists_from_the_start_and_is_written_at_every_step(start):
    report = start()
    assert (written(report)["steps"], written(report)["ending"]["how"]) == (0, "running")
    for number in (1, 2, 3):
        report.record(number, step(number) | (VALIDATION if number == 2 else {}))
        facts = written(report)
        assert facts["steps"] == number
        assert facts["curves"]["egrsd/correct"][-1] == [number, number / 10]
        assert f"step {number} of 4" in (report.folder / "report.html").read_text()
    assert facts["curves"]["val-core/rehearsal/sums/acc/mean@1"] == [[2, 0.625]]


def test_a_picture_that_is_costly_to_draw_waits_for_a_validation_or_the_end(start):
    report = start()
    report.drawing_takes = math.inf
    report.record(1, step(1))
    assert report.drawn_to == 0
    assert '"values":[0.1]' in (report.folder / "report.html").read_text()  # the page has every step
    report.record(2, step(2) | VALIDATION)
    assert report.drawn_to == 2
    report.drawing_takes = math.inf
    report.record(3, step(3))
    report.end(ending("finished"))
    assert report.drawn_to == 3
    report.drawing_takes = 0
    report.record(4, step(4))
    assert report.drawn_to == 4


def test_a_report_that_begins_has_no_picture_of_an_earlier_run_and_one_that_goes_on_keeps_its_own(start):
    first = start()
    first.record(1, step(1) | VALIDATION)
    picture = first.folder / "curves.png"
    assert picture.exists()
    start(resumed_at=1)
    assert picture.exists()
    begun = start()
    assert begun.folder == first.folder
    assert not picture.exists()
    begun.record(1, step(1))
    assert not picture.exists()  # a step of a moment; the end draws it
    begun.end(ending("finished"))
    assert picture.exists()


def test_how_a_run_ended_is_in_the_report_and_on_the_page(start):
    report = start()
    report.record(1, step(1))
    assert "was killed and could not say so" in (report.folder / "report.html").read_text()
    report.end(ending("stopped", "KeyboardInterrupt"))
    assert written(report)["ending"] == {"how": "stopped", "why": "KeyboardInterrupt", "at": NOW}
    assert (
        "Stopped</span> at 2026-11-21T10:00:00+00:00: KeyboardInterrupt"
        in (report.folder / "report.html").read_text()
    )


@pytest.mark.parametrize(
    ("error", "how", "why"),
    [
        (None, "finished", None),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
        (SystemExit(1), "stopped", "SystemExit: 1"),
        (ValueError("the loss is gone"), "failed", "ValueError: the loss is gone"),
        (RayTaskError("train", "a remote traceback", OSError("no space")), "failed", "OSError: no space"),
        (ValueError("x" * 5000), "failed", "ValueError: " + "x" * 988),
    ],
)
def test_an_exception_says_how_a_run_ended_and_goes_on(error, how, why):
    endings = []
    with pytest.raises(type(error)) if error else nullcontext(), noting(endings.append):
        if error:
            raise error
    assert [(e["how"], e["why"]) for e in endings] == [(how, why)]


def test_the_process_that_started_a_run_notes_an_end_that_the_trainer_could_not_write(start):
    """Also when the clock stands still, or is set back meanwhile."""
    report = start()
    before = report_mark(report.folder)
    stopped = ending("stopped", "KeyboardInterrupt")
    note_ending(report.folder, stopped, since=before)
    assert written(report)["ending"]["how"] == "running", "the report of an earlier run"
    report.record(1, step(1))
    os.utime(report.folder / "report.json", (0, 0))
    note_ending(report.folder, stopped, since=before)
    assert written(report)["ending"] == stopped
    assert "Stopped" in (report.folder / "report.html").read_text()
    note_ending(report.folder, ending("failed"), since=before)
    assert written(report)["ending"] == stopped, "what the trainer or somebody else wrote stays"
    note_ending(report.folder / "nowhere", stopped, since=None)


def test_a_break_is_in_the_report_on_the_page_and_in_every_panel(start):
    changed = {"step": 2, "changed": {"actor_rollout_ref.actor.optim.lr": [5e-6, 1e-6]}}
    report = start(resumed_at=2, breaks=[changed, {"step": 3, "changed": {}}])
    assert written(report)["breaks"] == [changed, {"step": 3, "changed": {}}]
    page = (report.folder / "report.html").read_text()
    assert "<code>actor_rollout_ref.actor.optim.lr</code>" in page
    assert "<code>5e-06</code></td><td><code>1e-06</code>" in page
    assert "the earlier settings are not known" in page
    figure = draw_curves({1: step(1), 4: step(4)}, report.run["breaks"])
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 2
    for axes in panels:
        assert [line.get_xdata()[0] for line in axes.lines[-2:]] == [2.5, 3.5]


def test_a_folder_with_the_steps_of_another_run_gives_none_to_one_that_resumes(start):
    first = start()
    for number in (1, 2):
        first.record(number, step(number))
    assert start(resumed_at=2, goes_on=False).history.steps == {}


def test_the_validation_before_the_training_is_step_0_and_no_training_step(start):
    report = start()
    report.record(0, VALIDATION)
    report.record(1, step(1) | VALIDATION)
    facts = written(report)
    assert facts["curves"]["val-core/rehearsal/sums/acc/mean@1"] == [[0, 0.625], [1, 0.625]]
    assert facts["curves"]["egrsd/correct"] == [[1, 0.1]]
    assert len(training_steps(report.history.steps)) == 1


def test_the_report_names_data_by_hash_versions_settings_and_findings(start, tmp_path):
    report = start()
    report.record(1, step(1) | VALIDATION)
    facts = written(report)
    (file,) = facts["data"]["training"]
    content = (tmp_path / "train.parquet").read_bytes()
    assert (file["bytes"], file["sha256"]) == (len(content), sha256(content).hexdigest())
    assert {"python", "verl", "verl_egrsd", "torch"} <= facts["versions"].keys()
    assert facts["settings"]["trainer"]["experiment_name"] == "a <b> run"
    assert facts["health"]["truncation"]["level"] == "ok"
    assert facts["thresholds"]["truncation"] == [0.1, 0.5]


def test_the_page_holds_the_numbers_and_loads_nothing(start):
    report = start()
    report.record(1, GOOD | step(1, **{"egrsd/truncated": 0.7321}) | VALIDATION)
    facts, page = written(report), (report.folder / "report.html").read_text()
    for finding in facts["health"].values():
        assert finding["reading"] in page
        assert finding["advice"] in page
    assert "73.2 % of the responses were cut" in page
    assert '<td class="level fail">■ fail</td>' in page
    assert "<td>62.5 % [18.5, 92.4]</td>" in page
    assert "<tr><th>accuracy in training</th><td>10.0 %</td></tr>" in page
    assert facts["data"]["training"][0]["sha256"] in page
    assert f"torch {facts['versions']['torch']}" in page
    assert "a &lt;b&gt; run" in page
    assert "a <b> run" not in page
    assert not re.search(r'(src|href)="(?!#)|@import|url\((?!#)', page)


def test_equal_runs_leave_equal_reports(start):
    reports = [start(folder=name) for name in ("one", "other")]
    for report in reports:
        report.record(1, step(1) | VALIDATION)
        report.end(ending("finished"))
    one, other = (
        [(report.folder / name).read_bytes() for name in ("report.json", "report.html", "curves.png")]
        for report in reports
    )
    assert one == other


def test_a_resumed_run_goes_on_and_drops_the_steps_that_are_trained_again(start):
    first = start()
    for number in (1, 2, 3):
        first.record(number, step(number))
    second = start(resumed_at=2)
    assert list(second.history.steps) == [1, 2]
    second.record(2, VALIDATION)
    second.record(3, step(3, **{"egrsd/correct": 0.9}))
    second.record(4, step(4))
    facts = written(second)
    assert facts["curves"]["egrsd/correct"] == [[1, 0.1], [2, 0.2], [3, 0.9], [4, 0.4]]
    assert facts["curves"]["val-core/rehearsal/sums/acc/mean@1"] == [[2, 0.625]]
    assert read_steps(second.history.path) == second.history.steps


def test_a_new_run_in_the_same_folder_starts_anew(start):
    start().record(1, step(1))
    assert start().history.steps == {}


def test_a_crash_in_the_middle_of_a_line_loses_that_line_only(start):
    report = start()
    for number in (1, 2):
        report.record(number, step(number))
    content = report.history.path.read_bytes()
    report.history.path.write_bytes(content[: content.rindex(b"training/global_step")])
    resumed = start(resumed_at=2)
    assert list(resumed.history.steps) == [1]
    resumed.record(3, step(3))
    assert list(read_steps(resumed.history.path)) == [1, 3]


def test_what_is_not_finite_is_null_in_json_and_comes_back(start):
    report = start()
    report.record(1, step(1, **{"actor/grad_norm": math.nan}) | VALIDATION)
    text = (report.folder / "report.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert math.isnan(read_steps(report.history.path)[1]["actor/grad_norm"])
    assert written(report)["curves"]["actor/grad_norm"] == [[1, None]]
    assert written(report)["health"]["gradient norm"]["value"] is None


def test_numbers_of_numpy_are_numbers_and_tables_are_left_out(start):
    report = start()
    report.record(1, {"a": np.float32(0.5), "b": np.int64(3), "c": ["table"], "training/global_step": 1})
    assert read_steps(report.history.path) == {1: {"a": 0.5, "b": 3.0, "training/global_step": 1.0}}


@pytest.mark.parametrize("method", [{"factors": []}, {"factors": [], "divergence": {"kind": "forward"}}])
def test_the_check_of_a_divergence_is_named_where_the_method_has_one(method):
    checks = all_checks(_parts({"algorithm": {"egrsd": method}}))
    assert ("negative divergence" in checks) == ("divergence" in method)


def test_a_run_without_a_teacher_says_what_it_does_not_measure(start):
    report = start()
    report.record(1, {"training/global_step": 1, "egrsd/truncated": 0.0} | VALIDATION)
    page = (report.folder / "report.html").read_text()
    assert "Not measured in this run: verifier failures, length drift, repetition" in page
    missing = {*written(report)["not_measured"]}
    assert {"gate saturation", "clipped ratios"} <= missing
    assert missing <= {*all_checks(["ratio", "entropy_gate"])}  # and no check of another method's factor
