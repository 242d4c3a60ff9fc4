"""A divergence as the loss on verl's real FSDP2 engine, on one rank and two: gradients and metrics."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from tests.support import warm_python

SUPPORT = Path(__file__).parents[1] / "support"
ONE_RANK = {
    "full": ("forward", "reverse"),
    "lora, untied": ("forward", "reverse"),
    "lora, untied, packed": ("forward", "reverse"),
    "full, untied": ("forward", "reverse"),
    "lora, moving": ("forward", "jsd"),
    "full, current": ("reverse",),
}
TWO_RANKS = {case: ("forward", "reverse") for case in ("lora", "full", "full, untied")}
RUNS = [("one rank", case) for case in ONE_RANK] + [("rank 1 of two", case) for case in TWO_RANKS]
UPDATES = [
    *(("one rank", case, kind) for case, kinds in ONE_RANK.items() for kind in kinds),
    *(("rank 1 of two", case, kind) for case, kinds in TWO_RANKS.items() for kind in kinds),
]

pytestmark = pytest.mark.timeout(650)


@pytest.fixture(scope="module")
def probe(model_path, tmp_path_factory):
    """Gradients of one process that holds all workers (see tests/support/divergence_probe.py)."""
    output = tmp_path_factory.mktemp("probe") / "gradients.pt"
    command = [warm_python.python(), str(SUPPORT / "divergence_probe.py"), str(model_path), str(output)]
    environment = os.environ | warm_python.environment()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    ranks = [torch.load(f"{output}.rank_{rank}", weights_only=False) for rank in range(2)]
    found = torch.load(output, weights_only=False)
    return {"one rank": found, "rank 0 of two": ranks[0], "rank 1 of two": ranks[1]}


@pytest.mark.parametrize(("run", "case", "kind"), UPDATES)
def test_gradients_equal_those_of_autograd_through_full_logits(probe, run, case, kind):
    ours, plain = (found["gradients"] for found in probe[run][case][kind])
    assert ours.keys() == plain.keys()
    assert ours
    for name, gradient in plain.items():
        assert gradient.norm() > 0, name
        assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize(("run", "case"), RUNS)
def test_a_teacher_of_the_same_context_has_no_divergence_and_gives_no_gradient_at_the_first_step(
    probe, run, case
):
    """Packed rows have other neighbours on either side, and so another rounding."""
    found, rounding = probe[run][case]["same context"], 1e-6 if "packed" in case else 0
    metrics = found["metrics"]
    (mean,), (student,), (teacher,) = (
        metrics[f"divergence/{name}"] for name in ("mean", "student_entropy", "teacher_entropy")
    )
    assert abs(mean) <= rounding
    assert student == pytest.approx(teacher, rel=rounding, abs=0)
    assert all(gradient.abs().max() <= rounding for gradient in found["gradients"].values())


@pytest.mark.parametrize(("run", "case"), RUNS)
def test_a_steered_teacher_has_the_hidden_states_of_three_passes_put_together(probe, run, case):
    """The strength is 2, as in tests/support/divergence_probe.py."""
    steered, own, right, wrong = probe[run][case]["steered"]
    torch.testing.assert_close(steered, own + 2 * (right - wrong), rtol=1e-5, atol=1e-5)
    assert (right - wrong).abs().max() > 0.1


@pytest.mark.parametrize(("run", "case", "kind"), UPDATES)
def test_the_mean_divergence_of_an_update_is_that_of_the_whole_batch_on_all_ranks(probe, run, case, kind):
    update, plain = probe[run][case][kind]
    total = plain["mean"]
    if run != "one rank":
        total += probe["rank 0 of two"][case][kind][1]["mean"]
    (mean,) = update["metrics"]["divergence/mean"]
    assert mean == pytest.approx(total, rel=1e-5)
    assert update["metrics"]["loss"] != [0]


def test_with_first_tokens_the_teacher_keeps_these_alone(probe):
    update, _ = probe["one rank"]["full"]["reverse"]
    assert [len(row) for row in update["teacher_hidden"]] == [9, 1, 9, 8]
    whole, _ = probe["one rank"]["full"]["forward"]
    assert [len(row) for row in whole["teacher_hidden"]] == [12, 1, 17, 8]


@pytest.mark.parametrize(("run", "case"), [key for key in RUNS if key[1] != "full, current"])
def test_the_divergence_of_each_token_before_the_update_is_that_of_full_logits(probe, run, case):
    update, plain = probe[run][case]["forward"]
    for ours, theirs in zip(update["divergence"], plain["divergence"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
