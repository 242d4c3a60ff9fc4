"""The worker's part of a method with a divergence: what the engine has to know for an update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.single_controller.base.decorator import Dispatch, make_nd_compute_dataproto_dispatch_fn, register
from verl.utils.device import get_device_id
from verl.utils.profiler import DistProfiler
from verl.workers.engine_workers import TrainingWorker

from verl_egrsd.config import build
from verl_egrsd.divergences import divergence
from verl_egrsd.divergences.settings import DIVERGENCE_SECTION
from verl_egrsd.methods import Distillation
from verl_egrsd.methods.columns import TEACHER_HIDDEN
from verl_egrsd.scoring.kernels import Kernel
from verl_egrsd.trainer.divergence_step import divergence_loss
from verl_egrsd.trainer.held_teacher import HeldTeacher
from verl_egrsd.trainer.own_logits import vocabulary_of
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.response_rows import cut_responses, first_tokens
from verl_egrsd.trainer.weight_stream import whole_weight

UPDATE_FIELDS = ("loss_mask", "response_mask", "advantages")
"""Columns of the responses that the update reads, beside the teacher's hidden states."""


class DistillingWorker(HeldTeacher):
    """Adds to verl's worker an update on a divergence.

    Attributes:
        distillation: settings of the divergence; None where the method has none.
        keeps_student: whether the pass for the student's scores keeps its hidden states too.
        kernel: scores response rows; None where the engine has to project all rows.
    """

    distillation: Distillation | None = None
    keeps_student: bool = False
    kernel: Kernel | None

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def use_divergence(self, settings: Mapping[str, Any] | None, keeps_student: bool = False) -> None:
        """Take a divergence as the loss of the updates.

        Args:
            settings: the section `algorithm.egrsd.divergence`, resolved; None goes back to the policy loss.
            keeps_student: whether factors read the divergence of each token before the update.

        Raises:
            ValueError: when the hidden states and the head's weights alone do not give the model's logits.
        """
        self.keeps_student = keeps_student
        if settings is None:
            self.distillation = self.actor.engine.divergence = None
            self.actor.set_loss_fn(self.loss_fn)
            return
        self._require_plain_logits(settings["kind"])
        self.distillation = build(Distillation, settings, DIVERGENCE_SECTION)
        self.distillation.require_smaller(vocabulary_of(self.actor.engine))
        self.actor.engine.divergence = self.distillation
        self.actor.set_loss_fn(divergence_loss)

    def _require_plain_logits(self, kind: str) -> None:
        head = self.actor.engine.module.get_output_embeddings()
        if self.kernel is None or head.bias is not None:
            raise ValueError(
                f"{DIVERGENCE_SECTION}.kind={kind} cannot be computed for "
                f"{type(self.actor.engine.module).__name__}: its logits are more than the product of hidden "
                "states and head (an adapter on the head, a bias, a cap or a scale; the log says which), or "
                "sequence parallelism deals a response to several ranks. Leave the head out of "
                "actor_rollout_ref.model.target_modules, set "
                "actor_rollout_ref.actor.ulysses_sequence_parallel_size=1, or choose a method without a "
                "divergence (verl-egrsd methods)."
            )

    @torch.no_grad()
    def divergence_of(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence of each response token, jagged float32 (batch, response), in nats.

        Args:
            student: last hidden states, jagged (batch, response, width).
            teacher: the same of the teacher.
        """
        assert self.distillation is not None, "only a method with a divergence reads it"
        hidden, of_teacher = (packed.values().to(get_device_id()) for packed in (student, teacher))
        rows = divergence(
            hidden,
            of_teacher,
            self._whole_head(self.actor),
            self.distillation,
            teacher_weight=None if self.ref is None else self._whole_head(self.ref),
        )
        return jagged(rows.divergence.cpu().split([len(row) for row in student.unbind()]))

    def distilled(self, column: Tensor) -> Tensor:
        """Return a jagged column (batch, response, ...) of the tokens that are distilled."""
        return first_tokens(column, self.distillation.first_tokens if self.distillation else None)

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
    @DistProfiler.annotate(color="red", role="actor_update", scheduled=True)
    def update_actor(self, data: TensorDict) -> TensorDict | None:
        """Update the student; with `first_tokens` the responses end after these."""
        if self.distillation is None:
            return super().update_actor(data)
        with self._teacher_head():
            count = self.distillation.first_tokens
            return super().update_actor(cut_responses(data, (*UPDATE_FIELDS, TEACHER_HIDDEN), count))

    @contextmanager
    def _teacher_head(self) -> Iterator[None]:
        """Gather the teacher's head meanwhile, where the reference engine has it."""
        engine = self.actor.engine
        if self.ref is not None:
            engine.teacher_head = self._whole_head(self.ref)
        try:
            yield
        finally:
            engine.teacher_head = None

    @torch.no_grad()
    def _whole_head(self, worker: TrainingWorker) -> Tensor:
        """Return all rows of an engine's head, in the precision of the update."""
        weight = worker.engine.module.get_output_embeddings().weight
        return whole_weight(weight).to(self.actor.engine._autocast_dtype)
