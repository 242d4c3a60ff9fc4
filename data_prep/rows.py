"""One row of verl's parquet, and the normalised form in which two problems are compared."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Any, Literal, TypedDict

import pyarrow as pa

from verl_egrsd.rows import ANSWER_INSTRUCTION

VerlRow = dict[str, Any]


class Lengths(TypedDict):
    """Lengths of a row's two prompts, each rendered with its chat template."""

    student: int
    teacher: int
    unit: Literal["tokens", "characters"]


_LENGTHS = pa.struct([("student", pa.int64()), ("teacher", pa.int64()), ("unit", pa.string())])
ROW_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("split", pa.string()),
                    ("problem", pa.string()),
                    ("solution", pa.string()),
                    ("answer", pa.string()),
                    ("source", pa.string()),
                    ("lengths", _LENGTHS),
                    ("hash", pa.string()),
                ]
            ),
        ),
    ]
)
"""The columns of every file that data_prep writes for verl; :func:`to_row` returns rows of this form."""


def to_row(
    *,
    data_source: str,
    problem: str,
    solution: str,
    answer: str,
    index: int,
    split: str,
    source: str,
    lengths: Lengths | None = None,
) -> VerlRow:
    """Return a row in verl's schema.

    Args:
        data_source: name that groups the metrics, such as "math500".
        problem: text of the problem, without an instruction.
        solution: the reference solution for the teacher's prompt; "" without one.
        answer: the ground truth of the reward, LaTeX or plain.
        index: number that names the row in messages.
        split: "train", "validation" or "test".
        source: where the row comes from: hub id, file name, or the origin that the data names.
        lengths: lengths of the two prompts; None if they were not measured.
    """
    return {
        "data_source": data_source,
        "prompt": [{"role": "user", "content": f"{problem}\n\n{ANSWER_INSTRUCTION}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {
            "index": index,
            "split": split,
            "problem": problem,
            "solution": solution,
            "answer": answer,
            "source": source,
            "lengths": lengths,
            "hash": problem_hash(problem),
        },
    }


def without_marks(solution: str) -> str:
    """Return a GSM8K solution without its calculator marks, `<<6*8=48>>`, and its last line, `#### 48`.

    A solution without such a last line is returned unchanged.
    """
    text, found, after = solution.rstrip().rpartition("####")
    return re.sub(r"<<[^>]*>>", "", text).strip() if found and "\n" not in after else solution


def problem_hash(problem: str) -> str:
    """Return the SHA-256, in hexadecimal, of the normalised problem."""
    return hashlib.sha256(normalise_problem(problem).encode()).hexdigest()


_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿ"
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎"
_SPELLINGS = str.maketrans(
    {"−": "-", "‐": "-", "‑": "-", "–": "-", "—": "-", "’": "'", "‘": "'", "′": "'", "“": '"', "”": '"'}
)
_TOKEN = re.compile(
    r"\\[A-Za-z]+"  # a LaTeX command
    r"|\\\s|\\."  # a control symbol: \, or \{
    r"|\d*\.\d+|\d+"  # a number
    r"|[^\W\d_]+"  # a word, or letters that stand together
    r"|\.{2,}|\S",  # an ellipsis, or one symbol
    re.DOTALL,
)
_SAME = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\%": "%",
    "\\leq": "\\le",
    "\\geq": "\\ge",
    "\\neq": "\\ne",
}
_SAME |= dict.fromkeys(("\\ldots", "\\dots", "\\cdots"), "...")
# Spacing, sizes, mathematical delimiters and sentence punctuation say nothing about the problem. The colon of
# a ratio, the exclamation mark of a factorial, the prime of a derivative and every sign stay.
_SILENT = {
    "\\left",
    "\\right",
    "\\big",
    "\\Big",
    "\\bigg",
    "\\Bigg",
    "\\displaystyle",
    "\\quad",
    "\\qquad",
    "~",
}
_SILENT |= {"\\,", "\\;", "\\:", "\\!", "\\(", "\\)", "\\[", "\\]", "\\$", "$", ".", ",", ";", "?", '"', "`"}


def normalise_problem(text: str) -> str:
    """Return a problem as tokens separated by single spaces, equal for all spellings of the problem.

    Unicode forms (NFKC), case, white space, LaTeX's spacing, sizes and dollar signs, and the punctuation of
    sentences do not count. Whatever changes the mathematics counts: `x^2` is not `x_2` (nor is `x²`), -1 is
    not 1, 1.5 is not 15, `1 2` is not 12, `5!` is not 5. `text.split()` of the result gives tokens for
    n-grams.
    """
    text = re.sub(f"[{_SUPERSCRIPTS}]+", r"^{\g<0>}", text)
    text = re.sub(f"[{_SUBSCRIPTS}]+", r"_{\g<0>}", text)
    # NFKC would write 2½ as 21⁄2.
    text = re.sub("[¼-¾⅐-⅞]", r" \g<0> ", text)
    text = unicodedata.normalize("NFKC", text).translate(_SPELLINGS)
    text = re.sub(r"([_^])\s*\{\s*(\w)\s*\}", r"\1\2 ", text)
    return " ".join(filter(None, map(_spelled, _TOKEN.findall(text))))


@lru_cache(maxsize=2**16)
def _spelled(token: str) -> str:
    """Return the normalised spelling of a token, "" for a token that does not count."""
    token = _SAME.get(token, token)
    if token in _SILENT or _is_invisible(token):
        return ""
    # A command keeps its case: \Delta is not \delta.
    return token if token.startswith("\\") else token.casefold()


def _is_invisible(token: str) -> bool:
    return token.removeprefix("\\").isspace() or unicodedata.category(token[0]) in ("Cc", "Cf")
