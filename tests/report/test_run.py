"""The report of a run: what it holds, what survives a crash and a resume, equal bytes for equal runs."""

import json
import math
import re
from hashlib import sha256

import numpy as np
import pytest

from tests.report.test_health import GOOD
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import RunReport, describe
from verl_egrsd.report.settings import ReportConfig

VALIDATION = {"val-core/rehearsal/sums/acc/mean@1": 0.625, "val-aux/rehearsal/sums/score/mean@1": 0.625}


@pytest.fixture
def described(tmp_path):
    parquet = tmp_path / "train.parquet"
    parquet.write_bytes(b"rows")
    settings = {
        "trainer": {"experiment_name": "a <b> run"},
        "actor_rollout_ref": {"rollout": {"name": "scripted"}},
    }
    return describe(settings, 4, {"training": [parquet], "validation": []}) | {"date": "2026-11-21"}


@pytest.fixture
def start(tmp_path, described):
    def started(resumed_at=0, folder="run"):
        return RunReport(ReportConfig(str(tmp_path / folder)), described, resumed_at)

    return started


def step(number, **changes):
    few = {"training/global_step": float(number), "egrsd/correct": number / 10, "egrsd/truncated": 0.02}
    return few | changes


def written(report):
    return json.loads((report.folder / "report.json").read_text())


def test_a_validation_writes_the_report_and_a_plain_step_does_not(start):
    report = start()
    report.record(1, step(1))
    assert not (report.folder / "report.html").exists()
    report.record(2, step(2) | VALIDATION)
    facts = written(report)
    assert facts["steps"] == 2
    assert facts["curves"]["egrsd/correct"] == [[1, 0.1], [2, 0.2]]
    assert facts["curves"]["val-core/rehearsal/sums/acc/mean@1"] == [[2, 0.625]]
    report.record(3, step(3))
    assert written(report)["steps"] == 2


def test_the_last_step_writes_the_report_without_a_validation_too(start):
    report = start()
    for number in range(1, 5):
        report.record(number, step(number))
    assert written(report)["steps"] == 4


def test_the_validation_before_the_training_is_step_0_and_no_training_step(start):
    report = start()
    report.record(0, VALIDATION)
    report.record(1, step(1) | VALIDATION)
    facts = written(report)
    assert facts["curves"]["val-core/rehearsal/sums/acc/mean@1"] == [[0, 0.625], [1, 0.625]]
    assert facts["curves"]["egrsd/correct"] == [[1, 0.1]]
    assert len(training_steps(report.history.steps)) == 1


def test_the_report_names_data_by_hash_versions_settings_and_findings(start):
    report = start()
    report.record(1, step(1) | VALIDATION)
    facts = written(report)
    (file,) = facts["data"]["training"]
    assert (file["bytes"], file["sha256"]) == (4, sha256(b"rows").hexdigest())
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
    assert '<td class="level act">■ act</td>' in page
    assert "<td>0.6250</td>" in page
    assert facts["data"]["training"][0]["sha256"] in page
    assert f"torch {facts['versions']['torch']}" in page
    assert "a &lt;b&gt; run" in page
    assert "a <b> run" not in page
    assert not re.search(r'(src|href)="(?!#)|@import|url\((?!#)', page)


def test_equal_runs_leave_equal_reports(start):
    reports = [start(folder=name) for name in ("one", "other")]
    for report in reports:
        report.record(1, step(1) | VALIDATION)
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


def test_a_run_without_a_teacher_says_what_it_does_not_measure(start):
    report = start()
    report.record(1, {"training/global_step": 1, "egrsd/truncated": 0.0} | VALIDATION)
    page = (report.folder / "report.html").read_text()
    assert "Not measured in this run: length drift, repetition" in page
    assert "gate saturation" in written(report)["not_measured"]
