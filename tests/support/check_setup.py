"""A set-up that `verl-egrsd check` finds nothing wrong with, for tests that break it in one place."""

from __future__ import annotations

import json
from copy import deepcopy

import pandas as pd
from omegaconf import OmegaConf, open_dict

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.doctor.lines import CheckLine

SIZES = {
    **{"model_type": "qwen3", "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728, "vocab_size": 151_936},
    **{"max_position_embeddings": 40_960, "tie_word_embeddings": True},
}
"""Qwen3-4B's, beside the small tokenizer."""


class Known:
    """Stands in for the fresh process: everything is registered."""

    def findings(self):
        yield CheckLine("plug-in", "registered")


def write_setup(folder, rows):
    """Write a model's configuration and tokenizer, and rows; return the words that name the rows."""
    build_small_tokenizer(folder / "model")
    (folder / "model" / "config.json").write_text(json.dumps(SIZES))
    pd.DataFrame(generate_rows("train", rows, seed=0)).to_parquet(folder / "train.parquet")
    words = [f"data.{split}_files={folder / 'train.parquet'}" for split in ("train", "val")]
    return [*words, f"trainer.default_local_dir={folder / 'out'}"]


def examined(kind, setup, changes=(), *, elsewhere=False):
    """Return the findings of a kind of examination for a changed set-up, and the examination."""
    config = deepcopy(setup)
    with open_dict(config):
        for key, value in dict(changes).items():
            OmegaConf.update(config, key, value)
    examination = kind(config, Known(), elsewhere=elsewhere, pairs=1)
    return list(examination.findings()), examination


def only(findings, level):
    """Return the one finding of a level."""
    (found,) = [finding for finding in findings if finding.level is level]
    return found
