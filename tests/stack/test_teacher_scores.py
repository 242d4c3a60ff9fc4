"""The teacher's worker on the real FSDP engine: what it scores, with which weights, and how precisely."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support import warm_python
from verl_egrsd.methods import Columns, EntropyGate, Method, Ratio

SUPPORT = Path(__file__).parents[1] / "support"
ENGINES = ("lora", "full")

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def probe(model_path, tmp_path_factory):
    """Scores of one process that holds all workers (see tests/support/worker_probe.py)."""
    output = tmp_path_factory.mktemp("probe") / "scores.pt"
    command = [warm_python.python(), str(SUPPORT / "worker_probe.py"), str(model_path), str(output)]
    environment = os.environ | warm_python.environment()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return torch.load(output)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_reference_the_teacher_equals_the_untrained_student_exactly(probe, engine):
    scores = probe[engine]
    for teacher, student in zip(scores["same"]["teacher_log_prob"], scores["student"], strict=True):
        assert torch.equal(teacher, student)


@pytest.mark.parametrize("engine", [*ENGINES, "untied"])
def test_scores_of_response_rows_are_those_of_verls_own_path(probe, engine):
    scores = probe[engine]
    for name, values in scores["privileged"].items():
        for ours, stock in zip(values, scores["all_rows"][name], strict=True):
            torch.testing.assert_close(ours, stock, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_head_sees_response_rows_only(probe, engine):
    assert sum(probe[engine]["rows"]) == sum(len(response) for response in probe["responses"])


@pytest.mark.parametrize("engine", ENGINES)
def test_micro_batches_move_the_teacher_by_rounding_only(probe, engine):
    scores = probe[engine]
    for split, whole in zip(
        *(scores[name]["teacher_log_prob"] for name in ("same_split", "same")), strict=True
    ):
        torch.testing.assert_close(split, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_at_the_first_step_without_a_reference_the_credit_is_the_gated_advantage(probe, engine):
    scores = probe[engine]
    teacher, entropy, student = (
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        for rows in (*scores["same"].values(), scores["student"])
    )
    lengths = torch.tensor([len(row) for row in scores["student"]])
    mask = torch.arange(student.shape[1]) < lengths[:, None]
    advantage = torch.tensor([[0.8], [-0.5], [0.5], [-0.3]])
    columns = Columns.of(mask, teacher_log_prob=teacher, student_log_prob=student, teacher_entropy=entropy)
    ungated, gated = (
        Method("example", "", (Ratio(), EntropyGate(gamma=gamma))).credit(columns, advantage)
        for gamma in (0.0, 1.0)
    )
    assert (ungated.weights["ratio"][mask] == 1).all()
    assert torch.equal(ungated.credit, advantage * mask)
    assert (gated.credit.abs() < ungated.credit.abs())[mask].all()


@pytest.mark.parametrize("engine", ENGINES)
def test_training_moves_the_student_and_leaves_the_teacher_as_it_was(probe, engine):
    scores = probe[engine]
    for name in ("teacher_log_prob", "teacher_entropy"):
        for before, after in zip(scores["privileged"][name], scores["privileged_moved"][name], strict=True):
            assert torch.equal(before, after)
    before, after = (torch.cat(scores[name]) for name in ("student", "student_moved"))
    assert (before - after).abs().mean() > 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_float32_and_agree_with_float64_logits(probe, engine, model_path):
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    scores = probe[engine]["privileged"]
    rows = zip(probe["privileged"], probe["responses"], *scores.values(), strict=True)
    for prompt, response, log_prob, entropy in rows:
        with torch.no_grad():
            logits = model(torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]
        exact = (logits.double() / probe["temperature"]).log_softmax(dim=-1)
        assert log_prob.dtype == entropy.dtype == torch.float32
        sampled, spread = exact.gather(1, response[:, None])[:, 0], -(exact.exp() * exact).sum(dim=-1)
        torch.testing.assert_close(log_prob.double(), sampled, rtol=0, atol=1e-5)
        torch.testing.assert_close(entropy.double(), spread, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_teacher_reads_the_students_response_ids_after_its_own_prompt(probe, engine):
    rows = zip(probe["privileged"], probe["responses"], probe[engine]["input_ids"], strict=True)
    for prompt, response, sent in rows:
        assert sent.tolist() == prompt.tolist() + response.tolist()


def test_a_kernel_that_disagrees_with_verls_own_path_is_not_used(probe):
    assert probe["wrong kernel"] is None


def test_an_engine_that_computes_in_bf16_gives_float32_scores_near_those_of_fp32(probe):
    for name, values in probe["bf16"].items():
        for coarse, exact in zip(values, probe["lora"]["privileged"][name], strict=True):
            assert coarse.dtype == torch.float32
            torch.testing.assert_close(coarse, exact, rtol=0, atol=0.05)


def test_an_engine_that_returns_bf16_entropies_is_refused_with_the_setting_that_mends_it(probe):
    assert "bfloat16" in probe["refusal"]
    assert "mixed_precision.param_dtype=fp32" in probe["refusal"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_rollout_gets_the_student_once_and_unrounded(probe, engine):
    streamed = probe[engine]["stream"]
    assert streamed["weights"].keys() == streamed["expected"].keys() - {"lm_head.weight"}  # the head is tied
    for name, weight in streamed["weights"].items():
        assert weight.dtype == torch.float32, name
        torch.testing.assert_close(weight, streamed["expected"][name], rtol=0, atol=1e-6)


def test_the_stream_says_how_much_of_the_update_it_carries(probe):
    lora = probe["lora"]["stream"]["metrics"]
    assert lora["egrsd/sync/update_share"] == pytest.approx(1, abs=1e-5)
    assert lora["egrsd/sync/update_error"] < 1e-3
    assert probe["full"]["stream"]["metrics"] == {}  # nothing is merged


def test_an_adapter_is_streamed_as_it_is_and_measured_in_the_rollouts_dtype(probe):
    adapter = probe["adapter"]
    assert adapter["rank"] == 8
    assert adapter["names"]
    assert all(".lora_" in name for name in adapter["names"])
    assert adapter["metrics"]["egrsd/sync/update_share"] == pytest.approx(1, abs=1e-2)
    assert 1e-4 < adapter["metrics"]["egrsd/sync/update_error"] < 1e-2  # bf16


def test_an_untied_head_is_streamed(probe):
    assert "lm_head.weight" in probe["untied"]["stream"]["weights"]


def test_a_fused_untied_head_trains_as_the_models_own_does(probe):
    gradients = probe["untied"]["gradients"]
    for fused, own in zip(gradients["fused"], gradients["own"], strict=True):
        torch.testing.assert_close(fused, own, rtol=1e-4, atol=1e-5)
    assert not torch.equal(*gradients["fused"])
