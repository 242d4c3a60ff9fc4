"""What counts as the answer of a response, and when two answers are written alike."""

from __future__ import annotations

import re
import unicodedata

from verl_egrsd.reward.reasoning import REASONING_MARK, after_reasoning

BOX = "\\boxed"
BOXED = re.compile(r"\\boxed\s*(?:\{|(?=[-+\d\\.]|[A-H]\b))")
"""TeX takes a space before the brace, and no brace at all: `\\boxed 5`. Words after `\\boxed` are prose."""
UNBRACED = re.compile(r"[^\s$]*")
_MARKED = re.compile(r"(?<!#)####(?!#)\s*(\S.*)")
"""GSM8K's mark of the final answer, up to the end of its line."""
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
"""An escaped brace is a character of the answer; it opens and closes nothing."""
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Full-width forms of the printable ASCII characters; their digits stand for the same numbers."""


def final_answer(response: str, *, inside_reasoning: bool = False, reasoning_counts: bool = False) -> str:
    """Return the answer that a response ends on: its last `\\boxed{}`, else its last `#### x`, else "".

    Args:
        response: decoded response. Everything up to the last `</think>` is reasoning, and so is everything
            after an unclosed `<think>`.
        inside_reasoning: whether the prompt opened the reasoning: without a `</think>` there is no answer.
        reasoning_counts: accept an answer inside the reasoning if there is none after it.
    """
    found = _last_answer(after_reasoning(response, inside_reasoning=inside_reasoning))
    return found or (_last_answer(REASONING_MARK.sub("\n", response)) if reasoning_counts else "")


def own_answer(solution: str) -> str:
    """Return the final answer of a solution: its last `\\boxed{}`, else `#### x` on its last line, else "".

    On any other line four hashes are a Markdown heading.
    """
    return final_answer(solution if BOX in solution else solution.rstrip().rpartition("\n")[2])


def normalise(answer: str) -> str:
    """Return an answer without formatting; the strict path compares the results. ¶ It drops dollar signs,
    spacing, `\\left` and `\\right`, the size of a fraction, a final full stop, and thousands separators. A
    tuple keeps its commas, `3 1/2` keeps its space, and `1, 234` is a list.
    """
    grouped = re.sub(r"\s*(?:\{,\}|,\\!)\s*", ",", plain_characters(answer))
    bare = re.sub(r"\\(?=[%$])|\\[,;:! ]|\\(?:left|right)(?![a-zA-Z])|[$~]", " ", grouped)
    bare = " ".join(re.sub(r"\\[dt]frac(?![a-zA-Z])", r"\\frac", bare).split()).rstrip(".")
    if re.fullmatch(r"-?\d{1,3}([, ]\d{3})+(\.\d+)?", bare):
        return re.sub(r"[, ]", "", bare)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", bare)


def plain_characters(text: str) -> str:
    """Return text with ASCII digits and without invisible characters (NUL, direction marks)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_plain_character, text.translate(FULL_WIDTH)))


def _plain_character(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cc", "Cf"):
        return ""
    return str(unicodedata.decimal(character, character))


def _last_answer(text: str) -> str:
    boxes = [match.end() for match in BOXED.finditer(text)]
    if boxes:
        return _boxed(text, boxes[-1]).strip()
    marked = _MARKED.findall(text)
    return marked[-1].strip("* ").strip() if marked else ""


def _boxed(text: str, start: int) -> str:
    if text[start - 1] == "{":
        return _balanced(text[start:])
    return UNBRACED.match(text, start)[0].rstrip(".,;")  # type: ignore[index]


def _balanced(text: str) -> str:
    """Return the text before the brace that closes the box; "" if no brace closes it."""
    depth = 1
    for match in BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[: match.start()]
    return ""
