"""Log-probs and full-vocabulary entropies of given tokens, without ever holding the logits.

For logits x = (h W^T + b) / T the head's output is needed only through a few sums over the vocabulary,

    m = max x,    Z = sum exp(x - m),    U = sum exp(x - m) (x - m),
    log p(y) = x_y - m - log Z,          H = log Z - U / Z,

so the vocabulary is taken block by block, and blocks, like shards of the vocabulary on several ranks, are
merged by moving their sums to a common m. 151,936 logits would be 0.6 MB per token, and an entropy taken the
plain way holds three such buffers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_PerRow = Float[Tensor, " rows"]

BLOCK_ROWS = 1024
"""Rows per block: its logits stay in the cache between the product and the sums."""
BLOCK_COLUMNS = 2048
"""Vocabulary entries per block."""
GPU_BLOCK_ROWS, GPU_BLOCK_COLUMNS = 2048, 32_768
"""The same on a GPU, where the launch of a small product costs more than its operations."""

UNITS = {torch.bfloat16: "bf16", torch.float16: "fp16"}
"""Part of the names of a processor's units for half precision."""


@dataclass(frozen=True)
class PartialScores:
    """What a part of the vocabulary contributes; all fields (N,), fp32.

    Attributes:
        maximum: m, the largest logit of the part.
        total: Z, the sum of exp(x - m).
        weighted: U, the sum of exp(x - m) (x - m).
        chosen: the logit of the given token, 0 if another part holds it.
    """

    maximum: _PerRow
    total: _PerRow
    weighted: _PerRow
    chosen: _PerRow

    def merge(self, other: PartialScores) -> PartialScores:
        """Return the contribution of both parts together; the parts must not overlap."""
        maximum = torch.maximum(self.maximum, other.maximum)
        mine, theirs = self._moved_to(maximum), other._moved_to(maximum)
        return PartialScores(maximum, mine[0] + theirs[0], mine[1] + theirs[1], self.chosen + other.chosen)

    def scores(self) -> tuple[_PerRow, _PerRow]:
        """Return (log_prob, entropy), nats, when every part of the vocabulary is merged."""
        log_total = self.total.log()
        # Where one token has all the weight, rounding may leave an entropy of -1e-7.
        entropy = (log_total - self.weighted / self.total).clamp(min=0.0)
        return self.chosen - self.maximum - log_total, entropy

    def _moved_to(self, maximum: _PerRow) -> tuple[_PerRow, _PerRow]:
        shift = self.maximum - maximum
        scale = shift.exp()
        return scale * self.total, scale * (self.weighted + shift * self.total)


def score_tokens(
    hidden: Float[Tensor, "rows width"],
    weight: Float[Tensor, "vocabulary width"],
    token_ids: Int[Tensor, " rows"],
    *,
    temperature: float = 1.0,
    bias: Float[Tensor, " vocabulary"] | None = None,
) -> tuple[_PerRow, _PerRow]:
    """Return log-prob and entropy of each row, exact over the whole vocabulary.

    The matrix product runs in the dtype of `weight` (in fp32 on a processor without units for that dtype),
    everything after it in fp32. Memory beside inputs and outputs is that of a few blocks of logits. Not
    differentiable: a teacher needs no gradient.

    Args:
        hidden: last hidden states, (N, D).
        weight: the head, (V, D).
        token_ids: the tokens to score, (N,), 0 <= id < V.
        temperature: T, positive; logits are divided by it.
        bias: of the head, (V,).

    Returns:
        (log_prob, entropy), nats, both (N,) and fp32.

    Raises:
        ValueError: for a temperature that is not positive, shapes that do not fit, or an id outside [0, V).
    """
    if ((token_ids < 0) | (token_ids >= len(weight))).any():
        raise ValueError(
            f"token_ids reach from {int(token_ids.min())} to {int(token_ids.max())}: they must lie in "
            f"[0, {len(weight)}), the rows of weight."
        )
    return partial_scores(hidden, weight, token_ids, temperature=temperature, bias=bias).scores()


@torch.no_grad()
def partial_scores(
    hidden: Float[Tensor, "rows width"],
    weight: Float[Tensor, "vocabulary width"],
    token_ids: Int[Tensor, " rows"],
    *,
    temperature: float = 1.0,
    bias: Float[Tensor, " vocabulary"] | None = None,
    first_id: int = 0,
) -> PartialScores:
    """Return what a shard of the head contributes; see :func:`score_tokens`.

    Args:
        first_id: id of the shard's first entry; `token_ids` count in the whole vocabulary, and those outside
            the shard contribute nothing to `chosen`.
    """
    _require_shapes(hidden, weight, token_ids, bias)
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} is not allowed: it must be positive.")
    on_cpu = hidden.device.type == "cpu"
    block = BLOCK_ROWS if on_cpu else GPU_BLOCK_ROWS
    columns = BLOCK_COLUMNS if on_cpu else GPU_BLOCK_COLUMNS
    scratch = _Scratch(hidden.device)
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.to(product_dtype(weight))
        rows = [
            functools.reduce(
                PartialScores.merge, _blocks(some, weight, chosen, temperature, bias, columns, scratch)
            )
            for some, chosen in zip(hidden.split(block), (token_ids - first_id).split(block), strict=True)
        ]
    fields = ("maximum", "total", "weighted", "chosen")
    return PartialScores(**{name: torch.cat([getattr(part, name) for part in rows]) for name in fields})


def product_dtype(weight: Tensor) -> torch.dtype:
    """Return the dtype of the matrix product with a head: its own, where the device has units for it.

    A processor without such units emulates a product in half precision: slower than one in fp32 (measured: 4
    times in bf16, 13 times in fp16), and its logits are rounded.
    """
    if weight.device.type != "cpu" or weight.dtype not in UNITS:
        return weight.dtype
    return weight.dtype if _has_units(UNITS[weight.dtype]) else torch.float32


def _has_units(kind: str) -> bool:
    # Old releases of torch do not tell; fp32 is right on every processor.
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has for name, has in found.items() if kind in name)


def _blocks(
    hidden: Tensor,
    weight: Tensor,
    token_ids: Tensor,
    temperature: float,
    bias: Tensor | None,
    columns: int,
    scratch: _Scratch,
) -> Iterator[PartialScores]:
    """Yield the contribution of each block of the vocabulary to one block of rows."""
    for start in range(0, len(weight), columns):
        stop = min(start + columns, len(weight))
        shape, part = (len(hidden), stop - start), weight[start:stop]
        if part.dtype != hidden.dtype:
            part = scratch.tensor("weight", (stop - start, part.shape[1]), hidden.dtype).copy_(part)
        logits = torch.mm(hidden, part.T, out=scratch.tensor("product", shape, hidden.dtype))
        if logits.dtype != torch.float32:
            logits = scratch.tensor("logits", shape, torch.float32).copy_(logits)
        if bias is not None:
            logits += bias[start:stop]
        if temperature != 1.0:
            logits /= temperature
        held = (token_ids >= start) & (token_ids < stop)
        chosen = logits.gather(1, (token_ids - start).clamp(0, stop - start - 1).unsqueeze(1)).squeeze(1)
        maximum = logits.amax(dim=1)
        logits -= maximum.unsqueeze(1)
        exponentials = torch.exp(logits, out=scratch.tensor("exponentials", shape, torch.float32))
        yield PartialScores(
            maximum=maximum,
            total=exponentials.sum(dim=1),
            weighted=exponentials.mul_(logits).sum(dim=1),
            chosen=chosen.where(held, 0.0),
        )


class _Scratch:
    """Memory that blocks of the same shape share: new memory costs more time than the sums in it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kept: dict[str, Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return the tensor of a name with its old content; a new tensor if the shape changed."""
        found = self.kept.get(name)
        if found is None or found.shape != shape:
            found = self.kept[name] = torch.empty(shape, dtype=dtype, device=self.device)
        return found


def _require_shapes(hidden: Tensor, weight: Tensor, token_ids: Tensor, bias: Tensor | None) -> None:
    fits = (
        hidden.ndim == weight.ndim == 2
        and hidden.shape[1] == weight.shape[1]
        and token_ids.shape == hidden.shape[:1]
        and (bias is None or bias.shape == weight.shape[:1])
    )
    if not fits:
        shapes = {"hidden": hidden, "weight": weight, "token_ids": token_ids, "bias": bias}
        found = ", ".join(
            f"{name} {tuple(value.shape)}" for name, value in shapes.items() if value is not None
        )
        raise ValueError(f"{found} do not fit: hidden is (N, D), weight (V, D), token_ids (N,), bias (V,).")
