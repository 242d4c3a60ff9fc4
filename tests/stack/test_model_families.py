"""Models of many families score right, or are refused with the remedy (see tests/support/family_probe.py)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from tests.support import warm_python

SUPPORT = Path(__file__).parents[1] / "support"
LINEAR = ("qwen3", "qwen3 untied", "qwen3 moe", "qwen3.5", "qwen3 next", "llama", "mistral", "gemma 3 text")
"""A head that is one product, as verl's fused head takes it to be."""
UNFUSED = {
    "phi": "PhiForCausalLM",
    "gemma 2": "Gemma2ForCausalLM",
    "granite": "GraniteForCausalLM",
    "cohere": "CohereForCausalLM",
    "cohere 2": "Cohere2ForCausalLM",
}
"""Families that verl's fused head scores wrongly."""
CAPPED_OR_SCALED = {"gemma 2", "granite", "cohere", "cohere 2"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def scored(model_path, tmp_path_factory):
    """What the worker made of each family, with verl's fused head asked for and without."""
    output = tmp_path_factory.mktemp("families") / "scores.pt"
    command = [warm_python.python(), str(SUPPORT / "family_probe.py"), str(model_path), str(output)]
    environment = os.environ | warm_python.environment()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return torch.load(output)


@pytest.mark.parametrize("family", [*LINEAR, *UNFUSED])
def test_student_and_teacher_score_as_the_models_own_logits_do(scored, family):
    found = scored[f"{family}, plain"]
    assert found.pop("response rows") == (family not in CAPPED_OR_SCALED)
    for name, error in found.items():
        assert error < 5e-5, name


@pytest.mark.parametrize("family", LINEAR)
def test_a_head_that_is_one_product_may_be_fused(scored, family):
    found = scored[f"{family}, fused"]
    assert found.pop("response rows")
    for name, error in found.items():
        assert error < 5e-5, name


@pytest.mark.parametrize(("family", "model"), UNFUSED.items())
def test_a_fused_head_that_differs_from_the_model_is_refused_with_the_remedy(scored, family, model):
    refusal = scored[f"{family}, fused"]["refusal"]
    assert model in refusal
    assert "use_fused_kernels=False" in refusal
