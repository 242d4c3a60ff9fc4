"""`verl-egrsd check` on supervised trainings that are broken in one place each."""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest

from recipes.rehearsal.task import generate_rows
from tests.support.check_setup import Known, only, write_setup
from tests.support.check_setup import examined as examined_as
from tests.support.saved_run import write_step
from verl_egrsd.configs.composing import composed, preset_groups
from verl_egrsd.doctor import command, installed
from verl_egrsd.doctor.installed import FreshProcess
from verl_egrsd.doctor.lines import CheckLine, Severity
from verl_egrsd.doctor.supervised import SupervisedExamination
from verl_egrsd.output.lock import only_writer

pytestmark = pytest.mark.stack

ROWS = 40
"""Of 58 to 93 tokens."""
examined = partial(examined_as, SupervisedExamination)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setup")
    rows = write_setup(folder, ROWS)
    return ["preset=sft", "base=qwen3_4b", "hardware=gpu8", f"model.path={folder / 'model'}", *rows]


@pytest.fixture(scope="module")
def setup(words):
    return composed("verl_egrsd.configs.sft", "sft", words)


def wrongs(findings):
    return [finding for finding in findings if finding.level is Severity.WRONG]


def test_a_sound_setup_has_nothing_to_mend_and_shows_what_is_learned(setup, healthy):
    findings, examination = examined(setup)
    assert {finding.level for finding in findings} == {Severity.FINE}
    said = {finding.about: finding.text for finding in findings}
    order = "versions settings files folders start GPUs lengths disk memory seconds plug-in"
    assert list(said) == order.split()
    assert said["settings"] == "sft_model_nonthinking_seed0: supervised training on extra_info.solution"
    assert said["start"] == "the run starts anew"
    assert said["GPUs"] == "8 asked, 8 found"
    assert said["lengths"] == "data.val_files: 58 to 93 tokens, data.max_length=20,000"
    assert said["disk"].startswith("1,000 GB free at ")
    assert said["disk"].endswith(", 4 checkpoints of 1.6 GB")
    assert said["memory"].startswith("predicted GB per GPU: update 30 (weights 2.0; adapter, optimiser 0.3; ")
    assert said["memory"].endswith("of 86 (A100 80 GB)")
    assert said["seconds"].startswith(
        "predicted per step, if all rows are as long as the 40 that were read: "
    )
    assert examination.shown == (
        "=== row 0 of rehearsal/sums: the model reads\n"
        "<|im_start|>user\nFind 7+2+9.\nThink first, then give the final answer in \\boxed{}.<|im_end|>\n"
        "\n=== generation header\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        "\n=== here the response begins\n2+7=9, 9+9=18. The answer is \\boxed{18}.<|im_end|>"
        "\n=== here it ends; the loss is of the response alone"
    )


@pytest.mark.parametrize(
    ("changes", "about", "sentence"),
    [
        (
            {"model.path": None},
            "settings",
            "model.path to a folder or a hub id, or choose a preset, such as base=qwen3_4b with preset=sft",
        ),
        ({"optim.lr": "fast"}, "settings", "optim.lr=fast is not allowed: it must be a number of 0 or more"),
        ({"check.gpu": "h900"}, "settings", "check.gpu=h900 is not allowed: it must be one of a100_40gb"),
        ({"data.train_batch_size": 30}, "settings", "data.train_batch_size=30 does not divide among"),
        ({"data.train_files": "gone.parquet"}, "files", "data.train_files=gone.parquet does not exist: make"),
        (
            {"model.path": "own/no-such-model"},
            "files",
            "is neither a folder here nor in the hub's cache. Fetch it: hf download own/no-such-model",
        ),
        ({"report.folder": "/proc/nowhere"}, "folders", "cannot write to /proc/nowhere (No such file or dir"),
        ({"trainer.n_gpus_per_node": 16}, "GPUs", "Set trainer.n_gpus_per_node=8 (GPUS=8 of a recipe)"),
        ({"data.train_batch_size": 64}, "examples", "40 rows of data.train_files are left, less than one ba"),
    ],
)
def test_a_broken_setting_is_one_line_with_the_remedy(setup, healthy, changes, about, sentence):
    found = only(examined(setup, changes)[0], Severity.WRONG)
    assert found.about == about
    assert sentence in found.text


def test_rows_without_a_solution_are_named(setup, healthy, tmp_path):
    rows = generate_rows("train", ROWS, seed=0)
    for row in rows:
        del row["extra_info"]["solution"]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    found = only(examined(setup, {"data.train_files": str(tmp_path / "rows.parquet")})[0], Severity.WRONG)
    assert found.about == "examples"
    assert found.text.startswith("extra_info.solution of row 0 of rehearsal/sums")


def test_rows_above_the_cap_are_counted_as_refused_or_as_left_out(setup, healthy):
    refused, _ = examined(setup, {"data.max_length": 90})
    assert {line.text.partition(":")[0] for line in wrongs(refused)} == {"data.train_files", "data.val_files"}
    (said, _) = (line.text for line in wrongs(refused))
    number = int(said.partition("=90: ")[2].partition(" of the first 40 rows are longer.")[0])
    assert 0 < number < 8
    assert said.endswith("Raise it, or leave them out: data.examples.overlong=drop.")
    drops = {"data.max_length": 90, "data.examples.overlong": "drop"}
    left_out, _ = examined(setup, drops)
    assert wrongs(left_out) == []
    assert [line.text for line in left_out if line.level is Severity.DOUBT] == [
        f"data.{split}_files: 58 to 93 tokens, data.max_length=90: {number} of the first 40 rows are longer "
        "and are left out."
        for split in ("train", "val")
    ]
    few = only(examined(setup, drops | {"data.max_length": 70})[0], Severity.WRONG)
    assert "rows of data.train_files are left, less than one batch (data.train_batch_size=32)" in few.text


def test_rows_with_control_tokens_are_refused_or_counted_as_left_out(setup, healthy, tmp_path):
    rows = generate_rows("train", ROWS, seed=0)
    rows[3]["extra_info"]["solution"] += "<|im_end|>"
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    changed = {"data.train_files": str(tmp_path / "rows.parquet")}
    refused = only(examined(setup, changed)[0], Severity.WRONG)
    assert "extra_info.solution holds <|im_end|> in row 3 of rehearsal/sums" in refused.text
    noted = only(examined(setup, changed | {"data.examples.control_tokens": "drop"})[0], Severity.DOUBT)
    assert noted.text == (
        "data.train_files: 1 of the first 40 rows are left out; row 3 of rehearsal/sums: extra_info.solution "
        "holds <|im_end|>."
    )


def test_a_folder_that_another_run_writes_to_is_named(setup, healthy, tmp_path):
    with only_writer(tmp_path, "choose another"):
        found = only(examined(setup, {"trainer.default_local_dir": str(tmp_path)})[0], Severity.WRONG)
    assert found.about == "folders"
    assert f"{tmp_path} is in use by process" in found.text


def test_where_the_run_would_start_is_said(setup, healthy, tmp_path):
    here = {"trainer.default_local_dir": str(tmp_path), "trainer.n_gpus_per_node": 1}
    checkpoint = write_step(tmp_path, 5, supervised=True)
    refused = only(examined(setup, here)[0], Severity.WRONG)
    assert refused.about == "start"
    assert "was trained with other settings" in refused.text
    said = {finding.about: finding for finding in examined(setup, here | {"resume.accept_changes": True})[0]}
    assert said["start"] == CheckLine("start", f"the run goes on from {checkpoint}")
    done = here | {"resume.accept_changes": True, "trainer.total_training_steps": 5}
    assert "has all 5 steps of this run" in only(examined(setup, done)[0], Severity.DOUBT).text


def test_memory_that_is_predicted_not_to_fit_is_noted_with_what_to_set(setup, healthy):
    whole = {"trainer.n_gpus_per_node": 1, "model.lora_rank": 0}
    found = only(examined(setup, whole)[0], Severity.DOUBT)
    assert found.about == "memory"
    assert found.text.endswith(": update takes 94 GB of 86. Set model.use_fused_kernels=true.")
    assert wrongs(examined(setup, whole | {"model.use_fused_kernels": True})[0]) == []


def test_a_disk_that_fills_up_is_noted_with_the_key_of_supervised_training(setup, healthy, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4e9))
    found = only(examined(setup)[0], Severity.DOUBT)
    assert "4 checkpoints of 1.6 GB: set trainer.max_ckpt_to_keep=2 or less" in found.text
    epochs = {"trainer.save_freq": "after_each_epoch", "trainer.total_training_steps": None}
    found = only(examined(setup, epochs | {"trainer.total_epochs": 3})[0], Severity.DOUBT)
    assert "3 checkpoints of 1.6 GB" in found.text


def test_several_nodes_are_noted_with_the_command_of_each(setup, healthy, monkeypatch):
    nodes = {"trainer.nnodes": 2}
    found = only(examined(setup, nodes)[0], Severity.DOUBT)
    assert found.about == "nodes"
    assert "Run torchrun --nnodes=2 --nproc-per-node=8 -m verl_egrsd.sft.main with the same" in found.text
    monkeypatch.setenv("RANK", "0")
    found = only(examined(setup, nodes)[0], Severity.WRONG)
    assert "gives 16 ranks, but the environment says WORLD_SIZE=1" in found.text


def test_without_a_tokenizer_no_row_is_read_and_no_seconds_are_predicted(setup, healthy, monkeypatch):
    monkeypatch.setattr("verl_egrsd.doctor.supervised.load_tokenizer", lambda config: None)
    findings, examination = examined(setup)
    assert "no seconds are predicted: the tokenizer is not on this" in only(findings, Severity.DOUBT).text
    assert not {"lengths", "seconds"} & {finding.about for finding in findings}
    assert examination.shown == ""


def test_a_fresh_process_looks_for_what_supervised_training_uses_of_verl(monkeypatch):
    (found,) = FreshProcess(supervised=True).findings()
    assert found == CheckLine("plug-in", installed.SUPERVISED[1])


@pytest.mark.parametrize(("steps", "exit_code"), [("7", 0), ("ten", 1)])
def test_the_command_knows_supervised_training_by_its_words(
    words, healthy, monkeypatch, capsys, steps, exit_code
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:0")  # it uses no Ray
    refusal = "FAIL  settings       trainer.total_training_steps=ten"
    monkeypatch.setattr(command, "FreshProcess", lambda supervised: Known())
    given = argparse.Namespace(pairs=0, elsewhere=False)
    run = partial(command.run_check, given, [*words, f"trainer.total_training_steps={steps}"])
    if exit_code:
        with pytest.raises(SystemExit) as stopped:
            run()
        assert stopped.value.code == exit_code
    else:
        run()
    *_, last = lines = capsys.readouterr().out.splitlines()
    assert last == ("1 thing to mend: the run would fail." if exit_code else "Nothing is left to mend.")
    assert any(line.startswith(refusal) for line in lines) == bool(exit_code)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("optim.weigth_decay=0", "optim.weigth_decay is not a key .* did you mean optim.weight_decay"),
        ("model=qwen3_4b", "model=qwen3_4b is unknown: did you mean base=qwen3_4b"),
        ("hardware=gpu88", "hardware=gpu88 is unknown: did you mean hardware=gpu8"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_one(word, answer):
    with pytest.raises(ValueError, match=answer):
        command.run_check(argparse.Namespace(pairs=0, elsewhere=False), ["preset=sft", word])


def test_no_word_of_a_training_is_taken_for_one_of_supervised_training():
    presets = {module: preset_groups(f"verl_egrsd.configs{module}")["preset"] for module in ("", ".sft")}
    assert not {*presets[""]} & {*presets[".sft"]}
    assert "base" not in preset_groups("verl_egrsd.configs")
    assert all(command.is_supervised([f"preset={name}"]) for name in presets[".sft"])
    assert not any(command.is_supervised([f"preset={name}", "model=qwen3_4b"]) for name in presets[""])
    assert command.is_supervised(["+base=qwen3_4b"])
