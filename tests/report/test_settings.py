"""The block `report`: its defaults, its file, its page, and what is refused."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from verl_egrsd.report.settings import ReportConfig, Thresholds, factor_thresholds, resolve_report

ROOT = Path(__file__).parents[2]
DEFAULTS = {field.name: field.default for field in fields(Thresholds) if field.name != "of_factors"}
CHECKS = factor_thresholds()


def test_the_yaml_sets_the_defaults():
    given = yaml.safe_load((ROOT / "verl_egrsd/configs/egrsd.yaml").read_text())["report"]
    assert given.pop("folder") == "${trainer.default_local_dir}"
    assert resolve_report(given, folder="run") == ReportConfig("run")
    assert given["thresholds"].keys() == DEFAULTS.keys()
    assert tuple(given["hesitation_words"]) == ReportConfig("run").hesitation_words


def test_every_threshold_is_documented_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", (ROOT / "docs/report.md").read_text(), re.MULTILINE)
    documented = {name: yaml.safe_load(value) for name, value in rows if name not in CHECKS}
    actual = {name: list(value) if isinstance(value, tuple) else value for name, value in DEFAULTS.items()}
    assert documented == actual | {"folder": "trainer.default_local_dir", "ngram": 8}


def test_the_threshold_of_every_factor_is_documented():
    pages = [ROOT / "docs/report.md", *(ROOT / "docs/methods").glob("*.md")]
    text = "".join(page.read_text() for page in pages)
    assert not [key for key in CHECKS if f"`{key}`" not in text]


def test_the_thresholds_of_the_factors_stand_beside_the_others():
    given = {"clipped": [0.1, 0.2], "gate_open": 0.9, "gate_at_floor": None}
    found = resolve_report({"thresholds": given}, folder="run").thresholds
    assert found.of_factor(CHECKS["clipped"]) == (0.1, 0.2)
    assert found.of_factor(CHECKS["gate_open"]) == (0.9, None)
    assert found.of_factor(CHECKS["gate_at_floor"]) == CHECKS["gate_at_floor"].limits


def test_what_is_left_out_takes_the_default():
    assert resolve_report({}, folder="run") == ReportConfig("run")
    given = {"folder": None, "ngram": 4, "thresholds": {"truncation": [0.2, 0.3], "window": None}}
    config = resolve_report(given, folder="run")
    assert (config.folder, config.ngram) == ("run", 4)
    assert config.thresholds == Thresholds(truncation=(0.2, 0.3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": 1}, r"unknown key report\.colour=1"),
        ({"thresholds": {"truncated": [0, 1]}}, r"unknown key report\.thresholds\.truncated"),
        ({"thresholds": {"truncation": 0.5}}, r"thresholds\.truncation=0\.5 .*a pair \[warn, fail\]"),
        ({"thresholds": {"truncation": [0.5, 0.1]}}, "warn must not lie above fail"),
        ({"thresholds": {"weight": [0.4, 0.7]}}, "warn must not lie below fail"),
        ({"thresholds": {"window": 0}}, r"thresholds\.window=0 .*a whole number from 1"),
        ({"thresholds": {"window": 2.5}}, r"thresholds\.window=2\.5 .*a whole number from 1"),
        ({"thresholds": {"gate_open": "x"}}, r"thresholds\.gate_open='x' .*a number"),
        ({"ngram": 0}, r"report\.ngram=0 .*a whole number from 1"),
        ({"hesitation_words": "wait"}, "a list of words"),
        ({"hesitation_words": []}, "a list of words"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_key(given, message):
    with pytest.raises(ValueError, match=message):
        resolve_report(given, folder="run")
