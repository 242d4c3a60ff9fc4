"""The GPU benchmark of the divergences, where there is no GPU: its message, and the same code on a CPU."""

from __future__ import annotations

import re

import pytest
import torch

from tests.benchmarks import gpu_divergence
from tests.benchmarks.divergence_ways import Inputs, ways

pytestmark = pytest.mark.stack

CPU = torch.device("cpu")


def test_without_a_gpu_it_says_so_and_ends_with_code_1(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_divergence.main([]) == 1
    assert "no GPU here: nothing was measured" in capsys.readouterr().err


def test_the_same_code_prints_every_line_on_a_cpu(capsys):
    assert gpu_divergence.main(["--device", "cpu", "--shapes", "tiny", "--responses", "8", "24"]) == 0
    page = capsys.readouterr().out
    measured = re.findall(r"^\| +\d.* \d+\.\d\d \|$", page, re.MULTILINE)
    assert len(measured) == 2 * len(ways(CPU))
    assert "vocabulary 1,003" in page


@pytest.mark.parametrize("name", ways(CPU))
def test_a_way_leaves_its_inputs_as_they_were(name):
    inputs = Inputs.random((6, 16, 203), torch.float32, CPU)
    before = [value.clone() for value in (inputs.student, inputs.teacher, inputs.head)]
    ways(CPU)[name](inputs)
    for one, other in zip(before, (inputs.student, inputs.teacher, inputs.head), strict=True):
        assert torch.equal(one, other)
    assert inputs.student.grad is None
