"""The choice of a kernel. Fused kernels need a GPU, so stand-ins compete here."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest
import torch

from verl_egrsd.scoring import kernels
from verl_egrsd.scoring.scorer import score_tokens

CPU = torch.device("cpu")
SIZES = (16, 1_003, torch.float32, CPU)


def exact(hidden, weight, token_ids, *, temperature, bias):
    return score_tokens(hidden, weight, token_ids, temperature=temperature, bias=bias)


def slow(hidden, weight, token_ids, *, temperature, bias):
    time.sleep(0.2)
    return score_tokens(hidden, weight, token_ids, temperature=temperature, bias=bias)


def blind_to_the_last_block(hidden, weight, token_ids, *, temperature, bias):
    return score_tokens(hidden, weight[:960], token_ids.clamp(max=959), temperature=temperature, bias=bias)


def broken(hidden, weight, token_ids, *, temperature, bias):
    raise RuntimeError("no image for this device")


def compete(monkeypatch, **found):
    monkeypatch.setattr(kernels, "candidates", lambda device, biased: found)
    return kernels.choose(*SIZES)


def test_on_a_cpu_our_own_scorer_is_taken_without_a_trial():
    assert kernels.candidates(CPU, biased=False)[kernels.choose(*SIZES)] is score_tokens


def test_fused_kernels_are_candidates_on_a_gpu_only_and_without_a_bias_only():
    gpu = torch.device("cuda")
    assert "verl's Triton head" in kernels.candidates(gpu, biased=False)
    assert list(kernels.candidates(gpu, biased=True)) == list(kernels.candidates(CPU, biased=False))


def test_trl_is_a_candidate_where_it_is_installed_and_gets_its_arguments_in_their_order(monkeypatch):
    class Stand:
        """TRL's function, by its public arguments."""

        @staticmethod
        def apply(hidden, weight, bias, targets, temperature, chunk_size, softcap, logit_scale, outputs):
            assert bias is None
            assert softcap is None
            assert (logit_scale, outputs) == (1.0, ("entropy",))
            scores = score_tokens(hidden, weight, targets, temperature=temperature)
            return (*scores, None, None, None)

    assert "TRL's chunked head" not in kernels.candidates(torch.device("cuda"), biased=False)
    stand = SimpleNamespace(ChunkedLogProbFunction=Stand, __spec__=object())
    monkeypatch.setitem(sys.modules, "trl", stand)
    monkeypatch.setitem(sys.modules, "trl.kernels", stand)
    found = kernels.candidates(torch.device("cuda"), biased=False)["TRL's chunked head"]
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 16, generator=draw) for n in (40, 1_003))
    token_ids = torch.randint(1_003, (40,), generator=draw)
    assert kernels.try_kernel(found, hidden, weight, token_ids).error < kernels._TOLERANCE[torch.float32]


def test_the_fastest_kernel_that_agrees_is_taken(monkeypatch):
    assert compete(monkeypatch, slow=slow, exact=exact) == "exact"


def test_a_kernel_that_skips_part_of_the_vocabulary_is_not_taken_however_fast(monkeypatch, caplog):
    assert compete(monkeypatch, blind=blind_to_the_last_block, slow=slow) == "slow"
    assert "slow is taken" in caplog.text


def test_a_kernel_that_cannot_run_here_is_named_with_its_reason_and_passed_over(monkeypatch, caplog):
    assert compete(monkeypatch, broken=broken, exact=exact) == "exact"
    assert "broken: RuntimeError: no image for this device" in caplog.text


def test_no_kernel_that_agrees_is_an_error_that_lists_what_was_tried(monkeypatch):
    with pytest.raises(RuntimeError, match="no image for this device"):
        compete(monkeypatch, broken=broken, blind=blind_to_the_last_block)


def test_a_kernel_is_compared_in_half_precision_too():
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 16, generator=draw).bfloat16() for n in (40, 1_003))
    token_ids = torch.randint(1_003, (40,), generator=draw)
    assert kernels.try_kernel(exact, hidden, weight, token_ids).error < kernels._TOLERANCE[torch.bfloat16]
    wrong = kernels.try_kernel(blind_to_the_last_block, hidden, weight, token_ids)
    assert wrong.error > kernels._TOLERANCE[torch.bfloat16]
