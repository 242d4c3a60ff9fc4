"""Two small Qwen3 models: one to be trained from scratch, one random with the embedding of the real Qwen3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

QWEN3_EMBEDDING_ROWS = 151_936
"""Rows of Qwen3's embedding: more than its tokenizer has tokens."""


def small_qwen3_config(vocab_size: int) -> Qwen3Config:
    """Return the architecture of the small model: about 0.5 M parameters with a vocabulary of 500."""
    return Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        initializer_range=0.04,
        tie_word_embeddings=True,
        rope_theta=10_000.0,
    )


def random_qwen3_config() -> Qwen3Config:
    """Return a tiny architecture with the embedding of the real Qwen3: about 4.9 M parameters."""
    return Qwen3Config(
        vocab_size=QWEN3_EMBEDDING_ROWS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
    )


def new_model(config: Qwen3Config, seed: int) -> Qwen3ForCausalLM:
    """Return a model with random weights in float32, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config).float()


def random_qwen3(path: str | Path, tokenizer: Any, seed: int = 0) -> Qwen3ForCausalLM:
    """Write a tiny random model with Qwen3's vocabulary, and its tokenizer, to a folder and return it."""
    model = new_model(random_qwen3_config(), seed)
    save_model(model, tokenizer, path)
    return model


def save_model(model: Qwen3ForCausalLM, tokenizer: Any, path: str | Path) -> None:
    """Write weights, tokenizer and generation config to a folder that AutoModelForCausalLM loads."""
    model.config.eos_token_id, model.config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=1.0,
    )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
