"""Sizes of a decoder, from its `config.json` or by its name on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SIZES = {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size"}


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder such as Qwen3.

    Attributes:
        layers: how many.
        width: of the hidden states, D.
        heads: attention heads per layer.
        key_heads: heads of keys and values per layer.
        head_width: of one head.
        feed_forward: width of the gated feed-forward part.
        vocabulary: V, rows of the head.
        tied: whether the embedding is the head.
    """

    layers: int
    width: int
    heads: int
    key_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int
    tied: bool = True

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Shape | None:
        """Return the sizes in a model's `config.json`; None if its layers are not all of this kind.

        Experts and linear attention have sizes of their own, which nothing here counts.
        """
        kinds = set(facts.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
        if kinds or any("expert" in key for key in facts) or not facts.keys() >= _SIZES:
            return None
        width, heads = facts["hidden_size"], facts["num_attention_heads"]
        return cls(
            layers=facts["num_hidden_layers"],
            width=width,
            heads=heads,
            key_heads=facts.get("num_key_value_heads") or heads,
            head_width=facts.get("head_dim") or width // heads,
            feed_forward=facts["intermediate_size"],
            vocabulary=facts["vocab_size"],
            tied=bool(facts.get("tie_word_embeddings", True)),
        )

    @property
    def layer_weights(self) -> int:
        """Weights of all layers that multiply hidden states, N."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.width * self.feed_forward)

    @property
    def head_weights(self) -> int:
        """Weights of the head, V D."""
        return self.vocabulary * self.width

    @property
    def weights(self) -> int:
        """All weights but those of the norms, below a thousandth of them."""
        return self.layer_weights + self.head_weights * (1 if self.tied else 2)

    def adapter_weights(self, rank: int) -> int:
        """Weights of a LoRA adapter on all seven products of every layer."""
        queries, keys = self.heads * self.head_width, self.key_heads * self.head_width
        attention = 2 * (self.width + queries) + 2 * (self.width + keys)
        return self.layers * rank * (attention + 3 * (self.width + self.feed_forward))

    @property
    def cache_values(self) -> int:
        """Keys and values that generation keeps per token."""
        return 2 * self.layers * self.key_heads * self.head_width


QWEN3_1_7B = Shape(28, 2048, 16, 8, 128, 6144, 151_936)
QWEN3_4B = Shape(36, 2560, 32, 8, 128, 9728, 151_936)
QWEN3_8B = Shape(36, 4096, 32, 8, 128, 12288, 151_936, tied=False)
QWEN3_14B = Shape(40, 5120, 40, 8, 128, 17408, 151_936, tied=False)
KNOWN_SHAPES = {
    "Qwen3-1.7B": QWEN3_1_7B,
    "Qwen3-4B": QWEN3_4B,
    "Qwen3-8B": QWEN3_8B,
    "Qwen3-14B": QWEN3_14B,
}
"""Models of the presets, by their name without the organisation: so none needs to be downloaded."""
