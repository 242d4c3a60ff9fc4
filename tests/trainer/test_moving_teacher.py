"""When the trainer moves its teacher, and what becomes of it in a checkpoint; the workers only note calls."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from verl_egrsd.checkpoints.resume import Start
from verl_egrsd.config import resolve_teacher
from verl_egrsd.trainer.moving_teacher import REFRESH, MovingTeacher

CHECKPOINT = Path("/runs/checkpoints/global_step_2")


class Workers:
    """Note what they are asked to do, verl's part too."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def note(self, *call):
        self.calls.append(call)

    def refresh_teacher(self, decay):
        self.note("refresh", decay)
        return [{"egrsd/teacher/distance": 0.5}]

    def save_teacher(self, folder):
        self.note("save", folder)

    def load_teacher(self, folder):
        self.note("load", folder)


class Verl:
    """Verl's own part of a step, a save and a load."""

    def _update_actor(self, batch, metrics):
        self.actor_rollout_wg.note("update")
        return batch

    def _save_checkpoint(self):
        self.actor_rollout_wg.note("verl saves")

    def _load_checkpoint(self):
        self.actor_rollout_wg.note("verl loads")


class Trainer(MovingTeacher, Verl):
    def __init__(self, start=None, adapter=None, **teacher) -> None:
        self.teacher_config = resolve_teacher(teacher)
        self.start = start or Start({})
        model = {"lora_adapter_path": adapter}
        self.config = OmegaConf.create({"trainer": {"default_local_dir": "/runs/checkpoints"}})
        self.config.actor_rollout_ref = {"model": model}
        self.actor_rollout_wg = Workers()
        self.global_steps = 0

    @property
    def calls(self):
        return self.actor_rollout_wg.calls

    def steps(self, count):
        """Train, and return the metrics of each step."""
        found = []
        for self.global_steps in range(1, count + 1):
            found.append({})
            self._update_actor(SimpleNamespace(), found[-1])
        return found


def test_a_teacher_that_is_copied_every_second_step_moves_after_its_update():
    trainer = Trainer(refresh="copy", every=2)
    metrics = trainer.steps(4)
    after = [("refresh", 1.0), ("refresh", 0.0)] * 2
    assert trainer.calls == [call for decay in after for call in (("update",), decay)]
    assert [step["egrsd/teacher/age"] for step in metrics] == [0, 1, 0, 1]
    assert metrics[0]["egrsd/teacher/distance"] == 0.5


def test_an_average_moves_after_every_update():
    trainer = Trainer(refresh="ema", decay=0.9)
    metrics = trainer.steps(3)
    assert trainer.calls == [("update",), ("refresh", 0.9)] * 3
    assert [step["egrsd/teacher/age"] for step in metrics] == pytest.approx([0, 0.9, 0.9 + 0.81])


@pytest.mark.parametrize("refresh", ["frozen", "current"])
def test_a_teacher_without_weights_of_its_own_costs_no_call_and_leaves_no_metric_or_file(refresh):
    trainer = Trainer(refresh=refresh, start=Start({}, CHECKPOINT, 2))
    trainer._load_checkpoint()
    assert trainer.steps(2) == [{}, {}]
    trainer._save_checkpoint()
    assert trainer.calls == [("verl loads",), ("update",), ("update",), ("verl saves",)]


def test_the_teacher_is_saved_beside_the_actor_before_verl_marks_the_checkpoint():
    trainer = Trainer(refresh="ema")
    trainer.global_steps = 2
    trainer._save_checkpoint()
    assert trainer.calls == [("save", f"{CHECKPOINT}/actor"), ("verl saves",)]


def test_an_adapter_that_training_started_from_is_saved_as_the_teacher_and_comes_back_from_its_own_folder():
    trainer = Trainer(refresh="frozen", adapter="adapters/start", start=Start({}, CHECKPOINT, 2))
    trainer._load_checkpoint()
    trainer.global_steps = 2
    trainer._save_checkpoint()
    assert trainer.calls == [("verl loads",), ("save", f"{CHECKPOINT}/actor"), ("verl saves",)]


def test_a_new_run_begins_with_what_training_starts_from():
    trainer = Trainer(refresh="ema")
    trainer._load_checkpoint()
    assert trainer.calls == [("verl loads",)]


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (None, [("load", f"{CHECKPOINT}/actor")]),
        ("copy", [("load", f"{CHECKPOINT}/actor")]),
        ("current", [("refresh", 0.0)]),
        ("frozen", []),
    ],
)
def test_a_resumed_run_goes_on_with_the_teacher_that_the_checkpoint_had(before, then):
    changed = {} if before is None else {REFRESH: (before, "ema")}
    trainer = Trainer(refresh="ema", start=Start({}, CHECKPOINT, 2, changed))
    trainer._load_checkpoint()
    assert trainer.calls == [("verl loads",), *then]
