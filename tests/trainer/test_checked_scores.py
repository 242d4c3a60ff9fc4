"""Rollouts without a usable score: what the trainer makes of them."""

import asyncio
import math
import re
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainerSync
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.utils.import_utils import load_extern_object

from verl_egrsd.compat import verl_settings
from verl_egrsd.preflight.reading import VERIFIER
from verl_egrsd.reward.acceptance import REFUSED
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.checked_scores import CheckedScores
from verl_egrsd.trainer.guarded_rewards import guard_rewards

WHYS = ["", "it gave nan", "", "it gave 5, outside scores.range=[0, 1]"]


class Trainer(CheckedScores, PPOTrainerSync):
    """A trainer without verl's start."""

    def __init__(self, scores):
        self.config = OmegaConf.create(
            {
                "data": {"train_batch_size": 2},
                "actor_rollout_ref": {"rollout": {"n": 2}},
                "scores": scores,
            }
        )


@pytest.fixture
def balanced(monkeypatch):
    """What reaches verl's balancing, with the rows deleted from the queue."""
    found = SimpleNamespace(batch=None, deleted=[])
    columns = {
        "extra_fields": [{"reward_extra_info": {REFUSED: why}} for why in WHYS],
        "raw_prompt": [[{"role": "user", "content": f"problem {row // 2}"}] for row in range(4)],
        "uid": ["a", "a", "b", "b"],
    }
    monkeypatch.setattr(queue, "read", lambda batch, fields: {name: columns[name] for name in fields})
    monkeypatch.setattr(queue.tq, "kv_clear", lambda keys, partition_id: found.deleted.extend(keys))

    def take(self, batch, metrics):
        found.batch = batch
        return batch

    monkeypatch.setattr(PPOTrainer, "_balance_batch", take)
    return found


def batch(rows=4):
    return KVBatchMeta(keys=[f"row {i}" for i in range(rows)], tags=[{}] * rows, partition_id="train")


def test_a_refused_score_ends_the_run_with_the_row_and_the_value(balanced):
    said = (
        "no usable score for 2 of 4 rollouts; the first: it gave nan for the rollout of prompt 'problem 0' "
        "(uid a). Mend the reward function"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        Trainer({})._balance_batch(batch(), {})
    assert balanced.batch is None


def test_dropped_rollouts_are_left_out_deleted_and_counted(balanced):
    metrics = {}
    Trainer({"refused": "drop"})._balance_batch(batch(), metrics)
    assert balanced.batch.keys == ["row 0", "row 2"]
    assert balanced.deleted == ["row 1", "row 3"]
    assert metrics == {"egrsd/refused_scores": 2}


def test_a_step_without_any_usable_score_ends_the_run(balanced, monkeypatch):
    monkeypatch.setattr("verl_egrsd.trainer.checked_scores.why_refused", lambda _: "it gave nan")
    with pytest.raises(ValueError, match="4 of 4 rollouts"):
        Trainer({"refused": "drop"})._balance_batch(batch(), {})


def test_a_missing_rollout_ends_the_run(balanced):
    with pytest.raises(RuntimeError, match="1 of 4 rollouts are missing"):
        Trainer({})._balance_batch(batch(3), {})


def validation(trainer, whys):
    infos = {"reward": [1.0, 0.0, 0.0, 1.0], "acc": [1.0, None, 0.0, 1.0], REFUSED: whys}
    sources, uids = ["sums"] * 4, ["a", "b", "c", "d"]
    return trainer._val_metrics_update(sources, uids, infos, [], {("sums", uid): 1 for uid in uids})


def test_a_refused_validation_score_ends_the_run():
    with pytest.raises(
        ValueError, match="1 of 4 rollouts; the first: it gave nan for a validation row of sums"
    ):
        validation(Trainer({}), ["", "it gave nan", "", ""])


def test_dropped_validation_rows_do_not_count_as_wrong():
    metrics = validation(Trainer({"refused": "drop"}), ["", "it gave nan", "", ""])
    assert metrics["val-core/sums/acc/mean@1"] == pytest.approx(2 / 3)
    assert metrics["val-aux/egrsd/refused_scores"] == 1
    whole = validation(Trainer({}), ["", "", "", ""])
    assert whole["val-core/sums/acc/mean@1"] == pytest.approx(2 / 4)


def test_a_validation_by_a_manager_without_guard_stays_as_verl_makes_it():
    infos = {"reward": [1.0, 0.0]}
    metrics = Trainer({})._val_metrics_update(["sums"] * 2, ["a", "b"], infos, [], {})
    assert metrics["val-core/sums/reward/mean@1"] == 0.5


REWARD = {"reward": verl_settings()["reward"], "trainer": {"default_local_dir": "run"}}


@pytest.mark.parametrize("name", ["naive", "dapo"])
def test_the_reward_workers_load_the_guarded_manager(name):
    config = OmegaConf.create(REWARD)
    config.reward.reward_manager.name = name
    guard_rewards(config)
    manager = config.reward.reward_manager
    loaded = load_extern_object(module_path=manager.module.path, object_name=manager.name)
    made = loaded(config, None, lambda **_: math.nan)
    row = {"data_source": "", "solution_str": "", "ground_truth": "3", "extra_info": {}}
    assert made.is_async_reward_score
    assert asyncio.run(made.compute_score(**row))[REFUSED] == "it gave nan"


def test_the_verifier_keeps_its_own_limits_and_a_manager_of_the_users_stays():
    config = OmegaConf.create(REWARD)
    config.reward.custom_reward_function.path = VERIFIER
    guard_rewards(config)
    manager = config.reward.reward_manager
    made = load_extern_object(module_path=manager.module.path, object_name=manager.name)(config, None, abs)
    assert not made.compute_score.limited
    config.reward.reward_manager = {"source": "importlib", "name": "naive", "module": {"path": "mine.py"}}
    guard_rewards(config)
    assert config.reward.reward_manager.module.path == "mine.py"
