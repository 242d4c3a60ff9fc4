"""The command: what it writes, that it is cached, and how it refuses."""

import json
import signal
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.miniature.measurement import BUILD
from recipes.rehearsal import build as command
from recipes.rehearsal.measure import measure
from recipes.rehearsal.real_rows import read_rows, split_rows
from recipes.rehearsal.shipped import WEIGHTS, shipped_facts
from recipes.rehearsal.task import ROLES, generate_rows

pytestmark = pytest.mark.stack

SMALL = ["--train-rows", "12", "--validation-rows", "4", "--steps", "3"]


@pytest.fixture(autouse=True)
def few_measured_rows(monkeypatch):
    monkeypatch.setattr(command, "MEASURED_ROWS", 4)


def test_the_small_build_is_complete_and_cached(tmp_path, capsys):
    assert command.main(["--out", str(tmp_path), *SMALL]) == 0
    summary = json.loads((tmp_path / "rehearsal.json").read_text())
    assert {"student", "teacher", "teacher_entropy"} <= summary["before_training"].keys()
    train = pd.read_parquet(tmp_path / "data" / "train.parquet")
    assert len(train) == 12
    wrong = pd.read_parquet(tmp_path / "data" / "train_wrong.parquet")
    assert list(wrong.prompt) == list(train.prompt)
    assert list(wrong.reward_model) == list(train.reward_model)
    solutions = [[extra["solution"] for extra in rows.extra_info] for rows in (train, wrong)]
    assert not any(right == misled for right, misled in zip(*solutions, strict=True))
    assert train.prompt[0][0]["role"] == "user"
    assert len(pd.read_parquet(tmp_path / "data" / "validation.parquet")) == 4
    AutoTokenizer.from_pretrained(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")

    written = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert command.main(["--out", str(tmp_path), *SMALL]) == 0
    assert "already" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == written


@pytest.fixture(scope="module", params=ROLES)
def shipped_build(request, tmp_path_factory):
    """A build with the settings of its weights, but for the rows."""
    settings = {"rehearsal": command.BuildSettings(), "miniature": BUILD}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    command.build(folder, replace(settings, train_rows=12, validation_rows=4))
    return folder


def test_the_weights_of_the_package_belong_to_the_settings_in_use_and_to_the_tokenizer(shipped_build):
    recorded = json.loads((shipped_build / "rehearsal.json").read_text())
    assert recorded["training"]["steps"] == recorded["settings"]["steps"]
    weights = AutoModelForCausalLM.from_pretrained(shipped_build / "model").state_dict()
    shipped = load_file(WEIGHTS / recorded["settings"]["roles"] / "model.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in shipped.items())


def test_the_weights_of_the_package_solve_what_their_record_says(shipped_build):
    model, tokenizer = (
        kind.from_pretrained(shipped_build / "model") for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    recorded = json.loads((shipped_build / "rehearsal.json").read_text())["before_training"]
    measured = measure(model.eval(), tokenizer, generate_rows("validation", 64, seed=0), seed=1)
    for role in ("student", "teacher"):
        # Three standard errors of 64 answers near one half.
        assert measured[role]["accuracy"] == pytest.approx(recorded[role]["accuracy"], abs=0.19)


@pytest.mark.parametrize("other", [{"seed": 1}, {"steps": 2}, {"roles": "miniature"}])
def test_other_settings_have_no_weights_in_the_package(other):
    assert shipped_facts(command._described(command.BuildSettings())) is not None
    assert shipped_facts(command._described(command.BuildSettings(**other))) is None


def test_an_interrupted_build_ends_with_its_code_and_starts_over(tmp_path, monkeypatch, capsys):
    calls = []

    def interrupted(folder, given):
        calls.append(given)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(command, "_build_small", interrupted)
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            command.main(["--out", str(tmp_path)])
        assert left.value.code == 143
        assert capsys.readouterr().err == "rehearsal.build: interrupted: run the same command again.\n"
    assert len(calls) == 2


def test_other_settings_are_built_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_build_small", lambda folder, given: {"seed": given.seed})
    assert command.build(tmp_path, command.BuildSettings(seed=1))["seed"] == 1
    assert command.build(tmp_path, command.BuildSettings(seed=2))["seed"] == 2


def test_other_manners_of_the_roles_are_built_anew(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(command, "_build_small", lambda folder, given: calls.append(given) or {})
    settings = command.BuildSettings(roles="miniature")
    for roles in ("miniature", "miniature", "rehearsal"):
        monkeypatch.setitem(command.task.ROLES, "miniature", command.task.ROLES[roles])
        command.build(tmp_path, settings)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ["--steps", "0"],
        ["--train-rows", "-1"],
        ["--vocabulary", "large"],
        ["--data", "x.jsonl"],
        ["--roles", "x"],
    ],
)
def test_a_wrong_call_exits_with_2(tmp_path, wrong):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--out", str(tmp_path), *wrong])
    assert stopped.value.code == 2


def test_a_missing_file_exits_with_1(tmp_path, capsys):
    missing = str(tmp_path / "none.jsonl")
    assert command.main(["--out", str(tmp_path), "--vocabulary", "qwen3", "--data", missing]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_the_word_problems_of_the_package_are_right():
    rows = read_rows([])
    assert len(rows) == 8
    for row in rows:
        solution, answer = row["extra_info"]["solution"], row["reward_model"]["ground_truth"]
        assert "####" not in solution
        assert answer in solution.splitlines()[-1]


def test_both_forms_of_json_lines_and_parquet_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"problem": "p", "solution": "s {x}", "answer": "\\frac12"}) + "\n"
    )
    (tmp_path / "b.jsonl").write_text(
        json.dumps({"question": "q", "answer": "1+1=<<1+1=2>>2\n#### 1,200"}) + "\n"
    )
    rows = read_rows([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert [row["reward_model"]["ground_truth"] for row in rows] == ["\\frac12", "1200"]
    assert [row["extra_info"]["solution"] for row in rows] == ["s {x}", "1+1=2"]
    pd.DataFrame(rows).to_parquet(tmp_path / "c.parquet")
    assert read_rows([tmp_path / "c.parquet"]) == rows


def test_another_form_is_refused_with_file_line_and_fields(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: fields \['text'\]"):
        read_rows([tmp_path / "a.jsonl"])


def test_real_rows_are_split_without_overlap_and_repeated_to_fill_a_batch():
    train, validation = split_rows(read_rows([]), train=20, validation=128, seed=0)
    assert (len(train), len(validation)) == (20, 2)
    assert [row["extra_info"]["index"] for row in train] == list(range(20))
    problems = [{row["extra_info"]["problem"] for row in rows} for rows in (train, validation)]
    assert len(problems[0]) == 6
    assert not problems[0] & problems[1]
