"""The GPU benchmark, where there is no GPU: its message, and the same code on a CPU."""

from __future__ import annotations

import re

import pytest
import torch

from tests.benchmarks import gpu_teacher

pytestmark = pytest.mark.stack


def test_without_a_gpu_it_says_so_and_ends_with_code_1(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_teacher.main([]) == 1
    assert "no GPU here: nothing was measured" in capsys.readouterr().err


def test_the_same_code_prints_every_line_on_a_cpu(capsys):
    sizes = ["--responses", "8", "40", "--solutions", "0", "16"]
    assert gpu_teacher.main(["--device", "cpu", "--shapes", "tiny", *sizes]) == 0
    page = capsys.readouterr().out
    measured = re.findall(r"^\| +\d.* \d+\.\d\d \|$", page, re.MULTILINE)
    heads = len(gpu_teacher.ways(torch.device("cpu")))
    assert len(measured) == 2 * heads + 2 * 2 * 2
    assert "vocabulary 1,003" in page
    assert re.search(r"\| +16 \| +40 \| response rows \|", page)


def test_all_heads_that_run_here_agree():
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 16, generator=draw) for n in (30, 1_003))
    token_ids = torch.randint(1_003, (30,), generator=draw)
    with torch.no_grad():
        found = {
            name: way(hidden, weight, token_ids)
            for name, way in gpu_teacher.ways(torch.device("cpu")).items()
        }
    for log_prob, entropy in found.values():
        torch.testing.assert_close(log_prob, found["plain logits"][0], rtol=0, atol=1e-4)
        torch.testing.assert_close(entropy, found["plain logits"][1], rtol=0, atol=1e-4)
