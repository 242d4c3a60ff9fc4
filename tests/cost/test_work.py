"""The counted cost of a step, against totals that are known and times that were measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import cost as benchmark
from verl_egrsd.cost import seconds
from verl_egrsd.cost import shape as shapes
from verl_egrsd.cost import work as counted

lengths = st.integers(0, 20_000)
rollouts = st.builds(counted.MeanRollout, st.integers(1, 2_000), lengths, st.integers(1, 20_000))


def test_the_weights_of_the_4b_and_8b_shapes_add_up_to_the_published_sizes():
    for shape, published in ((shapes.QWEN3_4B, 4.0e9), (shapes.QWEN3_8B, 8.2e9)):
        tied = shape is shapes.QWEN3_4B
        embedding = 0 if tied else shape.head_weights
        assert shape.layer_weights + shape.head_weights + embedding == pytest.approx(published, rel=0.01)


def test_a_step_without_a_reference_costs_a_quarter_more_than_one_without_a_teacher():
    assert counted.share_of_teacher(counted.MeanRollout(prompt=100, solution=0, response=900)) == 1.25


@given(rollouts)
def test_the_share_in_tokens_is_the_share_in_operations_where_layers_are_all_there_is(rollout):
    layers_only = replace(shapes.QWEN3_4B, heads=0, vocabulary=0)
    work = counted.step_work(layers_only, rollout)
    without = work.student.total + work.update.total
    assert work.total / without == pytest.approx(counted.share_of_teacher(rollout))


@given(rollouts)
def test_projecting_response_rows_only_saves_the_head_over_both_prompts(rollout):
    shape = shapes.QWEN3_8B
    few, all_rows = (counted.step_work(shape, rollout, all_rows=rows) for rows in (False, True))
    saved = 2 * shape.head_weights * (2 * rollout.prompt + rollout.solution)
    assert all_rows.total - few.total == pytest.approx(saved)
    assert few.update == all_rows.update


@given(rollouts)
def test_no_gradient_of_base_weights_saves_a_third_of_the_update_and_recomputing_adds_the_layers(rollout):
    plain, lora, again = (
        counted.step_work(shapes.QWEN3_4B, rollout, **options).update
        for options in ({}, {"lora": True}, {"recomputed": True})
    )
    assert lora.total == pytest.approx(plain.total * 2 / 3)
    assert again.layers == pytest.approx(plain.layers * 4 / 3)
    assert again.head == plain.head


def test_hidden_states_of_a_step_have_the_bytes_and_travel_at_the_rates_that_were_measured():
    """The shares of docs/performance.md, for a solution of 1,000 tokens on the faster machine."""
    lengths, shares = counted.MeanRollout(200, 1_000, 1_024), []
    page = (benchmark.RESULTS / "hidden_states.md").read_text()
    for name, shape in (("Qwen3-4B", shapes.QWEN3_4B), ("Qwen3-8B", shapes.QWEN3_8B)):
        (row,) = (line.split("|") for line in page.splitlines() if name in line)
        kept = 2 * shape.width * 1_024 * 32
        assert kept / 1e6 == pytest.approx(float(row[2]), abs=0.5)
        assert [float(cell) * 1e9 for cell in row[5:7]] == pytest.approx([*seconds.QUEUE_RATES], rel=0.05)
        step = seconds.step_seconds(shape, lengths, 32, seconds.H100, lora=True, kept=kept)
        queue = step.pop("hidden states")
        shares.append(queue / sum(step.values()))
    assert [round(100 * share) for share in shares] == [3, 3]


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="response=-1 is not allowed"):
        counted.MeanRollout(prompt=1, solution=0, response=-1)


def test_rates_fitted_without_a_case_predict_it_within_25_percent():
    """Times of tests/benchmarks/cost.py, as committed: nothing is timed here."""
    found = json.loads((benchmark.RESULTS / "cost.json").read_text())
    cases, times = [benchmark.Case(**case) for case in found["cases"]], found["seconds"]
    assert benchmark.fit(cases, times) == pytest.approx(found["rates"], rel=1e-6)
    for left_out, (case, measured) in enumerate(zip(cases, times, strict=True)):
        others = [index for index in range(len(cases)) if index != left_out]
        rates = benchmark.fit([cases[index] for index in others], [times[index] for index in others])
        assert benchmark.predict(case, rates) == pytest.approx(measured, rel=0.25), case


def test_the_page_has_the_predictions_that_the_code_makes():
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    assert seconds.prediction_table() in page.read_text()
