"""Supervised training on verl's real trainer and engine: loss, gradient, checkpoints, resume, report."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.rehearsal.build import BuildSettings, build
from recipes.rehearsal.task import generate_rows
from tests.support import warm_python
from tests.support.recipes import REPOSITORY
from tests.support.saved_run import write_step
from verl_egrsd.checkpoints.export import export
from verl_egrsd.checkpoints.places import SavedStep, find_place
from verl_egrsd.evaluation.model import find_model
from verl_egrsd.report.history import read_steps
from verl_egrsd.sft import main as sft_main
from verl_egrsd.sft.dataset import SolutionDataset

pytestmark = pytest.mark.stack

LIMIT = 600
"""Seconds for all runs; on an idle core they take about a tenth of that."""
BATCH, ROWS = 8, 16
"""Two steps are an epoch, so that a run resumes in the middle of one and at its end."""


@pytest.fixture(scope="module")
def model():
    folder = REPOSITORY / ".cache" / "rehearsal" / "small"
    build(folder, BuildSettings())
    return folder / "model"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.parquet"
    pd.DataFrame(generate_rows("train", ROWS, seed=0)).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory, model, data):
    """Four steps with LoRA, again from the first and the second, one of all weights, three commands more."""
    root = tmp_path_factory.mktemp("runs")

    def command(name, *overrides):
        return [
            *("+preset=sft", "+base=tiny", "+hardware=cpu", f"model.path={model}"),
            *(f"data.train_files={data}", f"data.val_files={data}", f"data.train_batch_size={BATCH}"),
            *(f"trainer.default_local_dir={root / name / 'checkpoints'}", f"report.folder={root / name}"),
            *("trainer.total_training_steps=4", "trainer.save_freq=1", "trainer.test_freq=2", *overrides),
            "trainer.logger=[console,file]",
        ]

    # In whatever order they come, one step learns all of them.
    first_rows = (f"data.train_max_samples={BATCH}", "trainer.test_freq=-1")

    def resumed(step):
        path = root / "lora" / "checkpoints" / f"global_step_{step}"
        resume = ("trainer.resume_mode=resume_path", f"trainer.resume_from_path={path}")
        return command(f"resumed_{step}", *resume, "trainer.save_freq=-1", "trainer.test_freq=-1")

    commands = [
        command("lora"),
        resumed(1),
        resumed(2),
        command("full", "model.lora_rank=0", "trainer.total_training_steps=1", *first_rows),
        command("lora"),
        command("lora", "optim.lr=1e-3"),
        command("lora", "dry_run=true", "data.train_files=gone.parquet"),
    ]
    arguments = root / "arguments.json"
    arguments.write_text(json.dumps(commands))
    done = subprocess.run(
        [warm_python.python(), "-m", "tests.support.sft_probe", str(arguments)],
        cwd=REPOSITORY,
        env=os.environ | warm_python.environment() | {"VERL_PLATFORM": "cpu"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert "EXIT CODES [0, 0, 0, 0, 0, 1, 1]" in done.stdout, done.stdout[-3000:] + done.stderr[-5000:]
    return SimpleNamespace(root=root, said=done.stdout)


@pytest.fixture(scope="module")
def plain(model, data):
    """Loss and norm of its gradient over the first rows, by autograd of the model alone."""
    chat = {"apply_chat_template_kwargs": {"enable_thinking": True}, "max_length": 512}
    rows = SolutionDataset(str(data), AutoTokenizer.from_pretrained(model), OmegaConf.create(chat))
    student = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    total, tokens = torch.zeros(()), 0
    for row in (rows[i] for i in range(BATCH)):
        logits = student(row["input_ids"].unsqueeze(0)).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, row["input_ids"][1:], reduction="none")
        learned = row["loss_mask"][1:]
        total, tokens = total + (losses * learned).sum(), tokens + int(learned.sum())
    (total / tokens).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in student.parameters()])
    return SimpleNamespace(loss=float(total.detach()) / tokens, norm=float(norm))


def steps_of(runs, name):
    return read_steps(runs.root / name / "report.jsonl")


def saved(runs, name, step):
    return runs.root / name / "checkpoints" / f"global_step_{step}"


def test_the_loss_and_its_gradient_are_those_of_plain_autograd(runs, plain):
    step = steps_of(runs, "full")[1]
    assert step["train/loss"] == pytest.approx(plain.loss, rel=1e-5)
    assert step["train/grad_norm"] == pytest.approx(plain.norm, rel=1e-4)


def test_the_rows_are_learned(runs):
    steps = steps_of(runs, "lora")
    assert steps[4]["train/loss"] < steps[1]["train/loss"]
    assert steps[4]["val/loss"] < steps[2]["val/loss"]


@pytest.mark.parametrize("step", [1, 2], ids=["amid_an_epoch", "at_the_end_of_an_epoch"])
def test_a_resumed_run_ends_where_the_whole_one_does(runs, step):
    names = ("lora", f"resumed_{step}")
    whole, resumed = (torch.load(saved(runs, name, 4) / "model_world_size_1_rank_0.pt") for name in names)
    half = torch.load(saved(runs, "lora", step) / "model_world_size_1_rank_0.pt")
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key].to_local(), value.to_local(), rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(half[key].to_local(), value.to_local()) for key, value in whole.items())
    assert sorted(steps_of(runs, f"resumed_{step}")) == [*range(step + 1, 5)]


def test_a_run_that_is_done_says_so_and_other_settings_are_refused(runs):
    assert f"nothing to do: {saved(runs, 'lora', 4)} has all 4 steps of this run" in runs.said
    assert "was trained with other settings: optim.lr was 0.0005 and is 0.001" in runs.said


def test_a_dry_run_prints_the_configuration_and_names_what_is_missing(runs):
    assert "train_files: gone.parquet" in runs.said
    assert "data.train_files=gone.parquet does not exist" in runs.said


def test_the_report_shows_the_losses_and_how_the_run_ended(runs):
    report = json.loads((runs.root / "lora" / "report.json").read_text())
    assert (report["ending"]["how"], report["steps"], report["total_steps"]) == ("finished", 4, 4)
    assert [step for step, _ in report["curves"]["train/loss"]] == [1, 2, 3, 4]
    assert [step for step, _ in report["curves"]["val/loss"]] == [2, 4]
    assert "gradient norm" in report["health"]
    assert [file["bytes"] > 0 for file in report["data"]["training"]] == [True]
    page = (runs.root / "lora" / "report.html").read_text()
    assert "val/loss" in page


def test_a_checkpoint_is_known_by_what_lies_in_it(runs, model):
    step = saved(runs, "lora", 4)
    assert find_place(step) == SavedStep(step)
    assert SavedStep(step).base_model == str(model)
    assert (find_model(str(step)).kind, find_model(str(step)).base) == ("checkpoint", model)
    assert find_model(str(saved(runs, "full", 1))).base is None


@pytest.mark.parametrize(("name", "step"), [("lora", 4), ("full", 1)])
def test_an_exported_checkpoint_is_the_model_that_was_trained(runs, model, tmp_path, name, step):
    out = export(saved(runs, name, step), tmp_path / "model", dtype="float32")
    ids = torch.arange(20, 60).unsqueeze(0)
    with torch.no_grad():
        trained, base = (AutoModelForCausalLM.from_pretrained(path)(ids).logits for path in (out, model))
    assert (trained - base).abs().max() > 1e-3
    assert AutoTokenizer.from_pretrained(out).chat_template


def test_an_adapter_is_exported_as_one(runs, model, tmp_path):
    out = export(saved(runs, "lora", 4), tmp_path / "adapter", form="adapter")
    facts = json.loads((out / "adapter_config.json").read_text())
    assert (facts["r"], facts["lora_alpha"], facts["base_model_name_or_path"]) == (16, 32, str(model))


@pytest.fixture
def ended_run(monkeypatch, tmp_path):
    """Run the command with a training that a function replaces; return its exit code."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOG", "TENSORBOARD_DIR"):
        monkeypatch.setenv(name, "0")
    trainer = {"default_local_dir": str(tmp_path), "total_training_steps": 9}
    trainer |= {"resume_mode": "auto", "save_freq": 5}
    config = OmegaConf.create({"report": {"folder": str(tmp_path)}, "trainer": trainer})

    def run(train):
        trained = SimpleNamespace(LOG="LOG", train_sft=lambda config, start: train())
        monkeypatch.setitem(sys.modules, "verl_egrsd.sft.trainer", trained)
        monkeypatch.setattr(sft_main, "composed_for", lambda *_: sft_main._train(config, None))
        with pytest.raises(SystemExit) as left:
            sft_main.main()
        return left.value.code

    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(ended_run, tmp_path, capsys, number, code):
    for saved in (False, True):
        if saved:
            write_step(tmp_path, 5, supervised=True)
        assert ended_run(lambda: signal.raise_signal(number)) == code
        said = capsys.readouterr().err.strip()
        assert said.startswith("verl_egrsd: the run ended: it was interrupted.")
        assert ("The last checkpoint is" in said) == saved


def test_the_last_line_of_a_run_that_fails_says_why_and_how_to_go_on(
    ended_run, tmp_path, capsys, monkeypatch
):
    def fail():
        raise OSError("no space left for model.pt: free some hf_secret0123456789")

    monkeypatch.setenv("HF_TOKEN", "hf_secret0123456789")
    write_step(tmp_path, 5, supervised=True)
    assert ended_run(fail) == 1
    said = capsys.readouterr().err
    assert "hf_secret" not in said
    *trace, last = said.splitlines()
    assert trace[0].startswith("Traceback")
    assert last.startswith("verl_egrsd: the run ended: OSError: no space left for model.pt")
    assert last.endswith(
        f"The last checkpoint is {tmp_path}/global_step_5; the same command goes on from it."
    )


@pytest.mark.parametrize(
    ("nodes", "environment", "message"),
    [
        (2, {}, r"trainer.nnodes=2 .* Run torchrun --nnodes=2 --nproc-per-node=8 -m verl_egrsd.sft.main"),
        (1, {"RANK": "0", "WORLD_SIZE": "4"}, "gives 8 ranks, but the environment says WORLD_SIZE=4"),
        (1, {}, None),
        (2, {"RANK": "9", "WORLD_SIZE": "16"}, None),
    ],
)
def test_another_number_of_processes_than_configured_is_refused(monkeypatch, nodes, environment, message):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, number in environment.items():
        monkeypatch.setenv(name, number)
    config = OmegaConf.create({"trainer": {"nnodes": nodes, "n_gpus_per_node": 8}})
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        sft_main.check_ranks(config)


def test_several_ranks_are_left_to_torchrun_with_the_same_arguments(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execv", lambda program, command: calls.append(command))
    monkeypatch.setattr(sys, "argv", ["verl-egrsd sft", "+preset=sft"])
    sft_main._run_torchrun(8)
    assert calls == [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=8"),
            *("-m", "verl_egrsd.sft.main", "+preset=sft"),
        ]
    ]
