"""Formatting around an answer: delimiters, fonts, colours, spaces, a full stop."""

from __future__ import annotations

import re

NESTED = r"(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*"
"""What a group in braces holds: up to three further levels of groups."""
GROUP = rf"\{{({NESTED})\}}"
FONT = re.compile(
    r"\\(?:mathbf|mathsf|mathit|mathnormal|mathtt|boldsymbol|bm|bold|pmb|underline|underbar|emph|ensuremath|boxed|fbox"
    rf"|displaylines|mathstrut|uline|mathord)\s*{GROUP}"
)
TEXT_FONT = re.compile(
    r"\\(?:textbf|textit|textrm|textsf|texttt|textnormal|textsc|textup|mbox|hbox|mathrm|rm)\s*(?=\{)"
)
COLOUR = re.compile(
    rf"\\(?:textcolor|colorbox)\s*(?:\[\w+\])?\{{[^{{}}]*\}}\s*{GROUP}|\\color\s*(?:\[\w+\])?\{{[^{{}}]*\}}"
)
_SWITCH = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|it|rm"
    r"|sf|tt|bfseries|itshape|mathstrut|strut|nonumber|notag|left|right|[bB]igg?[lrm]?|middle)(?![a-zA-Z])"
)
SPACE = re.compile(
    r"(?<!\\)\\[,;:! >]|\\(?:quad|qquad|thinspace|space|enspace|hfill|allowbreak|newline)(?![a-zA-Z])|~"
    r"|\\[hv](?:space|phantom)\*?\{[^{}]*\}|\\phantom\{[^{}]*\}|\\(?:tag|label)\*?\{[^{}]*\}"
)
DELIMITER = re.compile(r"(?<!\\)\\[()\[\]](?!\w*\{)|(?<!\\)\$")
FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
ORDINAL = re.compile(
    r"(\d)\s*(?:\^?\s*\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|\^\s*\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th)\b)"
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
SPOKEN = re.compile(
    r"^(?:\\text\s*\{\s*)?(?:the\s+)?(?:final\s+|correct\s+)?(?:answer|solution|result|value)s?(?:\s+(?:is|are)\s*:?|\s*[:=]|\s*\})\s*\}?\s*[:=]?\s*(?=[^\s}])",
    re.IGNORECASE,
)
UNIT_FRACTION = re.compile(r"\\frac\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}")
EMPHASIS = re.compile(r"^(\*\*|__|\*|`)(.+)\1$", re.DOTALL)


def fonts(text: str) -> str:
    r"""Emphasis is not part of an answer; words stay words.

    \mathbf{\frac{1}{2}} -> \frac{1}{2}
    \underline{5} -> 5
    \boldsymbol{x}+1 -> x+1
    \textbf{yes} -> \text{yes}
    \mathrm{cm} -> \text{cm}
    **18** -> 18
    """
    text = EMPHASIS.sub(r"\2", text.strip())
    if "\\" not in text:
        return text
    return _until_stable(FONT, r" \1", TEXT_FONT.sub(r"\\text", text)).strip()


def colours(text: str) -> str:
    r"""Colour is not part of an answer.

    \color{red}{5} -> {5}
    \textcolor{blue}{\frac{1}{2}} -> \frac{1}{2}
    {\color{red} 5} -> { 5}
    """
    return _until_stable(COLOUR, lambda match: match.group(1) or "", text) if "color" in text else text


def switches(text: str) -> str:
    r"""Sizes of brackets, fractions and letters are not part of an answer.

    \large 5 -> 5
    \left( 1, 2 \right) -> ( 1, 2 )
    \dfrac{1}{2} -> \frac{1}{2}
    \{x \left| x > 2 \right.\} -> \{x | x > 2 \}
    """
    if "\\" not in text:
        return text
    text = re.sub(r"\\(?:left|right)\s*\.", "", text)
    return _SWITCH.sub("", FRACTION.sub(r"\\frac", text)).strip()


def spaces(text: str) -> str:
    r"""Every space becomes one space; spaces that group the digits of a number are removed.

    5\,\text{cm} -> 5 \text{cm}
    10,\!080 -> 10,080
    1{,}000 -> 1,000
    x \quad y -> x y
    """
    if "{,}" in text or "\\!" in text:
        text = re.sub(r"\\!\s*(?=\d)", "", re.sub(r"\s*(?:\{,\}|,\\!|\\!,)\s*", ",", text))
    return " ".join(SPACE.sub(" ", text).split())


def delimiters(text: str) -> str:
    r"""Delimiters of mathematics are not part of an answer; a dollar sign with a backslash is.

    \[5\] -> 5
    \(x+1\) -> x+1
    $5$ -> 5
    \$5 -> \$5
    """
    return DELIMITER.sub(" ", text).strip() if "$" in text or "\\" in text else text


def punctuation(text: str) -> str:
    r"""Punctuation that ends a sentence or a clause is not part of an answer.

    5, -> 5
    12. -> 12
    x=2; -> x=2
    "yes" -> yes
    5! -> 5!
    0.33... -> 0.33...
    """
    if not text.endswith("..."):
        text = re.sub(r"(?:\s*(?:[,;.]|\\+))+$", "", text).strip()
    return text.replace("``", "").strip('"` ') if '"' in text or "`" in text else text


def phrases(text: str) -> str:
    r"""Words that announce an answer are not part of it.

    \text{The answer is } 5 -> 5
    Answer: 5 -> 5
    the value is 5 -> 5
    \approx 5 -> 5
    \text{value} -> \text{value}
    """
    text = re.sub(r"^\\(?:approx|therefore)(?![a-zA-Z])\s*", "", text)
    is_announced = re.search("answer|solution|result|value", text, re.IGNORECASE)
    return SPOKEN.sub("", text, count=1) if is_announced else text


def ordinals(text: str) -> str:
    r"""The ending of an ordinal number is not part of it.

    12^{\text{th}} -> 12
    12^\text{th} -> 12
    21st -> 21
    """
    return ORDINAL.sub(r"\1", text) if re.search("st|nd|rd|th", text) else text


def texts(text: str) -> str:
    r"""Numbers and formulas are the same inside and outside of text; empty text is removed.

    \text{12} -> 12
    \text{2 hours 30 minutes} -> 2 hours 30 minutes
    \text{(C)} -> (C)
    \text{True} -> \text{True}
    \text{}5 -> 5
    \text{e}^2 -> e^2
    \text{A, C} -> \text{A} , \text{C}
    9 \text{ cats and } 2 -> 9 \text{ cats} \text{and} 2
    \frac{\text{km}}{\text{h}} -> \text{km/h}
    """
    return _TEXT.sub(_unwrapped, UNIT_FRACTION.sub(r"\\text{\1/\2}", text)) if "\\text" in text else text


def _unwrapped(match: re.Match[str]) -> str:
    content = match[1]
    if re.search(r"\d|\\", content) or not re.search(r"[^\W\d_]", content):
        return content
    if before_and := re.fullmatch(r"(.*[^\s,])\s*,?\s(and|or)\s*", content):
        return f"\\text{{{before_and[1]}}} \\text{{{before_and[2]}}}"
    if "," in content and (parts := [part.strip() for part in content.split(",")]):
        return " , ".join(f"\\text{{{part}}}" if part else "" for part in parts)
    is_letter = re.fullmatch(r"\W*[a-zA-Z]\W*", content) and not re.fullmatch(
        r"\s*[b-df-hj-zA-Z]\s*", content
    )
    return content if is_letter else match[0]


def whole_group(text: str) -> str:
    r"""Braces around the whole answer are not part of it.

    {5} -> 5
    { x+1 } -> x+1
    {1}+{2} -> {1}+{2}
    """
    while re.fullmatch(r"\{[^{}]*\}", text):
        text = text[1:-1].strip()
    return text


def _until_stable(pattern: re.Pattern[str], replacement: object, text: str) -> str:
    before = None
    while before != text and len(text) < 5_000:
        before, text = text, pattern.sub(replacement, text)  # type: ignore[call-overload]
    return text
