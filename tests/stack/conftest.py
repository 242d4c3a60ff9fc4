"""A small random model and its data; what starts processes lives in tests/support."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """Random weights, with the (tied) embedding scaled so that entropies spread from 0.8 to 5.6 nats."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = build_small_tokenizer(path)
    model = new_model(small_qwen3_config(len(tokenizer)), seed=0)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(3)
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="session")
def data_path(tmp_path_factory):
    """16 training rows and 4 for validation, in verl's schema, with what some methods read besides."""
    path = tmp_path_factory.mktemp("data")
    for split, count in (("train", 16), ("validation", 4)):
        rows = list(generate_rows(split, count, seed=0))
        for row in rows:
            row["extra_info"] |= {"problem_en": row["extra_info"]["problem"], "pass_rate": 0.5}
        pd.DataFrame(rows).to_parquet(path / f"{split}.parquet")
    return path
