"""Decoders of random weights."""

from __future__ import annotations

from typing import Any

from transformers import Qwen3Config, Qwen3ForCausalLM

from verl_egrsd.cost.shape import Shape


def random_decoder(shape: Shape, **options: Any) -> Qwen3ForCausalLM:
    """Return a Qwen3 of a shape with random weights; `options` go to its configuration."""
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_width,
        max_position_embeddings=65_536,
        attn_implementation="sdpa",
        **options,
    )
    return Qwen3ForCausalLM(config).eval()
