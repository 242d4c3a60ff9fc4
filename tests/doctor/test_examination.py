"""`verl-egrsd check` on set-ups that are broken in one place each: one line says what, and what to do."""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest

from recipes.rehearsal.task import generate_rows
from tests.support.check_setup import Known, only, write_setup
from tests.support.check_setup import examined as examined_as
from tests.support.saved_run import write_step
from verl_egrsd.checkpoints.choice import TRACKER
from verl_egrsd.configs.composing import composed
from verl_egrsd.doctor import command, installed
from verl_egrsd.doctor.examination import TrainingExamination
from verl_egrsd.doctor.installed import FreshProcess
from verl_egrsd.doctor.lines import CheckLine, Severity
from verl_egrsd.preflight import attention
from verl_egrsd.reward import selftest

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """A folder with a model's configuration and tokenizer, and one with rows, in a composed configuration."""
    folder = tmp_path_factory.mktemp("setup")
    words = ["preset=egrsd", "hardware=gpu8", f"actor_rollout_ref.model.path={folder / 'model'}"]
    return composed("verl_egrsd.configs", "egrsd", [*words, *write_setup(folder, 12)])


examined = partial(examined_as, TrainingExamination)


@pytest.mark.parametrize(("name", "kept"), [("opsd", True), ("egrsd", False)])
def test_the_seconds_of_a_step_have_the_hidden_states_of_a_divergence(setup, healthy, name, kept):
    findings, _ = examined(setup, {"algorithm.adv_estimator": name})
    (seconds,) = [finding.text for finding in findings if finding.about == "seconds"]
    assert ("hidden states 0." in seconds) == kept


def test_a_sound_setup_has_nothing_to_mend_and_shows_what_both_sides_read(setup, healthy):
    findings, examination = examined(setup)
    assert [f for f in findings if f.level is not Severity.FINE] == []
    said = {finding.about: finding.text for finding in findings}
    assert "method egrsd" in said["settings"]
    assert "8 asked, 8 found" in said["GPUs"]
    assert said["memory"].startswith("predicted GB per GPU: generation 54 (weights 2.0; adapter, optimiser ")
    assert "; vLLM 51.5), teacher's scores 10 (" in said["memory"]
    assert "of 86 (A100 80 GB)" in said["memory"]
    assert "predicted per step" in said["seconds"]
    student, teacher = examination.shown.split("=== row 0 of rehearsal/sums: the teacher reads\n")
    assert student.endswith(
        "\n=== generation header\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        "\n=== here the response begins\n\n"
    )
    assert "reference solution" in teacher
    assert "reference solution" not in student


@pytest.mark.parametrize(
    ("changes", "about", "sentence"),
    [
        ({"actor_rollout_ref.model.path": None}, "settings", "no model is named: set actor_rollout_ref.mod"),
        (
            {"trainer.total_training_steps": "ten"},
            "settings",
            "trainer.total_training_steps=ten is not allowed: it must be a whole number",
        ),
        ({"algorithm.egrsd.gamma": 1.5}, "settings", "algorithm.egrsd.gamma=1.5 is not allowed: it must be"),
        (
            {"actor_rollout_ref.teacher.max_prompt_length": 40_000},
            "settings",
            "together are above the 40960 positions of",
        ),
        ({"data.val_files": "gone.parquet"}, "files", "data.val_files=gone.parquet does not exist: make it"),
        (
            {"actor_rollout_ref.model.path": "own/no-such-model"},
            "files",
            "is neither a folder here nor in the hub's cache. Fetch it: hf download own/no-such-model",
        ),
        *(
            ({key: "/proc/nowhere"}, "folders", "cannot write to /proc/nowhere (No such file or directory)")
            for key in ("report.folder", "trainer.rollout_data_dir", "trainer.validation_data_dir")
        ),
        ({"trainer.n_gpus_per_node": 16}, "GPUs", "Set trainer.n_gpus_per_node=8 (GPUS=8 of a recipe)"),
        (
            {"actor_rollout_ref.teacher.max_prompt_length": 100},
            "lengths",
            "actor_rollout_ref.teacher.max_prompt_length=100: 12 of the first 12 rows are longer. Raise",
        ),
    ],
)
def test_a_broken_setting_is_one_line_with_the_remedy(setup, healthy, changes, about, sentence):
    findings, _ = examined(setup, changes)
    found = only(findings, Severity.WRONG)
    assert found.about == about
    assert sentence in found.text


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_a_checkpoint_that_the_start_refuses_is_named_and_nothing_of_the_run_changes(
    setup, healthy, tmp_path
):
    here = {"trainer.default_local_dir": str(tmp_path), "trainer.n_gpus_per_node": 1}
    write_step(tmp_path, 5)
    (tmp_path / TRACKER).write_text("7")
    before = contents(tmp_path)
    found = only(examined(setup, here)[0], Severity.WRONG)
    assert found.about == "start"
    assert "global_step_7 is not there" in found.text
    assert "newest whole checkpoint" in found.text
    assert contents(tmp_path) == before
    # Another machine has other folders.
    assert [f for f in examined(setup, here, elsewhere=True)[0] if f.level is Severity.WRONG] == []


def test_where_the_run_would_start_is_said(setup, healthy, tmp_path):
    here = {"trainer.default_local_dir": str(tmp_path), "trainer.n_gpus_per_node": 1}
    here |= {"trainer.total_training_steps": 7, "resume.accept_changes": True}
    said = {finding.about: finding for finding in examined(setup, here)[0]}
    assert said["start"] == CheckLine("start", "the run starts anew")
    checkpoint = write_step(tmp_path, 5)
    said = {finding.about: finding for finding in examined(setup, here)[0]}
    assert said["start"] == CheckLine("start", f"the run goes on from {checkpoint}")
    write_step(tmp_path, 7)
    said = {finding.about: finding for finding in examined(setup, here)[0]}
    assert said["start"].level is Severity.DOUBT
    assert "global_step_7 has all 7 steps of this run" in said["start"].text


def test_memory_that_is_predicted_not_to_fit_is_noted_with_what_to_set(setup, healthy):
    found = only(
        examined(setup, {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.95})[0], Severity.DOUBT
    )
    assert found.about == "memory"
    assert (
        "generation takes 84 GB of 86. Set actor_rollout_ref.rollout.gpu_memory_utilization=0.7."
        in found.text
    )


def test_a_row_that_training_would_refuse_is_named(setup, healthy, tmp_path):
    rows = generate_rows("train", 4, seed=0)
    rows[2]["extra_info"]["solution"] = " "
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    findings, _ = examined(setup, {"data.train_files": str(tmp_path / "rows.parquet")})
    found = only(findings, Severity.WRONG)
    assert found.about == "prompts"
    assert "extra_info.solution of row 2 of rehearsal/sums" in found.text


def test_a_cluster_that_does_not_answer_is_named_with_its_address(setup, healthy):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    findings, _ = examined(setup, {"ray_kwargs.ray_init.address": f"127.0.0.1:{port}"})
    found = only(findings, Severity.WRONG)
    assert found.about == "nodes"
    assert f"ray_kwargs.ray_init.address=127.0.0.1:{port}: no Ray cluster answers there" in found.text


def test_a_disk_without_room_for_a_checkpoint_is_named_and_one_that_fills_up_is_noted(
    setup, healthy, monkeypatch
):
    for free, level, remedy in (
        (1e9, Severity.WRONG, "not even one fits. Choose another trainer.default_local_dir"),
        (4e9, Severity.DOUBT, "set trainer.max_actor_ckpt_to_keep=2 or less"),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        found = only(examined(setup)[0], level)
        assert found.about == "disk"
        assert remedy in found.text


def test_a_broken_verifier_and_another_verl_are_named(setup, healthy, monkeypatch):
    def fail():
        raise RuntimeError("the verifier's self-test failed: check the installed versions")

    monkeypatch.setattr(selftest, "self_test", fail)
    assert only(examined(setup)[0], Severity.WRONG).about == "verifier"
    monkeypatch.setattr(selftest, "self_test", lambda: None)
    monkeypatch.setattr("verl_egrsd.compat.version", lambda _: "0.8.0")
    found = [finding for finding in examined(setup)[0] if finding.level is Severity.WRONG]
    assert [finding.about for finding in found] == ["versions", "settings"]
    assert "verl 0.8.0 is outside the tested window" in found[0].text


def test_flash_attn_that_is_not_installed_is_named_where_gpus_need_it(setup, healthy, monkeypatch):
    def fail(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(attention, "import_module", fail)
    found = only(examined(setup)[0], Severity.WRONG)
    assert found.about == "attention"
    assert "pip install flash-attn --no-build-isolation. Or choose another" in found.text
    findings, _ = examined(setup, elsewhere=True)
    assert {finding.level for finding in findings} == {Severity.FINE}


def test_answers_that_think_in_a_small_cap_are_noted_with_the_cap_that_they_need(setup, healthy):
    thinking = {"data.apply_chat_template_kwargs": {"enable_thinking": True}}
    found = only(examined(setup, thinking)[0], Severity.DOUBT)
    assert "data.max_response_length=1,024 cuts most answers that do: set it to 16384" in found.text
    findings, _ = examined(setup, thinking | {"data.max_response_length": 16_384})
    assert {finding.level for finding in findings} == {Severity.FINE}


def test_a_run_for_another_machine_asks_for_no_gpu_and_no_disk_here(setup, healthy, monkeypatch):
    monkeypatch.setattr("verl_egrsd.doctor.machine.gpus_here", lambda: 0)
    assert only(examined(setup)[0], Severity.WRONG).text.endswith(
        "another machine: verl-egrsd check --elsewhere."
    )
    findings, _ = examined(setup, elsewhere=True)
    assert {finding.level for finding in findings} == {Severity.FINE}
    assert "disk" not in {finding.about for finding in findings}


def test_a_fresh_process_that_fails_is_answered_with_its_last_line(monkeypatch):
    monkeypatch.setattr(installed, "REGISTERED", ("assert_registered('estimators')", "fine"))
    (found,) = FreshProcess().findings()
    assert found.level is Severity.WRONG
    assert found.text == "a fresh process does not work: KeyError: 'estimators'"


@pytest.mark.parametrize(("steps", "exit_code"), [("7", 0), ("ten", 1)])
def test_the_command_prints_a_line_per_finding_and_ends_with_the_exit_code(
    setup, healthy, monkeypatch, capsys, steps, exit_code
):
    monkeypatch.setattr(command, "FreshProcess", lambda supervised: Known())
    data = setup.data.train_files
    words = [
        "preset=egrsd",
        "hardware=gpu8",
        f"actor_rollout_ref.model.path={setup.actor_rollout_ref.model.path}",
    ]
    words += [f"data.train_files={data}", f"data.val_files={data}", f"trainer.total_training_steps={steps}"]
    arguments = argparse.Namespace(pairs=0, elsewhere=False)
    if exit_code:
        with pytest.raises(SystemExit) as stopped:
            command.run_check(arguments, words)
        assert stopped.value.code == exit_code
    else:
        command.run_check(arguments, words)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    versions       verl_egrsd ")
    assert lines[-1] == ("1 thing to mend: the run would fail." if exit_code else "Nothing is left to mend.")
    assert any(
        line.startswith("FAIL  settings       trainer.total_training_steps=ten") for line in lines
    ) == bool(exit_code)


def test_a_check_for_another_machine_does_not_ask_the_cluster(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:0")
    for elsewhere, refused in ((False, "no Ray cluster answers"), (True, "egrds is unknown")):
        with pytest.raises(ValueError, match=refused):
            command.run_check(argparse.Namespace(pairs=0, elsewhere=elsewhere), ["preset=egrds"])


def test_a_misspelt_preset_is_one_line_before_anything_is_imported():
    command_line = [sys.executable, "-m", "verl_egrsd.cli", "check", "preset=egrds", "model=qwen3_4b"]
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("verl-egrsd check: preset=egrds is unknown: did you mean preset=egrsd? ")
    assert done.stderr.count("\n") == 1
