"""When two answers are equal: one module per idea, one function per rule, its examples beside it.

In a docstring, `a -> b` shows what a rule turns a text into; `a == b` and `a != b` show whether the verifier
finds the answer `a` equal to the ground truth `b`. Tests execute these lines.
"""

from __future__ import annotations

from collections.abc import Callable

from verl_egrsd.reward.answer import plain_characters
from verl_egrsd.reward.rules import characters, clothing, names, numbers

REWRITES: tuple[Callable[[str], str], ...] = (
    plain_characters,
    characters.unicode_fractions,
    characters.unicode_roots,
    characters.unicode_characters,
    clothing.colours,
    clothing.fonts,
    clothing.switches,
    clothing.delimiters,
    clothing.spaces,
    clothing.texts,
    clothing.phrases,
    clothing.ordinals,
    clothing.punctuation,
    clothing.whole_group,
    names.roman_letters,
    names.synonyms,
    names.plain_operators,
    names.plain_names,
    numbers.repeating_decimals,
    numbers.powers_of_ten,
    numbers.bare_points,
    numbers.mixed_numbers,
    numbers.number_words,
    numbers.spaced_digits,
    numbers.grouped_digits,
    numbers.juxtaposed_products,
)
"""Rewriting rules, in their order. Each turns text into text and could serve any other reader of LaTeX."""


def readable(text: str) -> str:
    """Return an answer in the spelling that all further rules expect."""
    for rule in REWRITES:
        text = rule(text)
    return text.strip()
