"""A divergence as the loss, mixed into verl's synchronous trainer: what the workers are told, and metrics."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from transfer_queue import KVBatchMeta

from verl_egrsd.methods import Method
from verl_egrsd.preflight.divergence import check_bytes, token_bytes

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

_ACTORS = "actor/divergence/"
"""What verl makes of the names that the update reports."""


class Distilled(Trainer):
    """Hands the method's divergence to the workers before the first step, and counts what it takes."""

    method: Method
    hidden_bytes: int
    """Of one token: width of the hidden states times the size of a number; twice with the student's."""

    def _know_width(self, width: int) -> None:
        """Note the bytes of a hidden state, and check the bound, also for a model that the hub describes.

        Raises:
            ValueError: when the hidden states of a step may take more than `hidden_gigabytes`.
        """
        self.hidden_bytes = token_bytes(self.config, self.method, width)
        if self.method.divergence is not None:
            check_bytes(self.config, self.method, self.method.divergence, width)

    def on_init_end(self) -> None:
        """Tell the workers, which may have served another run; they refuse a model that does not fit."""
        divergence = self.method.divergence
        settings = None if divergence is None else asdict(divergence)
        self.actor_rollout_wg.use_divergence(settings, self.method.reads_divergence)
        super().on_init_end()

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        for name in [name for name in metrics if name.startswith(_ACTORS)]:
            metrics[f"egrsd/divergence/{name.removeprefix(_ACTORS)}"] = metrics.pop(name)
        return batch

    def _count_hidden(self, batch: KVBatchMeta, metrics: dict) -> None:
        """Count the bytes of the columns of hidden states, padding rows included."""
        divergence = self.method.divergence
        if divergence is not None:
            tokens = sum(divergence.kept(tag["response_len"]) for tag in batch.tags)
            metrics["egrsd/divergence/hidden_bytes"] = tokens * self.hidden_bytes
