"""Raw GSM8K and MATH-500 rows through data_prep into one training step: is it the same row everywhere?

The model is random, so its answers earn nothing; the verdicts on the reference solutions are asked for with
the ground truth that the reward was given.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from data_prep import openthoughts
from recipes.rehearsal import build
from tests.support.published import FOLDER
from verl_egrsd.reward import compute_score
from verl_egrsd.rows import ANSWER_INSTRUCTION

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("gsm8k_train", "math500")
ROWS = 30

pytestmark = [pytest.mark.stack, pytest.mark.timeout(700)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One step of EGRSD through Ray and vLLM on both prepared files: rows, teacher turns and rollouts."""
    folder = tmp_path_factory.mktemp("prepared")
    model = folder / "qwen3"
    assert build.main(["--vocabulary", "qwen3", "--out", str(model), "--train-rows", "4"]) == 0
    for name in SOURCES:
        arguments = ["--source", str(FOLDER / f"{name}.jsonl"), "--out", str(folder / name)]
        more = ["--limit", str(ROWS), "--tokenizer", str(model / "model"), "--validation-share", "0.2"]
        assert openthoughts.main([*arguments, *more]) == 0
    files = {
        split: [str(folder / name / f"{split}.parquet") for name in SOURCES]
        for split in ("train", "validation")
    }
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "VERL_USE_EXTERNAL_MODULES": "tests.support.recorded_template",
        "RECORDED_TURNS": str(folder / "turns.jsonl"),
        "VERL_PLATFORM": "cpu",
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
        "RAY_memory_monitor_refresh_ms": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        *(sys.executable, "-m", "verl_egrsd.main", "+preset=egrsd", "+model=tiny_qwen3", "+hardware=cpu"),
        f"actor_rollout_ref.model.path={model / 'model'}",
        "actor_rollout_ref.teacher.template=recorded",
        f"data.train_files={files['train']}",
        f"data.val_files={files['validation']}",
        "data.train_batch_size=4",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
        "trainer.logger=[console,file]",
        "trainer.total_training_steps=1",
        "trainer.val_before_train=false",
        "trainer.save_freq=-1",
        "trainer.test_freq=-1",
    ]
    with open(folder / "train.log", "w") as log:
        done = subprocess.run(
            ["timeout", "--kill-after=20", "500", *command],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, (folder / "train.log").read_text()[-6000:]
    (metrics,) = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return SimpleNamespace(
        rows=[row for file in files["train"] for row in pd.read_parquet(file)["extra_info"]],
        turns=[json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()],
        rollouts=[json.loads(line) for line in (folder / "rollouts/1.jsonl").read_text().splitlines()],
        metrics=metrics["data"],
    )


def asked(row: dict) -> str:
    """The user's turn of a prepared row."""
    return f"{row['problem']}\n\n{ANSWER_INSTRUCTION}"


def test_every_rollout_has_its_rows_problem_its_solution_in_the_teachers_turn_and_its_answer_in_the_reward(
    run,
):
    assert len(run.rollouts) == 4
    for rollout in run.rollouts:
        (row,) = [row for row in run.rows if f"user\n{asked(row)}\n" in rollout["input"]]
        turns = [turn for turn in run.turns if turn.startswith(f"{asked(row)}\n\n")]
        assert turns
        assert all(f"\n{row['solution']}\n" in turn for turn in turns)
        assert rollout["gts"] == row["answer"]


def test_the_reward_has_real_verdicts_and_calls_each_reference_solution_correct(run):
    assert run.metrics["egrsd/verdict/no_answer"] == 1
    assert run.metrics["egrsd/verdict/none_correct"] == 1
    for rollout in run.rollouts:
        (row,) = [row for row in run.rows if f"user\n{row['problem']}\n\n" in rollout["input"]]
        gold = f"{row['solution']}\n#### {row['answer']}"
        scores = compute_score("openthoughts_math", gold, rollout["gts"])
        assert (scores["score"], scores["correct"]) == (1, 1)
