"""The console command: exit codes, messages without a traceback, and no heavy import before it is needed."""

import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from verl_egrsd import __version__, cli, main
from verl_egrsd.preflight import machine
from verl_egrsd.sft import main as sft_main


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"verl_egrsd {__version__}\n"


def test_help_lists_every_subcommand_and_imports_neither_torch_nor_verl():
    code = (
        "import sys; from verl_egrsd import cli\n"
        "try: cli.main(['--help'])\n"
        "finally: print('heavy:', sorted({'torch', 'verl', 'hydra', 'transformers'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("heavy: []\n")
    for name, command in cli.COMMANDS.items():
        assert f"    {name} " in shown
        assert command.help in shown


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["fly"],
        ["export"],
        ["export", "x"],
        ["export", "x", "--out", "y", "--form", "gguf"],
        ["export", "x", "--out", "y", "--dtype", "float16"],
        ["export", "x", "--out", "y", "--unknown"],
    ],
)
def test_a_wrong_call_exits_with_2(wrong):
    with pytest.raises(SystemExit) as stopped:
        cli.main(wrong)
    assert stopped.value.code == 2


def test_a_refusal_is_one_line_on_standard_error_and_exits_with_1(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"verl-egrsd export: {tmp_path}/none is missing: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("gamma=2"), FileNotFoundError("no such file")])
def test_an_error_that_the_user_can_mend_exits_with_1(monkeypatch, capsys, error):
    def refuse(*_):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "try", cli.Command("try it", lambda parser: None, refuse))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == f"verl-egrsd try: {error}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_signal_ends_every_command_with_its_code_and_one_line(monkeypatch, capsys, name, number, code):
    command = cli.Command("try it", lambda parser: None, lambda *_: signal.raise_signal(number))
    monkeypatch.setitem(cli.COMMANDS, name, replace(command, passes_on=cli.COMMANDS[name].passes_on))
    with pytest.raises(SystemExit) as left:
        cli.main([name])
    assert left.value.code == code
    assert capsys.readouterr().err == f"verl-egrsd {name}: interrupted: run the same command again.\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("module", [main, sft_main], ids=["train", "sft"])
def test_a_signal_ends_a_training_before_it_begins(monkeypatch, capsys, module, number, code):
    monkeypatch.setattr(module, "composed_for", lambda *_: signal.raise_signal(number))
    with pytest.raises(SystemExit) as left:
        module.main()
    assert left.value.code == code
    assert capsys.readouterr().err == "verl_egrsd: interrupted: run the same command again.\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "try", cli.Command("try it", lambda parser: None, lambda *_: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        cli.main(["try"])


def test_export_hands_its_arguments_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("run/global_step_3").mkdir(parents=True)
    calls = []

    def record(checkpoint, out, **options):
        calls.append((checkpoint, out, options))
        return out

    monkeypatch.setattr("verl_egrsd.checkpoints.export.export", record)
    assert cli.main(["export", "run/global_step_3", "--out", "model"]) == 0
    given = ["--weights", "teacher", "--form", "adapter", "--base", "Qwen/Qwen3-4B", "--dtype", "float32"]
    assert cli.main(["export", "run/global_step_3", "--out", "model", *given]) == 0
    assert calls[0] == (
        *("run/global_step_3", "model"),
        {"base_model": None, "weights": "student", "form": "merged", "dtype": "bfloat16", "evaluations": []},
    )
    assert calls[1][2] == {
        "base_model": "Qwen/Qwen3-4B",
        "weights": "teacher",
        "form": "adapter",
        "dtype": "float32",
        "evaluations": [],
    }
    assert capsys.readouterr().out == "model\nmodel\n"


@pytest.mark.parametrize(
    "overrides",
    [
        ["+preset=egrsd", "+model=tiny", "trainer.total_training_steps=2"],
        ["--cfg", "job", "+preset=egrsd"],
        ["+preset=egrsd", "--help"],
        ["dry_run=true", "-m", "a=1", "--version"],
        [],
    ],
)
def test_train_hands_everything_to_hydra_in_order(monkeypatch, overrides):
    seen = []
    monkeypatch.setattr("verl_egrsd.main.main", lambda: seen.append(sys.argv[1:]))
    monkeypatch.setattr(sys, "argv", ["unchanged"])
    assert cli.main(["train", *overrides]) == 0
    assert seen == [overrides]


@pytest.mark.parametrize(
    ("module", "key"),
    [("verl_egrsd.main", "actor_rollout_ref.model.path"), ("verl_egrsd.sft.main", "model.path")],
)
def test_training_without_a_model_ends_before_anything_starts(module, key, monkeypatch):
    monkeypatch.setattr(sys, "argv", [module, "trainer.device=cpu"])
    with pytest.raises(SystemExit, match=rf"^verl_egrsd: no model is named: set {key} to a folder"):
        import_module(module).main()


def test_training_on_more_gpus_than_there_are_ends_before_ray_starts(monkeypatch):
    monkeypatch.setattr(machine, "gpus_here", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "argv", ["verl-egrsd train", "preset=egrsd", "model=qwen3_4b", "hardware=gpu8"])
    with pytest.raises(SystemExit, match=r"n_gpus_per_node=8 ask for 8 GPUs, and torch .* finds none here"):
        import_module("verl_egrsd.main").main()
