"""Are the rollouts the student's? Two numbers each step, mixed into verl's synchronous trainer.

How much of the update reached the rollout engine is measured in the weight stream. The probabilities of both
engines are comparable where they are of the same distribution: vLLM reports either raw ones, at temperature
1, or processed ones, renormalised over top-k and top-p. The raw ones are compared with the student scored at
temperature 1: where the rollouts have another temperature, on one row per rank.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.workers.utils.padding import response_from_nested

from verl_egrsd.report.settings import Thresholds
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.balance import ranks_of

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

logger = logging.getLogger(__name__)

SCORED = ("input_ids", "position_ids", "loss_mask")
"""Columns that the student is scored on."""
VERLS = ("training/rollout_probs_diff", "training/rollout_actor_probs")
"""verl's own comparison: of unlike distributions, unless nothing is cut off and nothing renormalised."""


Compared = tuple[Tensor, Tensor, Tensor]
"""Log-probs of the student and of the rollout engine, and which are of a response token, (rows, time)."""


class RolloutMatch(Trainer):
    """Reports `egrsd/sync/...` and warns where they say that the rollouts are not the student's."""

    def on_step_end(self) -> None:
        """Sync the weights, and report how much of the update this sync carried."""
        super().on_step_end()
        self._pending_sync_metrics, *_ = self.actor_rollout_wg.sync_metrics()
        self._warn_of(self._pending_sync_metrics)

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        rollout = self.config.actor_rollout_ref.rollout
        temperature = reported_temperature(rollout)
        alike = temperature == rollout.temperature
        scores = None
        if temperature is not None and not alike:
            # Before verl's pass, which writes the same columns.
            scores = self._score_some(batch, temperature)
        batch = super()._compute_old_log_prob(batch, metrics)
        if alike:
            scores = self._all_scores(batch)
        else:
            for name in [name for name in metrics if name.startswith(VERLS)]:
                del metrics[name]
        if scores is not None:
            found = probability_difference(*scores)
            metrics.update(found)
            self._warn_of(found)
        return batch

    def _score_some(self, batch: KVBatchMeta, temperature: float) -> Compared | None:
        """Score one row per rank at another temperature, as :meth:`_all_scores`; None with fewer rows."""
        real, ranks = queue.valid_rows(batch).nonzero().flatten(), ranks_of(self.actor_rollout_wg, "actor")
        if len(real) < ranks:
            return None
        order = real[torch.linspace(0, len(real) - 1, ranks).long()].tolist()
        settings = {"temperature": temperature, "calculate_entropy": True, "compute_loss": False}
        some = queue.view(batch, SCORED, order=order, **(batch.extra_info | settings))
        self.actor_rollout_wg.compute_log_prob(some)
        data = queue.read(some, ("log_probs", "rollout_log_probs", "response_mask"))
        data["log_probs"] = response_from_nested(data["log_probs"], data["response_mask"])
        columns = data.to_padded_tensor()
        return columns["log_probs"], columns["rollout_log_probs"], columns["response_mask"].bool()

    def _all_scores(self, batch: KVBatchMeta) -> Compared:
        """Read what verl's pass has written."""
        names = ("old_log_probs", "rollout_log_probs", "response_mask")
        columns = queue.read(batch, names).to_padded_tensor()
        student, rollout, mask = (columns[name] for name in names)
        return student, rollout, mask.bool()

    def _warn_of(self, found: Mapping[str, float]) -> None:
        for level, sentence in warnings_of(found, self.report.config.thresholds):
            logger.log(level, "step %d: %s", self.global_steps, sentence)


def reported_temperature(rollout: Any) -> float | None:
    """Return the temperature of the whole distribution whose log-probs the rollout engine reports.

    Args:
        rollout: the section `actor_rollout_ref.rollout`.

    Returns:
        None where it reports none, or those of the tokens that top-k and top-p leave.
    """
    if not rollout.calculate_log_probs:
        return None
    if rollout.logprobs_mode == "raw_logprobs":
        return 1.0
    whole = rollout.top_p == 1 and rollout.top_k in (-1, 0)
    return float(rollout.temperature) if rollout.logprobs_mode == "processed_logprobs" and whole else None


def probability_difference(student: Tensor, rollout: Tensor, mask: Tensor) -> dict[str, float]:
    """Return the mean and the largest |p_student - p_rollout| of sampled tokens.

    Args:
        student: log-probs of the training engine, (rows, time), nats.
        rollout: log-probs of the rollout engine, of the same distribution.
        mask: which are tokens of a response, bool.
    """
    difference = (student.float().exp() - rollout.float().exp()).abs()[mask]
    return {
        "egrsd/sync/probs_diff_mean": float(difference.mean()),
        "egrsd/sync/probs_diff_max": float(difference.max()),
    }


def warnings_of(found: Mapping[str, float], thresholds: Thresholds) -> list[tuple[int, str]]:
    """Return a log level and a sentence for each number that says that the rollouts are not the student's.

    Args:
        found: metrics of a step.
        thresholds: their first value is worth a warning, the second an error.
    """
    said = []
    share, difference = found.get("egrsd/sync/update_share"), found.get("egrsd/sync/probs_diff_mean")
    if share is not None and share < thresholds.update_share[0]:
        level = logging.ERROR if share < thresholds.update_share[1] else logging.WARNING
        sentence = (
            f"{share:.0%} of the LoRA update reaches the rollout engine, the rest is rounded away: the next "
            "rollouts come from a model nearer to the base model than the student. Set "
            "actor_rollout_ref.model.lora.merge=False with actor_rollout_ref.rollout.load_format=auto, or "
            "actor_rollout_ref.rollout.dtype=float32."
        )
        said.append((level, sentence))
    if difference is not None and difference > thresholds.probs_diff[0]:
        level = logging.ERROR if difference > thresholds.probs_diff[1] else logging.WARNING
        sentence = (
            f"the probabilities of rollout and student differ by {difference:.1e} on average: the rollouts "
            "are not the student's. Compare egrsd/sync/update_share, actor_rollout_ref.rollout.dtype and "
            "actor.fsdp_config.mixed_precision."
        )
        said.append((level, sentence))
    return said
