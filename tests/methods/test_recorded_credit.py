"""The credit of the presets is the one that version 0.1 gave: recorded before methods were factors.

The recorded numbers were made by another function on one processor. Exponentials may differ in the last bit
on another, so the comparison leaves two units in the last place.
"""

import json
from pathlib import Path

import pytest
import torch

from verl_egrsd.methods import Columns, EntropyGate, Method, Ratio, resolve

RECORD = json.loads((Path(__file__).parent / "recorded_credit.json").read_text())
TWO_UNITS = 2 * torch.finfo(torch.float32).eps
PRESETS = {"egrsd": "egrsd", "cl_egrsd": "cl_egrsd", "rlsd": "rlsd", "direction": "direction"}


def columns():
    lengths = torch.tensor(RECORD["lengths"]).unsqueeze(1)
    names = ("teacher_entropy", "student_log_prob", "teacher_log_prob")
    token_columns = {name: torch.tensor(RECORD[name]) for name in names}
    time = len(RECORD["teacher_entropy"][0])
    return Columns.of(torch.arange(time) < lengths, step=RECORD["step"], **token_columns)


def same_as_recorded(method, case):
    advantages = torch.tensor(RECORD["advantages"]).unsqueeze(1)
    found = method.credit(columns(), advantages).credit
    expected = torch.tensor(RECORD["cases"][case]["credit"])
    torch.testing.assert_close(found, expected, rtol=TWO_UNITS, atol=0)


@pytest.mark.parametrize("case", RECORD["cases"])
def test_the_credit_of_every_setting_is_the_recorded_one(case):
    options = dict(RECORD["cases"][case]["options"])
    ratio = Ratio(options.pop("clip", 0.2))
    same_as_recorded(Method(case, "", (ratio, EntropyGate(**options, seed=RECORD["seed"]))), case)


@pytest.mark.parametrize(("name", "case"), PRESETS.items())
def test_the_credit_of_every_preset_of_version_0_1_is_the_recorded_one(name, case):
    same_as_recorded(resolve(name, max_response_length=24), case)


def test_the_flat_keys_of_version_0_1_mean_the_same():
    same_as_recorded(resolve("cl_egrsd", {"gamma": 1.0, "window": 5}, max_response_length=24), "cl_egrsd_8b")
    same_as_recorded(
        resolve("rlsd", {"gamma": 0.0, "window": 0, "clip": 0.0}, max_response_length=24), "direction"
    )


def test_the_order_of_the_factors_changes_nothing_beyond_rounding():
    turned = resolve("egrsd", {"factors": ["entropy_gate", "ratio"]}, max_response_length=24)
    same_as_recorded(turned, "egrsd")
