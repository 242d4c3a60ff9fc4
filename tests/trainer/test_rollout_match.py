"""Are the rollouts the student's: what is compared, what is said of it, what is refused before the start."""

from __future__ import annotations

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from packaging.version import Version

from tests.support.composing import PAPER, composed
from verl_egrsd.preflight import rollout_sync
from verl_egrsd.report.settings import Thresholds
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.rollout_match import (
    RolloutMatch,
    probability_difference,
    reported_temperature,
    warnings_of,
)

SHARE, MEAN, MAX = (f"egrsd/sync/{name}" for name in ("update_share", "probs_diff_mean", "probs_diff_max"))


def rollout(**changed):
    stock = {"calculate_log_probs": True, "logprobs_mode": "processed_logprobs", "temperature": 1.1}
    return SimpleNamespace(**(stock | {"top_p": 1.0, "top_k": -1} | changed))


@pytest.mark.parametrize(
    ("changed", "temperature"),
    [
        ({"logprobs_mode": "raw_logprobs", "top_p": 0.95, "top_k": 20}, 1.0),
        ({}, 1.1),
        ({"top_k": 0}, 1.1),
        ({"top_p": 0.95}, None),
        ({"top_k": 20}, None),
        ({"logprobs_mode": "raw_logits"}, None),
        ({"logprobs_mode": "raw_logprobs", "calculate_log_probs": False}, None),
    ],
)
def test_only_log_probs_of_a_whole_distribution_are_compared(changed, temperature):
    assert reported_temperature(rollout(**changed)) == temperature


def test_probabilities_are_compared_where_there_are_tokens():
    student = torch.tensor([[0.5, 0.25], [0.1, 0.9]]).log()
    engine = torch.tensor([[0.4, 0.25], [0.7, 0.1]]).log()
    mask = torch.tensor([[True, True], [True, False]])
    found = probability_difference(student, engine, mask)
    assert found[MEAN] == pytest.approx(0.7 / 3)
    assert found[MAX] == pytest.approx(0.6)


def test_rollouts_that_are_not_the_students_are_named_with_the_remedy():
    assert not warnings_of({SHARE: 1.0, MEAN: 0.001, MAX: 0.5}, Thresholds())
    assert not warnings_of({}, Thresholds())
    ((level, share),) = warnings_of({SHARE: 0.17}, Thresholds())
    assert level == logging.ERROR
    assert "17% of the LoRA update reaches the rollout engine" in share
    assert "lora.merge=False" in share
    ((level, difference),) = warnings_of({MEAN: 0.04}, Thresholds())
    assert level == logging.WARNING
    assert "differ by 4.0e-02 on average" in difference
    assert not warnings_of(
        {SHARE: 0.17, MEAN: 0.04}, Thresholds(update_share=(0.1, 0.0), probs_diff=(0.5, 0.9))
    )


class Trainer:
    """verl's part of a step: every row is scored at the rollout's temperature."""

    def _compute_old_log_prob(self, batch, metrics):
        metrics["training/rollout_probs_diff_mean"] = 0.3
        self.scored.append("verl")
        return batch


class Compared(RolloutMatch, Trainer):
    """The mixin on a trainer of two ranks, whose batch has a padding row."""

    def __init__(self, monkeypatch, **changed):
        self.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout(**changed)))
        self.report = SimpleNamespace(config=SimpleNamespace(thresholds=Thresholds()))
        self.global_steps, self.scored = 7, []
        self.actor_rollout_wg = SimpleNamespace(
            _dispatch_info={"actor": [0, 1]}, compute_log_prob=self.scored.append
        )
        monkeypatch.setattr(queue, "read", self.read)

    def read(self, batch, names):
        half, mask = torch.full((2, 4), 0.5).log(), torch.ones(2, 2, dtype=torch.int64)
        columns = {"rollout_log_probs": torch.full((2, 2), 0.4).log(), "response_mask": mask}
        columns |= {"log_probs": half, "old_log_probs": half[:, :2]}
        nested = {
            name: torch.nested.as_nested_tensor(list(columns[name]), layout=torch.jagged) for name in names
        }
        return queue.TensorDict(nested, batch_size=2)


def batch():
    return queue.KVBatchMeta(
        keys=["a", "b", "c", "pad"],
        tags=[{}, {}, {}, {"is_padding": True}],
        partition_id="train",
        extra_info={"temperature": 1.1},
    )


def test_at_another_temperature_one_row_per_rank_is_scored_again_before_verls_pass(monkeypatch):
    trainer, metrics, rows = Compared(monkeypatch, logprobs_mode="raw_logprobs"), {}, batch()
    assert trainer._compute_old_log_prob(rows, metrics) is rows
    sample, stock = trainer.scored
    assert (sample.keys, sample.extra_info["temperature"]) == (["a", "c"], 1.0)
    assert stock == "verl"
    assert rows.extra_info == {"temperature": 1.1}
    assert metrics == {MEAN: pytest.approx(0.1), MAX: pytest.approx(0.1)}  # verl's compare unlike things


def test_at_the_rollouts_temperature_verls_scores_are_compared(monkeypatch, caplog):
    trainer, metrics = Compared(monkeypatch), {}
    trainer._compute_old_log_prob(batch(), metrics)
    assert trainer.scored == ["verl"]
    assert metrics[MEAN] == pytest.approx(0.1)
    assert metrics["training/rollout_probs_diff_mean"] == 0.3
    assert "step 7: the probabilities of rollout and student differ by 1.0e-01" in caplog.text


def test_log_probs_that_were_renormalised_are_not_compared(monkeypatch):
    trainer, metrics = Compared(monkeypatch, top_p=0.95), {}
    trainer._compute_old_log_prob(batch(), metrics)
    assert trainer.scored == ["verl"]
    assert metrics == {}


@pytest.mark.parametrize(("found", "refused"), [("0.24.0", False), ("0.26.0", False), ("0.31.0", True)])
def test_a_vllm_that_verls_adapter_sync_does_not_fit_is_refused(tmp_path, found, refused):
    folder = tmp_path / "model_executor" / "models"
    folder.mkdir(parents=True)
    text = "    def get_unstacked_mapper(self):" if found == "0.26.0" else "    def apply(self):"
    (folder / "utils.py").write_text(text)
    if not refused:
        return rollout_sync.refuse_vllm(Version(found), tmp_path)
    with pytest.raises(ValueError, match=r"vLLM 0.31.0 does not have: install .* or set merge=True"):
        rollout_sync.refuse_vllm(Version(found), tmp_path)


def test_where_no_vllm_is_installed_nothing_is_refused():
    rollout_sync.refuse_vllm(None, None)


@pytest.fixture(scope="module")
def paper():
    return composed(*PAPER)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, False),
        ({"model.lora.merge": True}, True),
        ({"model.lora.merge": True, "rollout.dtype": "float32"}, False),
        ({"model.lora.merge": True, "model.lora_rank": 0}, False),
    ],
)
def test_a_merge_into_half_precision_is_warned_of_before_the_start(paper, caplog, changes, warned):
    config = copy.deepcopy(paper)
    for key, value in changes.items():
        OmegaConf.update(config, f"actor_rollout_ref.{key}", value)
    rollout_sync.check_rollout_sync(config)
    assert ("rounded away on its way to the rollout engine" in caplog.text) == warned


def test_the_gpu_recipes_sync_the_adapter_onto_the_models_own_weights(paper):
    section = paper.actor_rollout_ref
    assert (section.model.lora.merge, section.rollout.load_format) == (False, "auto")
    assert section.rollout.logprobs_mode == "raw_logprobs"
