"""A training step on a divergence, inside verl's FSDP engine: what is added to its `forward_step`.

The divergence needs hidden states and the head's weights, and never the logits of a whole batch. So for the
call of the model, the head returns one loss per response token where it would return logits. It stays inside
the model: its FSDP hooks gather the weights before they are read, in both directions, and reduce the
head's gradient where it has one. (Taking the hidden states in a hook and leaving the model's output out of
the loss crashes in the backward pass, for which nothing then gathers the root's weights.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.utils.metric import AggregationType, Metric

from verl_egrsd.divergences import RowLoss, Rows, divergence
from verl_egrsd.methods import Distillation
from verl_egrsd.methods.columns import POLICY_CREDIT, TEACHER_HIDDEN
from verl_egrsd.trainer.response_rows import packed, response_rows

if TYPE_CHECKING:
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead as Engine
else:
    # The import of verl's engines imports `engine`, which needs the class below (see `verl_egrsd.plugin`).
    Engine = object

REPORTED = {
    "mean": "divergence",
    "student_entropy": "student_entropy",
    "teacher_entropy": "teacher_entropy",
}
"""By metric: the field of :class:`~verl_egrsd.divergences.Rows` whose token mean an update reports."""
POLICY_LOSS = "policy_loss"
"""Metric of an update with a policy term beside the divergence."""


class DivergenceStep(Engine):
    """Mixed into verl's FSDP engine: its training step can have a divergence as its loss.

    Attributes:
        divergence: its settings; None leaves the step as verl has it. With one, the batch holds the column
            `teacher_hidden`, jagged (batch, response, width). With a column `policy_credit`, jagged (batch,
            response), the loss has a policy term too.
        teacher_head: weights of the teacher's head, whole, (vocabulary, width); None where the head is the
            student's own, as it is before the update.
    """

    divergence: Distillation | None = None
    teacher_head: Tensor | None = None

    def forward_step(
        self, micro_batch: TensorDict, loss_function: Callable, forward_only: bool
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss of a micro-batch and what is reported of it."""
        if self.divergence is None or forward_only:
            stock: tuple[Tensor, dict[str, Any]] = super().forward_step(
                micro_batch, loss_function, forward_only
            )
            return stock
        micro_batch = micro_batch.to(get_device_id())
        tu.assign_non_tensor(micro_batch, use_fused_kernels=False)
        inputs, _ = self.prepare_model_inputs(micro_batch=micro_batch)
        head, dtype = self.module.get_output_embeddings(), self._autocast_dtype
        with (
            torch.autocast(get_device_name(), dtype, enabled=dtype != torch.float32),
            self.own_forward(),
            _head_returns(head, self._rows_of(micro_batch, inputs)) as found,
        ):
            row_losses = self.module(**inputs, use_cache=False).logits
        rows = found[0]._replace(loss=row_losses)
        loss, metrics = loss_function(
            model_output=rows._asdict(), data=micro_batch, dp_group=self.get_data_parallel_group()
        )
        return loss, {"model_output": {}, "loss": loss.detach().item(), "metrics": metrics}

    def _rows_of(self, data: TensorDict, inputs: Mapping[str, Any]) -> Callable[[Tensor, nn.Linear], Rows]:
        """Return what the head does with hidden states in place of its product."""
        settings = self.divergence
        assert settings is not None, "without a divergence the step is verl's"
        sequences = data["input_ids"]
        rows = response_rows(sequences.offsets(), data["response_mask"].offsets().diff())
        policy = policy_credit(data)

        def rows_of(hidden: Tensor, head: nn.Linear) -> Rows:
            return divergence(
                packed(hidden, inputs)[rows],
                data[TEACHER_HIDDEN].values(),
                head.weight,
                settings,
                teacher_weight=self.teacher_head,
                token_ids=None if policy is None else sequences.values()[rows + 1],
                row_loss=RowLoss(
                    weights=settings.weight * data["advantages"].values() * token_share(data),
                    advantages=policy,
                    policy_weights=None if policy is None else token_share(data),
                ),
                score_temperature=None if policy is None else data["temperature"],
            )

        return rows_of


@contextmanager
def _head_returns(head: Any, function: Callable[[Tensor, nn.Linear], Rows]) -> Iterator[list[Rows]]:
    """Let the head return the loss of every row; what else is known of the rows goes into the list."""
    found: list[Rows] = []

    def forward(hidden: Tensor) -> Tensor:
        found.append(function(hidden, head))
        return found[0].loss

    head.forward = forward
    try:
        yield found
    finally:
        del head.forward


def policy_credit(data: TensorDict) -> Tensor | None:
    """Return the credit of the policy term for each response token, (tokens,); None without this term.

    Its ratio to the old policy is left out: with one update per batch it is 1.
    """
    policy = data.get(POLICY_CREDIT)
    return None if policy is None else policy.values()


def token_share(data: TensorDict) -> Tensor:
    """Return 1 / N for each response token that counts, else 0, (tokens,).

    N counts the tokens of the whole update batch on all ranks. The number of ranks is multiplied in, since
    verl takes the mean of their gradients.
    """
    share: Tensor = data["response_mask"].values() * (data["dp_size"] / data["batch_num_tokens"])
    return share


def divergence_loss(
    model_output: Mapping[str, Tensor], data: TensorDict, dp_group: Any = None
) -> tuple[Tensor, dict[str, Metric]]:
    """L = sum of (weight * credit * D - policy credit * log p_S) / N over the response tokens.

    It is a worker's loss function in verl.

    Args:
        model_output: fields of :class:`~verl_egrsd.divergences.Rows`, (tokens,).
        data: the micro-batch.
        dp_group: not used; verl passes it.
    """
    share = token_share(data)
    metrics = {
        f"divergence/{metric}": Metric(AggregationType.SUM, (model_output[name] * share).sum())
        for metric, name in REPORTED.items()
    }
    if (policy := policy_credit(data)) is not None:
        loss = -(policy * model_output["student_log_prob"] * share).sum()
        metrics[f"divergence/{POLICY_LOSS}"] = Metric(AggregationType.SUM, loss)
    return model_output["loss"].sum(), metrics
