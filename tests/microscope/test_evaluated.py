"""An evaluation under the microscope: its folder says which model answered what, and how."""

import json

import pandas as pd
import pytest

from recipes.rehearsal.task import generate_rows
from tests.evaluation.builders import make_sample
from verl_egrsd import cli
from verl_egrsd.evaluation.problems import read_benchmarks
from verl_egrsd.evaluation.samples import SampleLog, begin_or_resume
from verl_egrsd.microscope import command


@pytest.fixture
def benchmark(tmp_path):
    """Problems of another data set: no hash, no reference solution."""
    rows = generate_rows("validation", 3, seed=0)
    for row in rows:
        row["extra_info"] = {"index": 100 + row["extra_info"]["index"]}
    path = tmp_path / "contest.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def evaluation(folder, model, files, thinking=True):
    """Write an evaluation whose answers are all the same."""
    sampling = {"thinking": thinking, "temperature": 0.7, "max_new_tokens": 99}
    identity = {"settings": sampling, "model": {}}
    named = {file.stem: str(file) for file in files}
    begin_or_resume(folder, {"model": str(model), "base": None, "files": named, "identity": identity})
    with SampleLog(folder) as log:
        for name, problems in read_benchmarks(files).items():
            for problem in problems:
                log.append(make_sample(problem.id, 0, 3, True, benchmark=name, text="so \\boxed{7}"))
    return folder


def inspected(monkeypatch, *arguments):
    """Return what the command would score, without a model."""
    seen = []
    monkeypatch.setattr(command, "run_model", lambda *given: seen.append(given))
    monkeypatch.setattr(command, "write_pages", lambda *_: "index")
    assert cli.main(["inspect", *map(str, arguments), "--out", "no_such_folder"]) == 0
    ((source, question, method),) = seen
    return source, question, method


@pytest.mark.parametrize("thinking", [True, False])
def test_samples_are_scored_as_they_were_drawn(monkeypatch, tmp_path, model_path, benchmark, thinking):
    folder = evaluation(tmp_path / "run", model_path, [benchmark], thinking)
    source, question, method = inspected(monkeypatch, folder, "--rows", 2)
    assert (source, question.base) == (str(model_path), None)
    assert (question.data, question.rows) == (benchmark, 2)
    assert question.responses == str(folder / "samples.jsonl")
    assert (question.student_thinks, question.temperature) == (thinking, 0.7)
    assert method.reward.max_response_length == 99


def test_answers_of_the_teacher_are_refused(tmp_path, model_path, benchmark, capsys):
    folder = evaluation(tmp_path / "run", model_path, [benchmark])
    settings = json.loads((folder / "settings.json").read_text())
    settings["identity"]["settings"]["template"] = "concise"
    (folder / "settings.json").write_text(json.dumps(settings))
    assert cli.main(["inspect", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "holds answers of the teacher (template concise)" in capsys.readouterr().err


def test_of_several_files_one_is_named(monkeypatch, tmp_path, model_path, benchmark, data_path, capsys):
    folder = evaluation(tmp_path / "run", model_path, [benchmark, data_path])
    assert cli.main(["inspect", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert f"answers 2 files: name one with --data: {benchmark}, {data_path}." in capsys.readouterr().err
    _, question, _ = inspected(monkeypatch, folder, "--data", data_path)
    assert question.data == data_path


def test_an_evaluation_that_does_not_name_its_files_asks_for_one(tmp_path, model_path, benchmark, capsys):
    folder = evaluation(tmp_path / "run", model_path, [benchmark])
    settings = json.loads((folder / "settings.json").read_text())
    del settings["files"]
    (folder / "settings.json").write_text(json.dumps(settings))
    assert cli.main(["inspect", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "answers unknown files: name one with --data." in capsys.readouterr().err


def test_the_pages_of_a_data_set_without_solutions(tmp_path, model_path, benchmark, capsys):
    folder = evaluation(tmp_path / "run", model_path, [benchmark])
    call = ["inspect", str(folder), "--out", str(tmp_path / "pages"), "--estimator", "cl_egrsd"]
    assert cli.main(call) == 1
    said = capsys.readouterr().err
    assert "extra_info.solution of row 100 of" in said
    assert "template" in said
    assert cli.main([*call, "--template", "answer_only"]) == 0
    assert "row 102" in (tmp_path / "pages" / "index.html").read_text()
