"""A response under the microscope: the scores of its tokens, and the credit that the method gives them.

Everything that is shown comes from arrays with one number per token. Either a trainer dumped them or a model
was scored. Their names are the columns (`teacher_entropy`), the method's factors (`entropy_gate`), and
`advantage`, `weight` (the product of the factors), `credit` and `log_ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl_egrsd.methods import Columns, EntropyGate, Method
from verl_egrsd.methods.columns import TOKEN_COLUMNS
from verl_egrsd.metrics import factor_metrics, total_weight

_Floats = NDArray[np.float32]
"""One number per token of one response, (T,)."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """A response and the numbers of its tokens.

    Attributes:
        name: identifies it for the reader, such as "step 3, rollout 5".
        problem: the student's last user turn; rollouts of two runs are paired by it.
        student_prompt: text of the student's prompt, generation header included.
        teacher_prompt: text of the privileged prompt.
        ground_truth: the reference answer.
        verdict: reason of the verifier, "" if another reward was used.
        reward: the length-shaped reward.
        truncated: whether the response was cut: it does not end in an end token.
        tokens: text of each token, T of them; empty for a token that completes a character begun before.
        arrays: numbers of the tokens by name, each (T,).
        answer: the answer that the verifier found, "" if there is none or another reward was used.
    """

    name: str
    problem: str
    student_prompt: str
    teacher_prompt: str
    ground_truth: str
    verdict: str
    reward: float
    truncated: bool
    tokens: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]
    answer: str = ""

    def __post_init__(self) -> None:
        """Refuse arrays that do not have one number per token.

        Raises:
            ValueError: naming the rollout, the array and both lengths.
        """
        for name, values in self.arrays.items():
            if len(values) != len(self.tokens):
                raise ValueError(
                    f"{name} of {self.name} has {len(values)} values for {len(self.tokens)} tokens: every "
                    "array needs one value per token of the response."
                )

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array of a name, (T,)."""
        return self.arrays[name]


@dataclass(frozen=True)
class Run:
    """Rollouts under one method.

    Attributes:
        name: name of the run for the reader: the path that it was read from.
        method: the method with all its settings.
        facts: further facts for the reader, label to text.
        rollouts: the responses; all have the same arrays.
        metrics: metrics of the factors over these tokens, by name, such as `entropy_gate/share_at_floor`.
    """

    name: str
    method: Method
    facts: Mapping[str, str]
    rollouts: Sequence[Rollout]
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def arrays(self) -> set[str]:
        """Names of the arrays that all rollouts have."""
        return set.intersection(*({*rollout.arrays} for rollout in self.rollouts)) if self.rollouts else set()


def entropy_gates(runs: Sequence[Run]) -> list[EntropyGate]:
    """Return the entropy gates, one of each name, whose views the rollouts of all runs have."""
    present = set.intersection(*(run.arrays for run in runs))
    factors = {factor.name: factor for run in runs for factor in run.method.active}
    gates = [factor for factor in factors.values() if isinstance(factor, EntropyGate)]
    return [gate for gate in gates if f"{gate.prefix}regime" in present]


def columns_of(batch: Sequence[Rollout], step: int = 1) -> Columns:
    """Return the token columns of a batch as a method reads them."""
    present = [name for name in TOKEN_COLUMNS if all(name in row.arrays for row in batch)]
    columns: dict[str, Any] = {name: padded([row[name] for row in batch]) for name in present}
    problems = {problem: i for i, problem in enumerate(dict.fromkeys(row.problem for row in batch))}
    return Columns.of(
        response_mask(batch),
        rewards=torch.tensor([row.reward for row in batch]),
        correct=torch.tensor([row.verdict == "correct" for row in batch]),
        problems=torch.tensor([problems[row.problem] for row in batch]),
        step=step,
        **columns,
    )


def credited(batch: Sequence[Rollout], method: Method) -> tuple[list[Rollout], dict[str, float]]:
    """Give the tokens of a batch their credit, as the trainer does in its first step.

    Args:
        batch: all rows of the batch, each with `advantage` and the columns that the method reads.
        method: the method with all its settings.

    Returns:
        the rollouts with the arrays of :func:`arrays_of`, and the metrics of the factors.
    """
    columns = columns_of(batch)
    found = method.credit(columns, padded([row["advantage"] for row in batch]))
    views: dict[str, Tensor] = {}
    for tracker in filter(None, (factor.tracker() for factor in method.active)):
        tracker.update(columns)
        views |= tracker.views(columns)
    arrays = {
        "credit": found.credit,
        "weight": total_weight(found, method.weighing),
        **found.weights,
        **views,
    }
    return with_arrays(batch, arrays), factor_metrics(method, columns, found)


def with_arrays(batch: Sequence[Rollout], arrays: Mapping[str, Tensor]) -> list[Rollout]:
    """Add arrays to the rollouts of a batch, and the log-ratio if both log-probs exist.

    Args:
        batch: the rows.
        arrays: by name, (B, T).
    """
    rows = []
    for i, row in enumerate(batch):
        own: dict[str, NDArray[Any]] = {
            name: values[i, : len(row.tokens)].numpy() for name, values in arrays.items()
        }
        if {"student_log_prob", "teacher_log_prob"} <= row.arrays.keys():
            own["log_ratio"] = row["teacher_log_prob"] - row["student_log_prob"]
        rows.append(replace(row, arrays={**row.arrays, **own}))
    return rows


def padded(rows: Sequence[_Floats]) -> Tensor:
    """Return rows of different lengths as one tensor, (B, T), padded with zeros at the end."""
    return pad_sequence([torch.as_tensor(np.array(row)) for row in rows], batch_first=True)


def response_mask(batch: Sequence[Rollout]) -> Tensor:
    """True on the tokens of each response, (B, T)."""
    lengths = torch.tensor([len(row.tokens) for row in batch])
    return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
