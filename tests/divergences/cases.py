"""Hidden states, heads and settings that the tests of this folder share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_egrsd.divergences import Divergence

WIDTH, VOCABULARY = 12, 203

WHOLE = {
    "forward": Divergence("forward"),
    "forward clipped": Divergence("forward", clip=0.01, temperature=1.1),
    "forward clipped on both sides": Divergence("forward", clip=0.005, clip_sides="both"),
    "reverse": Divergence("reverse", temperature=0.7),
    "reverse clipped": Divergence("reverse", clip=0.01),
    "reverse clipped on both sides": Divergence("reverse", clip=0.005, clip_sides="both", temperature=1.1),
    "jsd": Divergence("jsd"),
    "jsd .1": Divergence("jsd", beta=0.1, temperature=1.3),
    "jsd .9 clipped": Divergence("jsd", beta=0.9, clip=0.002),
    "jsd .3 clipped on both sides": Divergence("jsd", beta=0.3, clip=0.0005, clip_sides="both"),
}
SUPPORTED = {
    "teacher's top 8 renormalised": Divergence("jsd", top_k=8, tail="renormalised", temperature=1.1),
    "forward, student's top 5 renormalised": Divergence(
        "forward", top_k=5, support="student", tail="renormalised"
    ),
    "sdpo": Divergence("jsd", top_k=20, support="student"),
    "forward, bucket": Divergence("forward", top_k=9, temperature=1.2),
    "reverse, bucket": Divergence("reverse", top_k=9, support="student"),
    "forward, bucket, clipped": Divergence("forward", top_k=7, clip=0.01),
    "reverse, bucket, clipped": Divergence("reverse", top_k=7, clip=0.01, clip_sides="both"),
    "jsd, renormalised, clipped": Divergence("jsd", beta=0.2, top_k=7, tail="renormalised", clip=0.002),
}
"""Both sides sum to 1 over the support: equal sides have no gradient."""
OPEN = {
    "eopd": Divergence("forward", top_k=16, tail="teacher_renormalised"),
    "eopd clipped": Divergence("forward", top_k=16, tail="teacher_renormalised", clip=0.05),
    "reverse, teacher renormalised": Divergence("reverse", top_k=6, tail="teacher_renormalised"),
    "forward, dropped": Divergence("forward", top_k=6, tail="dropped", temperature=0.9),
    "reverse, dropped": Divergence("reverse", top_k=6, tail="dropped", support="student"),
    "jsd, dropped, clipped": Divergence("jsd", beta=0.7, top_k=6, tail="dropped", clip=0.003),
    "reverse, dropped, clipped": Divergence("reverse", top_k=6, tail="dropped", clip=0.01, clip_sides="both"),
}
"""They do not."""
CLOSED = WHOLE | SUPPORTED
SETTINGS = CLOSED | OPEN


@dataclass
class Case:
    """Inputs of a call; student and head take gradients."""

    student: Tensor
    teacher: Tensor
    head: Tensor
    teacher_head: Tensor
    token_ids: Tensor
    weights: Tensor

    def logits(self) -> tuple[Tensor, Tensor]:
        """Return the full logits of both sides."""
        return self.student @ self.head.T, self.teacher @ self.teacher_head.T


def case(rows: int = 11, spread: float = 2.0, shift: float = 0.0, apart: float = 0.5, seed: int = 0) -> Case:
    """Draw a case in float64; logits have about this spread and shift, and the sides lie this far apart."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    student, head = normal(rows, WIDTH), normal(VOCABULARY, WIDTH) * spread / WIDTH**0.5
    student[:, 0], head[:, 0] = 1.0, shift
    teacher = student + apart * normal(rows, WIDTH)
    teacher[:, 0] = 1.0
    teacher_head = head + 0.1 * apart * spread * normal(VOCABULARY, WIDTH) / WIDTH**0.5
    token_ids = torch.randint(VOCABULARY, (rows,), generator=draw)
    weights = torch.rand(rows, generator=draw, dtype=torch.float64)
    return Case(student.requires_grad_(), teacher, head.requires_grad_(), teacher_head, token_ids, weights)
