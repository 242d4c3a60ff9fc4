"""The examples beside the rules: each line of a docstring is executed."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator

import pytest

from verl_egrsd.reward import rules, verify_answer

REWRITES = re.compile(r"^ {4}(.*?) -> (.*)$", re.MULTILINE)
JUDGES = re.compile(r"^ {4}(.*?) (==|!=) (.*)$", re.MULTILINE)


def functions() -> Iterator[Callable]:
    for module in pkgutil.iter_modules(rules.__path__):
        module = importlib.import_module(f"{rules.__name__}.{module.name}")
        yield from (
            function
            for name, function in inspect.getmembers(module, inspect.isfunction)
            if function.__module__ == module.__name__ and not name.startswith("_")
        )


REWRITING = [
    (function, *line) for function in functions() for line in REWRITES.findall(function.__doc__ or "")
]
JUDGING = [(function, *line) for function in functions() for line in JUDGES.findall(function.__doc__ or "")]


@pytest.mark.parametrize(("rule", "text", "expected"), REWRITING)
def test_a_rule_writes_what_its_examples_say(rule, text, expected):
    assert " ".join(rule(text).split()) == " ".join(expected.split())


@pytest.mark.parametrize(("rule", "answer", "relation", "truth"), JUDGING)
def test_the_verifier_judges_as_the_examples_of_a_rule_say(rule, answer, relation, truth):
    assert verify_answer(f"\\boxed{{{answer}}}", truth, time_limit=120).correct == (relation == "==")


def test_every_rule_has_examples():
    shown = {rule for rule, *_ in REWRITING + JUDGING}
    rewriting = {rule for rule in rules.REWRITES if rule is not rules.plain_characters}
    assert rewriting <= shown
    from verl_egrsd.reward.equivalence import DECISIONS

    assert set(DECISIONS) <= shown
