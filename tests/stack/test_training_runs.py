"""Whole runs through Ray, TransferQueue, FSDP and gloo; only the rollout engine is scripted."""

from __future__ import annotations

import json
import math
from hashlib import sha256

import pandas as pd
import pytest

from tests.support.faulty_reward import FAULTS
from tests.support.training_run import TIME_LIMIT, train
from verl_egrsd.microscope.aggregates import aggregate
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.microscope.pages import write_pages

PLANTED = "PlantedSecret42"
"""The value of a variable that a run passes to its workers."""

pytestmark = [pytest.mark.ray, pytest.mark.timeout(2 * TIME_LIMIT + 60)]


@pytest.fixture(scope="module")
def start(model_path, data_path, tmp_path_factory):
    """Train with some overrides in a new folder."""

    def started(*overrides, preset="egrsd"):
        return train(tmp_path_factory.mktemp("run"), model_path, data_path, *overrides, preset=preset)

    return started


@pytest.fixture(scope="module")
def padded(start):
    """Three steps of six rollouts on two mini-batches of four: verl adds two padding rows. They are dumped.

    The teacher reads each rollout with its verdict. The 16 rows give two steps: the third one begins the data
    anew.
    """
    run = start(
        "data.train_batch_size=6",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.policy_loss.loss_mode=egrsd_ppo_clip",
        "trainer.total_training_steps=3",
        "trainer.total_epochs=1",
        "trainer.save_freq=1",
        "trainer.rollout_data_dir=${trainer.default_local_dir}/rollouts",
        "actor_rollout_ref.teacher.template=reflection",
    )
    assert run.returncode == 0, run.log[-3000:]
    assert len(run.steps) == 3
    return run


def test_a_run_reaches_its_steps_where_the_data_gives_fewer(padded):
    assert "16 training rows in batches of 6 give 2 steps per epoch; the 3 steps" in padded.log
    assert (padded.folder / "latest_checkpointed_iteration.txt").read_text() == "3"
    report = json.loads((padded.folder / "report.json").read_text())
    assert (report["steps"], report["ending"]["how"]) == (3, "finished")


def test_padding_rows_count_nowhere(padded):
    tokens = 0
    for number, metrics in enumerate(padded.steps, start=1):
        assert all(math.isfinite(metrics[name]) for name in metrics if name.startswith(("egrsd/", "actor/")))
        assert 6 * metrics["egrsd/correct"] == pytest.approx(round(6 * metrics["egrsd/correct"]), abs=1e-4)
        tokens += round(6 * metrics["egrsd/response_length/mean"])
        state = json.loads((padded.folder / f"global_step_{number}" / "egrsd.json").read_text())
        assert state["advantage"]["count"] == 6 * number
        assert sum(state["trackers"]["entropy_gate"]["counts"]) == tokens


def test_dumped_rollouts_are_those_that_the_metrics_summarise(padded):
    for number, metrics in enumerate(padded.steps, start=1):
        run = read_run(padded.folder / "rollouts" / f"{number}.parquet")
        assert len(run.rollouts) == 6
        found = aggregate(run)
        lengths = [len(rollout.tokens) for rollout in run.rollouts]
        summary = {
            "response_length/mean": sum(lengths) / 6,
            "reward/mean": sum(rollout.reward for rollout in run.rollouts) / 6,
            "correct": sum(rollout.verdict == "correct" for rollout in run.rollouts) / 6,
            "truncated": sum(rollout.truncated for rollout in run.rollouts) / 6,
            **run.metrics,
            "weight/mean": found.weight_mass,
            **{f"regime/{row.name}": row.share for row in found.regimes},
        }
        for name, value in summary.items():
            assert value == pytest.approx(metrics[f"egrsd/{name}"], abs=1e-5), name
        for name in ("entropy_gate", "ratio", "teacher_entropy"):
            values = [value for rollout in run.rollouts for value in rollout[name].tolist()]
            assert sum(values) / len(values) == pytest.approx(metrics[f"egrsd/{name}/mean"], abs=1e-5), name
        for rollout in run.rollouts:
            product = rollout["advantage"] * rollout["ratio"] * rollout["entropy_gate"]
            assert rollout["credit"] == pytest.approx(product, abs=1e-6)


def test_dumped_rollouts_hold_both_prompts_and_the_text_that_verl_dumped(padded):
    run = read_run(padded.folder / "rollouts")
    assert [rollout.name for rollout in run.rollouts[5:7]] == ["step 1, rollout 5", "step 2, rollout 0"]
    assert dict(run.facts)["rollouts from"] == "training, step 1 to 3"
    stock = [
        json.loads(line)
        for number in (1, 2, 3)
        for line in (padded.folder / "rollouts" / f"{number}.jsonl").read_text().splitlines()
    ]
    outputs = {(row["gts"], row["output"]) for row in stock}
    for rollout in run.rollouts:
        text = "".join(rollout.tokens).removesuffix("<|im_end|>")
        assert (rollout.ground_truth, text) in outputs
        assert rollout.problem in rollout.student_prompt
        verdict = "correct" if rollout.verdict == "correct" else "cut off" if rollout.truncated else "wrong"
        spelled = text.strip().replace("<think>", "< think>").replace("</think>", "< /think>")
        assert f"=== begin attempt ===\n{spelled}\n=== end attempt ===\n" in rollout.teacher_prompt
        assert verdict in rollout.teacher_prompt.split("=== end attempt ===\n")[1].partition("\n")[0]
        assert "attempt" not in rollout.student_prompt
    assert write_pages([run], padded.folder / "pages", limit=3).exists()


@pytest.fixture(scope="module")
def refused(start, data_path):
    """A run whose teacher reads what the student reads, and whose rollout fails for one prompt of step 2.

    The reward function fails for some rows of step 1 and of the validation; they are left out.
    """
    second_batch = pd.read_parquet(data_path / "train.parquet")["extra_info"][8:]
    return start(
        "actor_rollout_ref.teacher.template=none",
        "data.train_batch_size=8",
        "data.shuffle=false",
        f"+actor_rollout_ref.rollout.custom={{refuse: '{second_batch.iloc[2]['problem']}'}}",
        "reward.custom_reward_function.path=pkg://tests.support.faulty_reward",
        "scores.refused=drop",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.SERVICE_TOKEN={PLANTED}",
        "trainer.total_training_steps=2",
        "trainer.test_freq=1",
    )


def test_a_teacher_that_reads_the_students_prompt_gives_ratio_one_exactly_at_the_first_step(refused):
    first = refused.steps[0]
    assert first["egrsd/ratio/log_ratio_abs"] == 0  # both sides are scored in the same micro-batches
    assert first["egrsd/ratio/mean"] == 1
    assert first["egrsd/entropy_gate/mean"] < 1


def test_a_missing_rollout_stops_the_run_with_the_count(refused):
    assert refused.returncode != 0
    assert "1 of 8 rollouts are missing" in refused.log
    last = refused.log.splitlines()[-1]
    assert "1 rollouts failed, the first with RuntimeError: the script refuses this prompt (prompt " in last
    assert len(refused.steps) == 1


def test_a_crash_leaves_the_report_of_the_steps_before_it_and_its_reason(refused, data_path):
    report = json.loads((refused.folder / "report.json").read_text())
    (step,) = refused.steps
    assert (report["steps"], report["total_steps"]) == (1, 2)
    assert report["ending"]["how"] == "failed"
    assert "1 of 8 rollouts are missing" in report["ending"]["why"]
    assert [name for name in report["curves"] if name.startswith("val-core/")]
    for name in ("egrsd/repetition/mean", "egrsd/hesitation_rate", "actor/grad_norm"):
        assert report["curves"][name] == [[1, pytest.approx(step[name])]], name
    assert not report["not_measured"]
    (training,) = report["data"]["training"]
    assert training["sha256"] == sha256((data_path / "train.parquet").read_bytes()).hexdigest()
    assert training["sha256"] in (refused.folder / "report.html").read_text()
    assert report["settings"]["data"]["train_batch_size"] == 8


def test_rollouts_without_a_usable_score_are_left_out_and_counted(refused):
    first = refused.steps[0]
    assert first["egrsd/refused_scores"] == len(FAULTS["train"])
    left = 8 - len(FAULTS["train"])
    assert left * first["egrsd/correct"] == pytest.approx(round(left * first["egrsd/correct"]), abs=1e-4)
    assert math.isfinite(first["actor/pg_loss"])
    assert first["val-aux/egrsd/refused_scores"] == len(FAULTS["validation"])


def test_secrets_are_missing_in_what_a_run_leaves(refused):
    assert "'SERVICE_TOKEN': '<redacted>'" in refused.log
    files = [path for path in refused.folder.rglob("*") if path.is_file()]
    assert refused.folder / "report.html" in files
    assert [path for path in files if PLANTED.encode() in path.read_bytes()] == []


def test_all_processes_of_a_run_listen_on_loopback_only(padded):
    found = json.loads((padded.folder / "listeners.json").read_text())
    assert {"ray::SimpleStorageUnit", "ray::TransferQueueController"} <= {name for _, name in found}
    assert {address for address, _ in found} == {"127.0.0.1"}, found
