"""A small random model and its data."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """Whole words of the task, bytes for everything else."""
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory, tokenizer):
    """Random weights with a scaled embedding, so that entropies spread."""
    path = tmp_path_factory.mktemp("model")
    model = new_model(small_qwen3_config(len(tokenizer)), seed=0)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(3)
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="session")
def data_path(tmp_path_factory):
    """Five rows in verl's schema, each with a hash that samples can name."""
    rows = generate_rows("train", 5, seed=0)
    for row in rows:
        row["extra_info"]["hash"] = f"hash {row['extra_info']['index']}"
    path = tmp_path_factory.mktemp("data") / "train.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path
