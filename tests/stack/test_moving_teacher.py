"""Every kind of teacher on verl's real FSDP2 engine: what it is at the first step, and how it follows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SUPPORT = Path(__file__).parents[1] / "support"
STAYS = ("lora frozen, from an adapter",)
IS_THE_STUDENT = ("lora current", "full current")
MOVES = ("lora ema", "full ema")

pytestmark = pytest.mark.timeout(450)


@pytest.fixture(scope="module")
def probe(model_path, tmp_path_factory):
    """Scores of one process that holds all workers (see tests/support/refresh_probe.py)."""
    output = tmp_path_factory.mktemp("probe") / "scores.pt"
    command = [sys.executable, str(SUPPORT / "refresh_probe.py"), str(model_path), str(output)]
    path = os.pathsep.join([str(SUPPORT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return torch.load(output)


@pytest.mark.parametrize("kind", [*STAYS, *IS_THE_STUDENT, *MOVES])
def test_at_the_first_step_the_teacher_of_the_students_prompt_has_a_ratio_of_exactly_1(probe, kind):
    assert torch.equal(probe[kind]["teacher of the same prompt"], probe[kind]["student"])
    assert not torch.equal(probe[kind]["start"], probe[kind]["student"])


@pytest.mark.parametrize("kind", [*STAYS, *MOVES])
def test_an_update_leaves_a_teacher_with_weights_of_its_own_as_it_was(probe, kind):
    assert (probe[kind]["student moved"] - probe[kind]["student"]).abs().mean() > 0.01
    assert torch.equal(probe[kind]["after the update"], probe[kind]["start"])


@pytest.mark.parametrize("kind", IS_THE_STUDENT)
def test_a_current_teacher_is_the_student_after_every_update(probe, kind):
    assert not torch.equal(probe[kind]["after the update"], probe[kind]["start"])
    assert torch.equal(probe[kind]["shown the same"], probe[kind]["student moved"])


@pytest.mark.parametrize("kind", [*STAYS, *IS_THE_STUDENT, *MOVES])
def test_the_teachers_pass_leaves_the_student_as_it_was(probe, kind):
    last = probe[kind].get("student at last", probe[kind]["student again"])
    assert torch.equal(probe[kind]["student again"], probe[kind]["student moved"])
    assert torch.equal(last, probe[kind]["student moved"])


@pytest.mark.parametrize("kind", MOVES)
def test_a_teacher_that_moves_goes_towards_the_student_and_a_copy_is_the_student(probe, kind):
    found = probe[kind]
    assert not torch.equal(found["followed"], found["start"])
    assert found["metrics"]["egrsd/teacher/distance"] > 0
    assert torch.equal(found["copied"], found["student moved"])
    assert found["copied metrics"] == {"egrsd/teacher/distance": 0}


@pytest.mark.parametrize("kind", MOVES)
def test_a_teacher_comes_back_from_its_file_bit_for_bit(probe, kind):
    assert probe[kind]["files"] == ["teacher_world_size_1_rank_0.pt"]
    assert torch.equal(probe[kind]["loaded"], probe[kind]["followed"])


def test_a_start_from_an_adapter_makes_a_difference(probe):
    adapted, plain = (probe[kind]["student"] for kind in ("lora frozen, from an adapter", "lora current"))
    assert (adapted - plain).abs().mean() > 0.01
