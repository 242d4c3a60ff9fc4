from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from tests.support.saved_run import write_step
from verl_egrsd.watch.words import LONGEST, last_line


@pytest.fixture
def config(tmp_path):
    trainer = {"total_training_steps": 12, "save_freq": 5, "resume_mode": "auto"}
    return OmegaConf.create(
        {"actor_rollout_ref": {}, "trainer": {"default_local_dir": str(tmp_path), **trainer}}
    )


def test_the_last_line_names_step_phase_cause_and_what_the_same_command_does(config):
    assert last_line("vllm server 0 died", config, step=4, phase="sync") == (
        "the run ended in step 4 of 12, the weight sync: vllm server 0 died. There is no checkpoint "
        "(trainer.save_freq=5): the same command begins anew."
    )


def test_the_last_line_names_the_checkpoint_that_a_resume_takes(config, tmp_path):
    write_step(tmp_path, 5)
    (tmp_path / "global_step_6").mkdir()  # not whole
    line = last_line("it died", config, step=7)
    assert line.endswith(
        f"The last checkpoint is {tmp_path}/global_step_5; the same command goes on from it."
    )
    line = last_line("it died", config, step=7, resume_mode="disable")
    assert "the same command with trainer.resume_mode=auto goes on" in line


def test_a_long_error_of_many_lines_becomes_one_line(config):
    line = last_line("one\n\n \x1b[36m two\x1b[39m " + "x" * 5000, config)
    assert "one two xxx" in line
    assert len(line) < LONGEST + 200
    assert "\n" not in line


def test_a_run_that_never_began_says_nothing_of_checkpoints(config):
    assert last_line("no rows", config, phase="start") == "the run ended in the start: no rows."
