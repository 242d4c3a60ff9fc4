"""Two tokenizers: a small one for the generated task, and the real Qwen3 tokenizer built offline.

The small one has the words of the task and of the teacher's turns as whole tokens, digits, operators and
line breaks as single tokens, and falls back to bytes for everything else, so that any text survives the round
trip. Both carry Qwen3's chat template and its special tokens.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from recipes.rehearsal import task

TEACHER_TURNS = (
    "Below is a worked solution that is known to be correct.\n",
    "=== begin reference solution ===\n=== end reference solution ===\n",
    "Study it until you see why each step holds. Then put it aside and solve the task yourself, ",
    "in your own words and at your own pace, and finish in the form that the task asks for.\n",
    "The final answer is known to be: \n",
    "Find the reasoning that leads there, in your own words",
)
"""The teacher's words that are whole tokens. They stay as they are: other words would make another tokenizer,
and the shipped model could not be used with it."""

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SMALL_VOCABULARY = 512
"""Most tokens that the small tokenizer may have."""

QWEN3_SPECIAL = (
    *(END_OF_TEXT, TURN_START, TURN_END, "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *(
        "<|box_end|>",
        "<|quad_start|>",
        "<|quad_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
    ),
    *("<|image_pad|>", "<|video_pad|>"),
)
"""Qwen3's special tokens, from id 151643 on."""
QWEN3_ADDED = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
"""Qwen3's added tokens that decode to text, after the special ones."""

_SMALL_SPLIT = r"\n| ?\\?[A-Za-z]+| ?=+|\d| ?[^\s\w]| "
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_small_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """Write the tokenizer of the generated task to a folder and return it."""
    bytes_first = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*bytes_first, *_small_words()])}
    # Without merges a word is either whole or bytes: nothing to train, and nothing in between.
    tokenizer = _byte_level(BPE(vocab=vocabulary, merges=[], ignore_merges=True), _SMALL_SPLIT)
    return _save(
        tokenizer, special=(END_OF_TEXT, TURN_START, TURN_END), added=("<think>", "</think>"), path=path
    )


def build_qwen3_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """Write the real Qwen3 tokenizer to a folder and return it; needs the package `dashscope`, no network.

    Raises:
        ModuleNotFoundError: when `dashscope`, which ships the vocabulary, is not installed.
    """
    vocabulary, merges = _qwen_vocabulary()
    tokenizer = _byte_level(BPE(vocab=vocabulary, merges=merges), _QWEN_SPLIT)
    tokenizer.normalizer = normalizers.NFC()
    return _save(tokenizer, special=QWEN3_SPECIAL, added=QWEN3_ADDED, path=path)


def chat_template() -> str:
    """Return Qwen3's chat template."""
    return files("recipes.rehearsal").joinpath("qwen3_chat_template.jinja").read_text(encoding="utf-8")


def _byte_level(model: BPE, split: str) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _save(
    tokenizer: Tokenizer, *, special: tuple[str, ...], added: tuple[str, ...], path: str | Path
) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in added])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[text for text in special if text not in (TURN_END, END_OF_TEXT)],
        clean_up_tokenization_spaces=False,
        model_max_length=131_072,
    )
    fast.chat_template = chat_template()
    fast.save_pretrained(path)
    return fast


def _small_words() -> list[str]:
    """Return the words of every text that the task can produce and of the teacher's turns, as tokens."""
    texts = [
        *TEACHER_TURNS,
        *(re.sub(r"\{\w+\}", "1", text) for text in (*task.QUESTIONS, *task.STARTS, *task.ENDS)),
        *(re.sub(r"\{\w+\}", "1", text) for text in (*task.SHORT_STEPS, *task.LONG_STEPS, *task.CHECKS)),
        *(task.INSTRUCTION, "The answer is \\boxed{1}.", "system", "user", "assistant"),
    ]
    splitter = _byte_level(BPE(), _SMALL_SPLIT).pre_tokenizer
    words = {word.lstrip("Ġ") for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    spaced = [space + word for word in words for space in ("", "Ġ")]
    return sorted(word for word in spaced if len(word) > 1)


@cache
def _qwen_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return Qwen's byte-pair vocabulary and its merges, in the byte-level alphabet of `tokenizers`."""
    if find_spec("dashscope") is None:
        raise ModuleNotFoundError(
            "the Qwen3 tokenizer needs the package dashscope, which ships Qwen's vocabulary: pip install "
            "dashscope"
        )
    lines = files("dashscope").joinpath("resources", "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    letters = _byte_letters()
    merges = [
        _merged_from(token, ranks)
        for token in tqdm(ranks, desc="Qwen merges", unit="token")
        if len(token) > 1
    ]
    return (
        {_spell(token, letters): rank for token, rank in ranks.items()},
        [(_spell(left, letters), _spell(right, letters)) for left, right in merges],
    )


def _merged_from(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Return the last merge that builds a token: run byte-pair encoding on it until two parts are left."""
    splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
    possible = [split for split in splits if split[0] in ranks and split[1] in ranks]
    if len(possible) == 1:
        return possible[0]
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def _byte_letters() -> list[str]:
    """Return the printable letter that the byte-level alphabet uses for each of the 256 bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    shifted = {byte: 256 + index for index, byte in enumerate(hidden)}
    return [chr(shifted.get(byte, byte)) for byte in range(256)]


def _spell(token: bytes, letters: list[str]) -> str:
    return "".join(letters[byte] for byte in token)
