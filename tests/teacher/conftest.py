"""The two tokenizers."""

from typing import Any

import pytest

from recipes.rehearsal.tokenizer import build_qwen3_tokenizer, build_small_tokenizer


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real Qwen3 tokenizer."""
    return build_qwen3_tokenizer(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer of the rehearsal, with a begin token for the templates that write one."""
    tokenizer = build_small_tokenizer(tmp_path_factory.mktemp("small"))
    tokenizer.bos_token = "<|endoftext|>"
    return tokenizer
