"""Several answers: a list in any order, a tuple in its own order, and named values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.labels import EQUALS, is_label
from verl_egrsd.reward.rules.numbers import THOUSANDS
from verl_egrsd.reward.rules.parts import cut, inner
from verl_egrsd.reward.verdict import Reason

_AND = r"\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])"
SEPARATOR = re.compile(rf"\s*[,;]\s*(?:{_AND})|[,;]|{_AND}")
SPACED_SEPARATOR = re.compile(rf"\s*[,;]\s*(?:{_AND})|;|,\s|{_AND}")
PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")
MINUS_PLUS = re.compile(r"\\mp(?![a-zA-Z])")
FOR_ALL = re.compile(r"\s*,\s*(?:\\text\s*\{\s*(?:where|for)\s*\}\s*)?[a-z]\s*\\in\s*\\mathbb\{[ZN]\}\s*$")
"""The range of the parameter of a family of solutions."""
TUPLES = ("()", "\\langle\\rangle")
UNIT = re.compile(r"\\text|[a-zA-Z]{3,}")

_Named = tuple[str, str]
"""A label ("" for none) and the value that it names."""


def lists(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A list is compared in any order; names, a tuple or units fix the order.

    2,1 == 1,2
    1 \text{ and } 2 == 1, 2
    -10,-8,4 == a=4, -8, -10
    x=1, y=2 == (1,2)
    y=2, x=1 == x=1, y=2
    x=2 \text{ or } x=3 == 3, 2
    1 \pm \sqrt{2} == 1+\sqrt{2}, 1-\sqrt{2}
    \{2,1\} == \{1,2\}
    1,000, 2,000 == 1000, 2000
    x = k\pi, k \in \mathbb{Z} == k\pi
    k=-1, b=2 == (-1, 2)
    x=2, y=1 != x=1, y=2
    y=1, x=2 != (1,2)
    1,2 != 1,2,3
    1,1,2 != 1,2
    1234 != 1, 234
    """
    if _is_number_after_all(answer, ground_truth):
        return None
    families = FOR_ALL.sub("", answer), FOR_ALL.sub("", ground_truth)
    if families != (answer, ground_truth):
        return context.equal(*families)
    given, wanted = items(answer), items(ground_truth)
    if len(given) < 2 and len(wanted) < 2:
        return None
    given, wanted = _expanded(given, wanted), _expanded(wanted, given)
    if len(given) != len(wanted) or _is_set_and_tuple(answer, ground_truth):
        return "wrong"
    if _named_apart(given) and _named_apart(wanted):
        return _same_names(dict(given), dict(wanted), context)
    values, truths = ([value for _, value in _by_name(named)] for named in (given, wanted))
    in_order = (
        _named_apart(given)
        or _named_apart(wanted)
        or bool(elements(answer) or elements(ground_truth))
        or _counted(answer) != _counted(ground_truth)
    )
    return _in_order(values, truths, context) if in_order else _in_any_order(values, truths, context)


def tuples(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A tuple is compared element by element, and so is an open interval.

    (3, \pi/2) == (3, \frac{\pi}{2})
    (1,2) != (2,1)
    (1,2) != (1,2,3)
    \langle 1,2 \rangle == (1,2)
    """
    given, wanted = elements(answer), elements(ground_truth)
    if len(given) < 2 or len(wanted) < 2:
        return None
    return "wrong" if len(given) != len(wanted) else _in_order(given, wanted, context)


def elements(text: str) -> list[str]:
    """Return the elements of a tuple; [] for anything else."""
    found = (inner(text, brackets) for brackets in TUPLES)
    content = next((content for content in found if content), None)
    return cut(content, SEPARATOR) if content else []


def items(text: str) -> list[_Named]:
    r"""Return the items of a list with their labels; a label also names the items after it."""
    listed: list[_Named] = []
    for part in _parts(text):
        sides = cut(part, EQUALS)
        label = sides[0] if len(sides) > 1 and is_label(sides[0]) else ""
        inherited = listed[-1][0] if listed and len(sides) == 1 else ""
        value = sides[-1] if label else part
        listed += [(label or inherited, one) for one in both_signs(value)]
    return listed


def both_signs(text: str) -> list[str]:
    r"""Return the two values of one plus-minus sign, or the text itself."""
    if len(PLUS_MINUS.findall(text)) != 1:
        return [text]
    return [
        MINUS_PLUS.sub(below, PLUS_MINUS.sub(above, text)).strip().removeprefix("+").strip()
        for above, below in ("+-", "-+")
    ]


def _parts(text: str) -> list[str]:
    if content := inner(text, "\\{\\}"):
        return list(dict.fromkeys(part for part in cut(content, SEPARATOR) if part))
    spaced = [part for part in cut(text, SPACED_SEPARATOR) if part]
    if any(THOUSANDS.fullmatch(part) for part in spaced):
        return spaced
    return [part for part in cut(text, SEPARATOR) if part]


def _is_number_after_all(answer: str, ground_truth: str) -> bool:
    return all(THOUSANDS.fullmatch(text) for text in (answer, ground_truth))


def _expanded(items: list[_Named], others: list[_Named]) -> list[_Named]:
    """Write a tuple, or digits that a comma might only group, as the list that they are compared with."""
    if len(items) != 1 or len(others) < 2:
        return items
    label, value = items[0]
    values, labels = elements(value), elements(label)
    if THOUSANDS.fullmatch(value):
        values = value.split(",")
    elif inner(value, "\\{\\}"):
        values = _parts(value)
    if len(values) < 2:
        return items
    return list(zip(labels if len(labels) == len(values) else [""] * len(values), values, strict=True))


def _named_apart(items: Sequence[_Named]) -> bool:
    names = [re.sub(r"\s", "", name) for name, _ in items]
    return all(names) and len(set(names)) == len(names) > 1 and not _one_letter_with_numbers(names)


def _by_name(items: list[_Named]) -> list[_Named]:
    """Return named items as a tuple would hold them: x before y."""
    are_coordinates = _named_apart(items) and all(name in ("x", "y", "z") for name, _ in items)
    return sorted(items) if are_coordinates else items


def _is_set_and_tuple(answer: str, ground_truth: str) -> bool:
    one, other = (
        (inner(text, "\\{\\}") is not None, bool(elements(text))) for text in (answer, ground_truth)
    )
    return (one[0] and other[1]) or (one[1] and other[0])


def _one_letter_with_numbers(names: Sequence[str]) -> bool:
    """Return whether names only count the solutions: `x_1, x_2`."""
    return len({re.sub(r"_\{?\d+\}?$", "", name) for name in names}) == 1


def _counted(text: str) -> bool:
    return UNIT.search(re.sub(r"\\[a-zA-Z]+(?<!\\text)|" + _AND, "", text)) is not None


def _same_names(given: dict[str, str], wanted: dict[str, str], context: Context) -> Reason:
    given, wanted = (
        {re.sub(r"\s", "", name): value for name, value in named.items()} for named in (given, wanted)
    )
    if given.keys() != wanted.keys():
        return "wrong"
    return _in_order(list(given.values()), [wanted[name] for name in given], context)


def _in_order(values: Sequence[str], truths: Sequence[str], context: Context) -> Reason:
    reasons = [context.equal(value, truth) for value, truth in zip(values, truths, strict=True)]
    return next((reason for reason in reasons if reason != "correct"), "correct")


def _in_any_order(values: Sequence[str], truths: Sequence[str], context: Context) -> Reason:
    left, worst = list(truths), "wrong"
    for value in values:
        for truth in left:
            reason = context.equal(value, truth)
            if reason == "correct":
                left.remove(truth)
                break
            worst = "unparsed" if reason == "unparsed" else worst
        else:
            return "unparsed" if worst == "unparsed" else "wrong"
    return "correct"
