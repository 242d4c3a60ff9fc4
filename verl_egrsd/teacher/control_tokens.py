"""Control tokens: texts that a tokenizer reads as marks of a conversation, wherever they occur.

`<|im_end|>` inside a problem would end the user's turn, and the rest of the problem would be another turn.
Nothing here imports verl or torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

WELL_KNOWN = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<s>", "</s>", "<bos>", "<eos>"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|start|>", "<|channel|>", "<|message|>"),
    *("<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "[gMASK]", "<sop>"),
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
)
"""Control tokens of widespread models, for use without a tokenizer."""
_MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Za-z]+\]")


class ControlTokens:
    """The control tokens of one tokenizer.

    Args:
        texts: the text of each control token.
    """

    def __init__(self, texts: Iterable[str] = WELL_KNOWN) -> None:
        self.texts = tuple(sorted({text for text in texts if len(text.strip()) > 1}, key=len, reverse=True))
        self._any = re.compile("|".join(map(re.escape, self.texts)) or r"(?!)")

    @classmethod
    def of(cls, tokenizer: Any, rendered: str = "") -> ControlTokens:
        """Return the tokens of a tokenizer that are special, look special, or are written by its chat
        template.

        Other added tokens, such as a run of spaces or Gemma's `<table>`, are not control tokens.

        Args:
            tokenizer: with or without a chat template.
            rendered: a rendered conversation without words of a user. Its marks count as control tokens even
                if the tokenizer has no token for them.
        """
        added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
        template = str(tokenizer.chat_template or "")
        named = {
            text
            for text, special in added.items()
            if special or text in template or text.startswith(("<|", "<｜"))
        }
        return cls({*named, *tokenizer.all_special_tokens, *_MARK.findall(rendered)})

    def found(self, text: str) -> list[str]:
        """Return the control tokens that a text contains, each once, in order."""
        return list(dict.fromkeys(self._any.findall(text)))

    def spelled(self, text: str) -> str:
        """Return the text with its control tokens spelled: a space follows their first character."""
        return self._any.sub(lambda token: f"{token[0][0]} {token[0][1:]}", text)
