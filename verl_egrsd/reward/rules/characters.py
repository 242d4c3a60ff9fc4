"""Unicode that stands for LaTeX: what a model types instead of a command."""

from __future__ import annotations

import re
import unicodedata

_COMMANDS = {
    "°": "^\\circ", "º": "^\\circ", "˚": "^\\circ", "℃": "^\\circ C", "℉": "^\\circ F",
    "×": "\\times", "·": "\\cdot", "⋅": "\\cdot", "∙": "\\cdot", "•": "\\cdot", "÷": "/", "∕": "/", "⁄": "/",
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "±": "\\pm", "∓": "\\mp",
    "≤": "\\le", "⩽": "\\le", "≦": "\\le", "≥": "\\ge", "⩾": "\\ge", "≧": "\\ge",
    "≠": "\\ne", "≈": "\\approx",
    "∞": "\\infty", "∪": "\\cup", "⋃": "\\cup", "∩": "\\cap", "∈": "\\in", "∉": "\\notin", "∖": "\\setminus",
    "∅": "\\emptyset", "Ø": "\\emptyset", "∣": "\\mid", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}",
    "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "∠": "\\angle", "△": "\\triangle",
    "⟨": "\\langle", "⟩": "\\rangle", "′": "'", "’": "'", "∶": ":", "：": ":", "，": ",", "、": ",",
    "；": ";",
    "（": "(", "）": ")", "。": ".", "∧": "\\wedge", "∨": "\\vee", "→": "\\to", "∑": "\\sum", "∫": "\\int",
    "α": "\\alpha", "β": "\\beta", "γ": "\\gamma", "δ": "\\delta", "ε": "\\epsilon", "θ": "\\theta",
    "λ": "\\lambda", "μ": "\\mu", "π": "\\pi", "ρ": "\\rho", "σ": "\\sigma", "τ": "\\tau", "φ": "\\phi",
    "ϕ": "\\phi", "ω": "\\omega", "Δ": "\\Delta", "Ω": "\\Omega", "Σ": "\\Sigma", "Π": "\\Pi",
    "𝜋": "\\pi", "𝜃": "\\theta", "𝑖": "i", "𝑒": "e", "𝑥": "x", "𝑦": "y",
}  # fmt: skip
"""One character, and the command or character that means the same."""
SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣ", "0123456789+-=()nix")
SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙₓ", "0123456789+-=()nx")
_RAISED, LOWERED = (re.compile(f"[{''.join(map(chr, table))}]+") for table in (SUPERSCRIPT, SUBSCRIPT))
VULGAR = re.compile("[¼-¾⅐-⅞↉]")
ROOT = re.compile(r"([√∛∜])\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\\?[a-zA-Z]+|\d+(?:\.\d+)?))")
_DEGREE = {"√": "", "∛": "[3]", "∜": "[4]"}


def unicode_characters(text: str) -> str:
    r"""Characters that mean a command are that command.

    125° -> 125^\circ
    (−∞, 3) -> (-\infty , 3)
    x²+1 -> x^{2}+1
    x⁻¹⁰ -> x^{-10}
    aₙ -> a_{n}
    x ≤ 2 -> x \le  2
    """
    if text.isascii():
        return text
    text = _RAISED.sub(lambda run: f"^{{{run.group().translate(SUPERSCRIPT)}}}", text)
    text = LOWERED.sub(lambda run: f"_{{{run.group().translate(SUBSCRIPT)}}}", text)
    return "".join(map(_command, text))


def _command(character: str) -> str:
    command = _COMMANDS.get(character, character)
    return command + " " if command.startswith("\\") and command[-1].isalpha() else command


def unicode_fractions(text: str) -> str:
    r"""A fraction of one character is a fraction.

    ½ -> \frac{1}{2}
    2½ -> 2\frac{1}{2}
    """
    return text if text.isascii() else VULGAR.sub(_fraction, text)


def _fraction(match: re.Match[str]) -> str:
    over, under = unicodedata.normalize("NFKC", match.group()).split("⁄")
    return f"\\frac{{{over}}}{{{under}}}"


def unicode_roots(text: str) -> str:
    r"""A root covers the number or letter after it, or what brackets enclose.

    √2 -> \sqrt{2}
    2√3 -> 2\sqrt{3}
    √3/2 -> \sqrt{3}/2
    √(x+1) -> \sqrt{x+1}
    ∛5 -> \sqrt[3]{5}
    """
    if text.isascii():
        return text
    return ROOT.sub(lambda root: f"\\sqrt{_DEGREE[root[1]]}{{{root[2] or root[3] or root[4]}}}", text)
