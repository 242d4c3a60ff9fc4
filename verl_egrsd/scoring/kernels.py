"""Which kernel scores tokens on this device: the fastest that agrees with plain logits, found at start.

On a CPU that is our own :func:`verl_egrsd.scoring.scorer.score_tokens`. On a GPU it competes with the fused
heads of Liger-Kernel and TRL, where they are installed, and with verl's in Triton. Fused kernels have been
wrong for vocabularies that are not a multiple of their block, so each is compared with plain logits first.
"""

from __future__ import annotations

import logging
import time
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from verl_egrsd.scoring.scorer import score_tokens

logger = logging.getLogger(__name__)

TRL_COLUMNS = 32_768
"""Vocabulary entries per block of TRL's head."""
CHECK_ROWS = 600
"""Rows of the check: more than one block, and not a multiple of it."""
CHECK_TEMPERATURE = 0.7
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Largest mean difference from plain logits, nats; half precision rounds logits by the tiling."""


class Kernel(Protocol):
    """Scores tokens given hidden states, as :func:`verl_egrsd.scoring.scorer.score_tokens` does."""

    def __call__(
        self, hidden: Tensor, weight: Tensor, token_ids: Tensor, *, temperature: float, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (log_prob, entropy) of each row, nats, float32."""


class Checked(NamedTuple):
    """A kernel that was tried.

    Attributes:
        error: largest of the mean differences from plain logits, nats.
        seconds: of one call.
    """

    error: float
    seconds: float


def liger(
    hidden: Tensor, weight: Tensor, token_ids: Tensor, *, temperature: float, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Score with Liger-Kernel's fused scaled cross-entropy (0.8.5 or later)."""
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction

    loss, entropy = LigerFusedLinearScaledCrossEntropyFunction.apply(
        hidden.to(weight.dtype), weight, token_ids, temperature, -100, 1, True
    )
    return -loss.float(), entropy.float()


def verl_triton(
    hidden: Tensor, weight: Tensor, token_ids: Tensor, *, temperature: float, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Score with verl's Triton kernel."""
    from verl.utils.kernel.linear_cross_entropy import linear_cross_entropy

    log_prob, entropy = linear_cross_entropy(
        hidden.to(weight.dtype), weight, token_ids, float(temperature), "none"
    )
    return log_prob.float(), entropy.float()


def trl(
    hidden: Tensor, weight: Tensor, token_ids: Tensor, *, temperature: float, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Score with TRL's chunked head (1.14 or later)."""
    from trl.kernels import ChunkedLogProbFunction

    log_prob, entropy, *_ = ChunkedLogProbFunction.apply(
        hidden.to(weight.dtype), weight, None, token_ids, temperature, TRL_COLUMNS, None, 1.0, ("entropy",)
    )
    return log_prob.float(), entropy.float()


def candidates(device: torch.device, biased: bool) -> dict[str, Kernel]:
    """Return the kernels that may run on a device, by name: ours always; fused ones do not support a bias."""
    found: dict[str, Kernel] = {}
    if device.type == "cuda" and not biased:
        if find_spec("liger_kernel"):
            found["Liger-Kernel"] = liger
        if find_spec("verl"):
            found["verl's Triton head"] = verl_triton
        if find_spec("trl"):
            found["TRL's chunked head"] = trl
    return found | {"blocks of torch": score_tokens}


def choose(
    width: int, vocabulary: int, dtype: torch.dtype, device: torch.device, *, biased: bool = False
) -> str:
    """Return the name of the fastest kernel that agrees with plain logits, and log the result of each.

    Args:
        width: of the hidden states, D.
        vocabulary: V, rows of the head.
        dtype: of the head's weights during the forward pass.
        device: of the engine. If there is only one candidate, nothing is tried.
        biased: whether the head has a bias.

    Raises:
        RuntimeError: when no kernel agrees.
    """
    kernels = candidates(device, biased)
    if len(kernels) == 1:
        return next(iter(kernels))
    draw = torch.Generator(device).manual_seed(0)
    hidden = torch.randn(CHECK_ROWS, width, generator=draw, device=device).to(dtype)
    weight = (torch.randn(vocabulary, width, generator=draw, device=device) * 3 / width**0.5).to(dtype)
    token_ids = torch.randint(vocabulary, (CHECK_ROWS,), generator=draw, device=device)
    tried = {name: try_kernel(kernel, hidden, weight, token_ids) for name, kernel in kernels.items()}
    for name, found in tried.items():
        logger.warning("kernel for token scores: %s: %s", name, found)
    agreeing = {
        name: found.seconds
        for name, found in tried.items()
        if isinstance(found, Checked) and found.error <= _TOLERANCE[dtype]
    }
    if not agreeing:
        raise RuntimeError(f"no kernel agrees with plain logits for {vocabulary} entries in {dtype}: {tried}")
    fastest = min(agreeing, key=lambda name: agreeing[name])
    logger.warning("kernel for token scores: %s is taken", fastest)
    return fastest


@torch.no_grad()
def try_kernel(kernel: Kernel, hidden: Tensor, weight: Tensor, token_ids: Tensor) -> Checked | str:
    """Compare a kernel with plain logits and time its second call; if it fails, return the reason."""
    logits = torch.mm(hidden, weight.T).float() / CHECK_TEMPERATURE
    distribution = torch.distributions.Categorical(logits=logits, validate_args=False)
    right = distribution.log_prob(token_ids), distribution.entropy()
    try:
        found = kernel(hidden, weight, token_ids, temperature=CHECK_TEMPERATURE, bias=None)
    except (ImportError, RuntimeError, AssertionError) as error:
        # If this GPU or its compiler cannot run a kernel, another one is taken.
        return f"{type(error).__name__}: {error}"
    start = _now(hidden.device)
    kernel(hidden, weight, token_ids, temperature=CHECK_TEMPERATURE, bias=None)
    seconds = _now(hidden.device) - start
    return Checked(max(float((a - b).abs().mean()) for a, b in zip(found, right, strict=True)), seconds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
