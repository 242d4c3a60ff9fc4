"""Ways to compute divergences and their gradients: ours, plain autograd, and those of other packages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from verl_egrsd.divergences import Divergence, RowLoss, divergence
from verl_egrsd.divergences.blocks import rows_per_part


@dataclass
class Inputs:
    """Hidden states (N, D) of both sides, the head (V, D) and tokens (N,)."""

    student: Tensor
    teacher: Tensor
    head: Tensor
    token_ids: Tensor

    @classmethod
    def random(cls, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Inputs:
        """Draw inputs whose logits spread by 3 and whose sides are alike."""
        rows, width, vocabulary = shape
        draw = torch.Generator(device).manual_seed(0)
        student, noise = (torch.randn(rows, width, generator=draw, device=device) for _ in range(2))
        head = torch.randn(vocabulary, width, generator=draw, device=device).mul_(3 / width**0.5)
        ids = torch.randint(vocabulary, (rows,), generator=draw, device=device)
        return cls(student.to(dtype), (student + 0.3 * noise).to(dtype), head.to(dtype), ids)

    def fresh(self, head_trained: bool = False) -> tuple[Tensor, Tensor]:
        """Return student and head as leaves that a gradient is wanted of."""
        return self.student.detach().requires_grad_(), self.head.detach().requires_grad_(head_trained)


Way = Callable[[Inputs], Any]

OURS = {
    "forward (opsd without its clip)": Divergence("forward"),
    "forward, clip .05 (opsd)": Divergence("forward", clip=0.05),
    "reverse (crisp)": Divergence("reverse"),
    "reverse, clip +-.05 (ogls_sd)": Divergence("reverse", clip=0.05, clip_sides="both"),
    "jsd (opsd_first_release)": Divergence("jsd"),
    "jsd, top 100 and bucket (sdpo)": Divergence("jsd", top_k=100, support="student"),
    "forward, top 16, policy term (eopd)": Divergence("forward", top_k=16, tail="teacher_renormalised"),
}


def products(inputs: Inputs, head_trained: bool = False) -> None:
    """Multiply what must be multiplied, a block of rows at a time, and drop the results."""
    block = rows_per_part(len(inputs.head), torch.float32, inputs.head.device)[0]
    for hidden, teacher in zip(inputs.student.split(block), inputs.teacher.split(block), strict=True):
        logits = torch.mm(hidden, inputs.head.T)
        torch.mm(teacher, inputs.head.T)
        torch.mm(logits, inputs.head)
        if head_trained:
            torch.mm(logits.T, hidden)


def ours(inputs: Inputs, settings: Divergence, policy: bool = False, head_trained: bool = False) -> None:
    """Measure and differentiate with the package."""
    student, head = inputs.fresh(head_trained)
    ones = torch.ones(len(student), device=student.device)
    row_loss = RowLoss(ones)
    if policy:
        row_loss = replace(row_loss, advantages=ones, old_log_probs=-ones)
    ids = inputs.token_ids
    divergence(
        student, inputs.teacher, head, settings, token_ids=ids, row_loss=row_loss
    ).loss.sum().backward()


def plain(inputs: Inputs, kind: str) -> None:
    """Measure and differentiate through full logits."""
    student, head = inputs.fresh()
    s = torch.log_softmax((student @ head.T).float(), -1)
    with torch.no_grad():
        t = torch.log_softmax((inputs.teacher @ head.T).float(), -1)
    kl = partial(torch.nn.functional.kl_div, reduction="sum", log_target=True)
    if kind == "forward":
        kl(s, t).backward()
    else:
        mixture = torch.logaddexp(s + math.log(0.5), t + math.log(0.5))
        (0.5 * kl(mixture, t) + 0.5 * kl(mixture, s)).backward()


def trl(inputs: Inputs, function: Any, beta: float) -> None:
    """Measure and differentiate with TRL's chunked divergence."""
    student, head = inputs.fresh()
    rows, _ = function.apply(student, head, None, inputs.teacher, head.detach(), None, beta)
    rows.sum().backward()


def liger(inputs: Inputs, loss: Any) -> None:
    """Measure and differentiate with Liger-Kernel's chunked distillation."""
    student, head = inputs.fresh()
    loss(student, head, inputs.teacher, head.detach(), inputs.token_ids).backward()


def peers(device: torch.device) -> dict[str, Way]:
    """Return the other packages' ways that are installed."""
    found: dict[str, Way] = {}
    if find_spec("trl") and find_spec("trl.kernels"):
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        for kind, beta in (("forward", 0.0), ("jsd", 0.5)):
            found[f"TRL, {kind}"] = partial(trl, function=ChunkedDivergenceFunction, beta=beta)
    if find_spec("liger_kernel"):
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        # A hard loss of weight 0 leaves the divergence; only a GPU is worth compiling for.
        settings = {"weight_hard_loss": 0.0, "weight_soft_loss": 1.0, "compiled": device.type == "cuda"}
        found["Liger-Kernel, jsd"] = partial(liger, loss=LigerFusedLinearJSDLoss(**settings))
    return found


def ways(device: torch.device) -> dict[str, Way]:
    """Return every way that can run here, by name; the bare products first."""
    found: dict[str, Way] = {"bare products": products}
    for name, settings in OURS.items():
        found[name] = partial(ours, settings=settings, policy="policy" in name)
    found |= {f"plain autograd, {kind}": partial(plain, kind=kind) for kind in ("forward", "jsd")}
    return found | peers(device)
