"""Every kind of teacher on verl's real FSDP2 engine: its first step, its moves, a resume."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from tests.support import warm_python
from verl_egrsd.checkpoints.reading import join_shards

SUPPORT = Path(__file__).parents[1] / "support"
STAYS = ("lora frozen, from an adapter",)
IS_THE_STUDENT = ("lora current", "full current")
MOVES = ("lora ema", "full ema")

pytestmark = pytest.mark.timeout(650)


@pytest.fixture(scope="module")
def probe(model_path, tmp_path_factory):
    """Scores of one process that holds all workers (see tests/support/refresh_probe.py)."""
    output = tmp_path_factory.mktemp("probe") / "scores.pt"
    command = [warm_python.python(), str(SUPPORT / "refresh_probe.py"), str(model_path), str(output)]
    environment = os.environ | warm_python.environment()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    runs = {
        first: [torch.load(f"{output}.runs/from_{first}_rank_{rank}.pt") for rank in range(2)]
        for first in (1, 3)
    }
    return torch.load(output) | {"whole": runs[1], "resumed": runs[3], "saved": Path(f"{output}.runs")}


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


@pytest.mark.parametrize("engine", ["lora", "full"])
@pytest.mark.parametrize("rank", [0, 1])
def test_two_steps_and_a_resume_and_two_steps_equal_four_steps_bit_for_bit(probe, rank, engine):
    """Under LoRA a moving average of 0.99, with full fine-tuning a copy every second step; on two ranks."""
    whole, resumed = (probe[name][rank][engine] for name in ("whole", "resumed"))
    for step in (3, 4):
        assert torch.equal(resumed["scores"][step], whole["scores"][step])
        assert resumed["distances"][step] == whole["distances"][step]
    for weights in ("student", "teacher"):
        assert resumed[weights].keys() == whole[weights].keys()
        for name, shard in whole[weights].items():
            assert torch.equal(resumed[weights][name], shard), name


def test_on_two_ranks_a_copy_is_the_student_every_second_step_and_an_average_never(probe):
    for run in probe["whole"]:
        copied, averaged = (list(run[engine]["distances"].values()) for engine in ("full", "lora"))
        assert [distance == 0 for distance in copied] == [False, True, False, True]
        assert all(distance > 0 for distance in averaged)


def test_what_the_ranks_saved_is_joined_to_the_teacher_tied_head_and_all(probe):
    student, copied = (join_shards(probe["saved"] / "full", weights) for weights in ("student", "teacher"))
    assert "lm_head.weight" in student
    assert student.keys() == copied.keys()
    assert all(torch.equal(weight, copied[name]) for name, weight in student.items())
    adapter, average = (join_shards(probe["saved"] / "lora", weights) for weights in ("student", "teacher"))
    assert adapter.keys() == average.keys()
    assert not any(torch.equal(weight, average[name]) for name, weight in adapter.items())
