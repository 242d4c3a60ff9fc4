"""An exported folder has a card of run, data and evaluation; an upload that cannot succeed is refused."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import huggingface_hub
import pytest
import yaml

from tests.checkpoints.test_export import adapter_of, base, trained, write_checkpoint
from verl_egrsd import cli
from verl_egrsd.checkpoints import push as pushing
from verl_egrsd.checkpoints.card import model_card
from verl_egrsd.checkpoints.export import export

SETTINGS = {
    "algorithm.adv_estimator": "cl_egrsd",
    "algorithm.egrsd.gamma": 0.3,
    "algorithm.egrsd.window": 3,
    "actor_rollout_ref.actor.optim.lr": 5e-6,
    "actor_rollout_ref.teacher.template": "/home/somebody/prompts/mine.txt",
    "data.train_batch_size": 32,
}
INTERVAL = {"value": 0.625, "low": 0.5, "high": 0.75}
LENGTH = {"value": 1234.4, "low": 1200.0, "high": 1300.0}
__all__ = ["base", "trained"]


@pytest.fixture
def run(tmp_path):
    """The files that a run of 100 steps leaves, beside prepared data."""
    step = tmp_path / "run" / "checkpoints" / "global_step_100"
    step.mkdir(parents=True)
    (step / "egrsd.json").write_text(json.dumps({"fingerprint": SETTINGS}))
    data = tmp_path / "somebodys data"
    data.mkdir()
    file = {"file": str(data / "train.parquet"), "bytes": 1, "sha256": "ab" * 32}
    report = {"versions": {"verl": "0.9.1"}, "data": {"training": [file]}}
    (tmp_path / "run" / "report.json").write_text(json.dumps(report))
    card = {
        "options": {"source": "owner/set"},
        "benchmarks": {"math500": 500},
        "stages": [{"stage": "decontaminate", "in": 1000, "out": 990}],
        "files": {"train.parquet": {"sha256": "ab" * 32}},
    }
    (data / "data_card.json").write_text(json.dumps(card))
    return SimpleNamespace(step=step, data=data)


@pytest.fixture
def evaluation(tmp_path):
    """The summary of an evaluation whose names are hostile."""
    folder = tmp_path / "evaluation"
    folder.mkdir()
    row = {"avg": INTERVAL, "length": LENGTH}
    summary = {
        "schema": "verl_egrsd.summary/1",
        "name": "[x](http://y) <script>",
        "date": "2026-01-01",
        "settings": {"samples": 4},
        "benchmarks": {"a|b": row},
        "average": row,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.mark.parametrize("name", ["run/report.json", "somebodys data/data_card.json"])
def test_a_cut_file_is_named_with_the_way_out(run, tmp_path, name):
    path = tmp_path / name
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=rf"^{path} is cut off .* remove it to leave it out\.$"):
        model_card(run.step, base="Qwen/Qwen3-4B", form="merged")
    path.unlink()
    model_card(run.step, base="Qwen/Qwen3-4B", form="merged")


def test_the_card_says_what_was_trained_on_what_and_how_it_was_measured(run, evaluation):
    card = model_card(run.step, base="Qwen/Qwen3-4B", form="merged", evaluations=[evaluation])
    front, text = card.split("---\n")[1:]
    facts = yaml.safe_load(front)
    assert (facts["base_model"], facts["library_name"]) == ("Qwen/Qwen3-4B", "transformers")
    assert "cl_egrsd" in facts["tags"]
    assert text.startswith("\n# Qwen/Qwen3-4B after 100 steps of cl_egrsd\n")
    flat = " ".join(text.split())
    for said in (
        "| learning rate | 5e-06 |",
        "| window (lookahead, tokens) | 3 |",
        "| decontaminate | 1,000 | 990 |",
        "left out: math500.",
        "62.5 [50.0, 75.0]",
        "1,234 [1,200, 1,300]",
        "Versions: verl 0.9.1.",
        "ab" * 32,
    ):
        assert said in flat, said


def test_the_card_tells_nothing_of_the_folders_of_this_machine_and_shows_names_as_text(run, evaluation):
    card = model_card(run.step, base="/home/somebody/models/base", form="adapter", evaluations=[evaluation])
    assert "somebody" not in card
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "peft"
    assert "# base after 100 steps" in card
    assert r"\[x\](http://y) &lt;script>" in card
    assert r"a\|b" in card


def test_a_data_card_of_other_rows_is_not_quoted(run):
    facts = json.loads((run.data / "data_card.json").read_text())
    facts["files"]["train.parquet"]["sha256"] = "cd" * 32
    (run.data / "data_card.json").write_text(json.dumps(facts))
    assert "Prepared from" not in model_card(run.step, base="Qwen/Qwen3-4B", form="merged")


def test_without_records_the_card_says_so(tmp_path):
    card = model_card(tmp_path / "global_step_3", base="Qwen/Qwen3-4B", form="merged")
    assert card.count("Not recorded.") == 2
    assert "Not evaluated." in card


def test_what_the_model_does_as_its_own_teacher_is_not_in_the_card(run, evaluation):
    path = evaluation / "summary.json"
    path.write_text(path.read_text().replace('"samples": 4', '"samples": 4, "template": "answer_only"'))
    with pytest.raises(ValueError, match=r"was answered as the teacher \(template answer_only\)"):
        model_card(run.step, base="Qwen/Qwen3-4B", form="merged", evaluations=[evaluation])


def test_export_writes_the_card_and_refuses_an_evaluation_that_is_not_finished(tmp_path, request, evaluation):
    trained, base = request.getfixturevalue("trained"), request.getfixturevalue("base")
    saved = write_checkpoint(tmp_path / "run", adapter_of(trained), base)
    out = export(saved, tmp_path / "out", form="adapter", evaluations=[evaluation])
    assert "62.5 [50.0, 75.0]" in (out / "README.md").read_text()
    command = ["export", str(saved), "--out", str(tmp_path / "other"), "--form", "adapter"]
    assert cli.main([*command, "--evaluation", str(tmp_path)]) == 1
    assert not (tmp_path / "other").exists()


class Refusing(BaseHTTPRequestHandler):
    """A hub that accepts no token."""

    def do_GET(self):
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing_hub():
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_push_that_cannot_succeed_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, refusing_hub
):
    command = ["export", str(tmp_path), "--out", str(tmp_path / "out"), "--push"]

    def refusal(name: str) -> str:
        assert cli.main([*command, name]) == 1
        return capsys.readouterr().err

    assert "--push mine is not allowed: write OWNER/NAME." in refusal("mine")
    assert "--push me/a..b is not allowed: " in refusal("me/a..b")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "needs the hub, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" in refusal("me/mine")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(pushing, "get_token", lambda: None)
    assert "needs a login: run `hf auth login`, or set HF_TOKEN." in refusal("me/mine")
    monkeypatch.setattr(pushing, "get_token", lambda: "token")
    for endpoint, said in (
        (refusing_hub, "answers 401 to this login"),
        ("http://127.0.0.1:9", "cannot be reached"),
    ):
        monkeypatch.setattr(
            pushing, "HfApi", lambda at=endpoint: huggingface_hub.HfApi(endpoint=at, token="token")
        )
        assert said in refusal("me/mine")
    assert not (tmp_path / "out").exists()


def test_an_upload_sends_the_whole_folder(tmp_path, monkeypatch):
    calls = []
    api = SimpleNamespace(
        create_repo=lambda *names, **options: calls.append((names, options)),
        upload_folder=lambda **options: calls.append(options) or "https://hub/me/mine",
    )
    monkeypatch.setattr(pushing, "HfApi", lambda: api)
    assert pushing.push(tmp_path, "me/mine", private=True) == "https://hub/me/mine"
    assert calls == [
        (("me/mine",), {"private": True, "exist_ok": True}),
        {"repo_id": "me/mine", "folder_path": tmp_path},
    ]
