"""The head of a report and the lines of a step: what a reader asks first, with intervals."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.output.intervals import wilson
from verl_egrsd.report.headline import duration, headline, validation_accuracy
from verl_egrsd.report.lines import step_lines
from verl_egrsd.report.run import describe_run

SUMS, CONTEST = "val-core/rehearsal/sums/acc/mean@4", "val-core/contest/acc/mean@1"


@pytest.fixture
def run(tmp_path):
    """The facts of a run whose validation has 100 sums and 20 problems of a contest."""
    for name, sources in {"train": ["x"] * 3, "test": ["rehearsal/sums"] * 100 + ["contest"] * 20}.items():
        pd.DataFrame({"data_source": sources}).to_parquet(tmp_path / f"{name}.parquet")
    chosen = {
        "algorithm": {"adv_estimator": "cl_egrsd", "egrsd": {"gamma": 0.5}},
        "trainer": {
            "experiment_name": "x",
            "nnodes": 2,
            "n_gpus_per_node": 8,
            "default_local_dir": str(tmp_path / "checkpoints"),
        },
        "data": {"train_batch_size": 32, "val_max_samples": -1},
        "actor_rollout_ref": {"model": {"path": "Qwen/Qwen3-4B"}, "actor": {"optim": {"lr": 5e-6}}},
    }
    files = {"training": [tmp_path / "train.parquet"], "validation": [tmp_path / "test.parquet"]}
    return describe_run(chosen, 100, files, {"rehearsal/sums": 100, "contest": 20})


def step(number, correct=0.5, length=800.0, **more):
    trained = {"training/global_step": float(number), "egrsd/correct": correct, "timing_s/step": 60.0}
    return trained | {"egrsd/response_length/mean": length, "egrsd/truncated": 0.031} | more


def steps_of(number):
    """The accuracy rises from 50 % to 75 % in the last ten steps."""
    steps = {n: step(n, 0.5 if n <= number - 10 else 0.75) for n in range(1, number + 1)}
    return {0: {SUMS: 0.4, CONTEST: 0.1}, **steps, number: steps[number] | {SUMS: 0.6, CONTEST: 0.1}}


def test_the_head_says_which_run_it_is_and_what_it_has_reached(run):
    found = dict(headline(run, steps_of(40), 10))
    assert found["method"] == "cl_egrsd, gamma 0.5"
    assert found["model"] == "Qwen/Qwen3-4B"
    assert found["data"] == "train.parquet"
    assert found["learning rate"] == "5e-06"
    assert found["GPUs"] == "16 (2 nodes of 8)"
    assert found["length of answers"] == "800 tokens, against 800 at the start"
    assert found["time left"] == "about 1 h 0 min, at 1 min a step"
    # 10 steps of 32 problems; 100 problems.
    assert found["accuracy in training"] == "75.0 % [70.0, 79.4], against 50.0 % [44.6, 55.4] at the start"
    assert found["accuracy on rehearsal/sums"] == (
        "60.0 % [50.2, 69.1], against 40.0 % [30.9, 49.8] at the start"
    )
    assert found["accuracy on contest"].startswith("10.0 % [2.8, 30.1], against")
    assert "best checkpoint" not in found


def test_the_best_checkpoint_is_the_best_validated_one_that_is_there(run, tmp_path):
    steps = {n: step(n, **{SUMS: share}) for n, share in ((10, 0.3), (20, 0.6), (30, 0.7), (40, 0.5))}
    for number in (10, 20, 40):
        (tmp_path / "checkpoints" / f"global_step_{number}").mkdir(parents=True)
    found = dict(headline(run, steps, 10))["best checkpoint"]
    assert found == f"{tmp_path}/checkpoints/global_step_20 (60.0 % in validation)"


def test_what_a_run_lacks_is_left_out(run):
    assert [label for label, _ in headline(run, {}, 10)] == [
        "method",
        "model",
        "data",
        "learning rate",
        "GPUs",
    ]
    bare = run | {"settings": {}, "data": {}}
    assert headline(bare, {}, 10) == []
    assert dict(headline(bare, {1: step(1)}, 10))["accuracy in training"] == "50.0 %"


def test_a_validation_of_some_of_the_problems_has_the_interval_of_these(run):
    run["validated"]["rehearsal/sums"] = 10
    assert validation_accuracy(run, SUMS, 0.5) == "50.0 % [23.7, 76.3]"
    assert validation_accuracy(run, "val-core/unknown/acc/mean@1", 0.5) == "50.0 %"
    assert validation_accuracy(run, SUMS, 1.6) == "160.0 %"


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 10_000))
def test_wilsons_interval_holds_the_share_and_shrinks_with_more_trials(share, count):
    found, more = wilson(share, count), wilson(share, 4 * count)
    assert 0 <= found.low <= share + 1e-9
    assert share - 1e-9 <= found.high <= 1
    assert more.high - more.low <= found.high - found.low + 1e-12


def test_wilsons_interval_is_the_textbooks_example():
    assert wilson(0.2, 10) == pytest.approx((0.2, 0.0567, 0.5098), abs=1e-4)


def test_a_step_is_two_lines_that_end_in_the_time_left(run):
    metrics = step(3, 0.612, 812.4, **{SUMS: 0.6, "actor/grad_norm": 0.0412, "egrsd/weight/mean": 0.94})
    assert step_lines(run, {3: metrics}, 3, 10).splitlines() == [
        "verl_egrsd: step 3 of 100: 61.2% right, 812 tokens, 3.1% cut, validation rehearsal/sums 60.0%",
        "  mean weight 0.94, gradient norm 0.0412, 60.0 s, about 1 h 37 min left",
    ]
    before = step_lines(run, {0: {SUMS: 0.4}}, 0, 10)
    assert before == "verl_egrsd: before training: validation rehearsal/sums 40.0%"
    assert "nan" in step_lines(run, {3: step(3, **{"actor/grad_norm": math.nan})}, 3, 10)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (3600, "1 h 0 min"), (7290, "2 h 2 min")]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
