"""Raw GSM8K and MATH-500 rows through data_prep into a rehearsal: is it the same row everywhere?

The rehearsal is the one with Qwen3's vocabulary and full fine-tuning. Its model is random, so its answers
earn nothing; the verdicts on the reference solutions are asked for with the ground truth that the reward was
given.
"""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from data_prep import openthoughts
from tests.support import warm_python
from tests.support.published import FOLDER
from tests.support.recipes import rehearse
from verl_egrsd.reward import compute_score
from verl_egrsd.rows import ANSWER_INSTRUCTION

SOURCES = ("gsm8k_train", "math500")
ROWS = 30

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1300)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two steps of EGRSD through Ray and vLLM on both prepared files: rows, teacher turns and rollouts."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in SOURCES:
        arguments = ["--source", str(FOLDER / f"{name}.jsonl"), "--out", str(folder / name)]
        more = ["--limit", str(ROWS), "--validation-share", "0.2", "--workers", "1"]
        assert openthoughts.main([*arguments, *more]) == 0
    files = [str(folder / name / "train.parquet") for name in SOURCES]
    rehearsal = rehearse(
        warm_python.ray_workers(),
        "actor_rollout_ref.model.lora_rank=0",
        # Each token costs a CPU a product with the whole vocabulary, and a random model says nothing anyway.
        "data.max_response_length=24",
        "actor_rollout_ref.teacher.template=recorded",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
        VOCABULARY="qwen3",
        DATA=" ".join(files),
        **warm_python.environment(),
        VERL_USE_EXTERNAL_MODULES="tests.support.recorded_template",
        RECORDED_TURNS=str(folder / "turns.jsonl"),
    )
    return SimpleNamespace(
        rows=[row for file in files for row in pd.read_parquet(file)["extra_info"]],
        turns=[json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()],
        rollouts=[
            json.loads(line)
            for step in (1, 2)
            for line in (folder / f"rollouts/{step}.jsonl").read_text().splitlines()
        ],
        rehearsal=rehearsal,
    )


def asked(row: dict) -> str:
    """The user's turn of a prepared row."""
    return f"{row['problem']}\n\n{ANSWER_INSTRUCTION}"


def test_every_rollout_has_its_rows_problem_its_solution_in_the_teachers_turn_and_its_answer_in_the_reward(
    run,
):
    assert len(run.rollouts) == 8
    for rollout in run.rollouts:
        (row,) = [row for row in run.rows if f"user\n{asked(row)}\n" in rollout["input"]]
        turns = [turn for turn in run.turns if turn.startswith(f"{asked(row)}\n\n")]
        assert turns
        assert all(f"\n{row['solution']}\n" in turn for turn in turns)
        assert rollout["gts"] == row["answer"]


def test_the_reward_has_real_verdicts_and_calls_each_reference_solution_correct(run):
    for step in run.rehearsal.steps.values():
        assert step["egrsd/verdict/no_answer"] == 1
        assert step["egrsd/verdict/none_correct"] == 1
    for rollout in run.rollouts:
        (row,) = [row for row in run.rows if f"user\n{row['problem']}\n\n" in rollout["input"]]
        gold = f"{row['solution']}\n#### {row['answer']}"
        scores = compute_score("openthoughts_math", gold, rollout["gts"])
        assert (scores["score"], scores["correct"]) == (1, 1)


def test_full_fine_tuning_with_a_reference_worker_and_the_real_vocabulary_runs_two_steps(run):
    assert sorted(run.rehearsal.steps) == [1, 2]
    for step in run.rehearsal.steps.values():
        assert 0 < step["egrsd/teacher_entropy/mean"] <= 11.94
        assert step["egrsd/teacher_prompt/longest"] > step["prompt_length/max"]
        assert step["egrsd/sync/probs_diff_max"] < 1e-3
        assert "training/rollout_probs_diff_mean" not in step  # at another temperature
    log = (run.rehearsal.folder / "train.log").read_text()
    assert "generation headers differ: student '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n'" in log
