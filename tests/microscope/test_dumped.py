"""Rollouts that a trainer wrote down: what is read is what was written. The writing itself: tests/stack."""

import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd import cli
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.rollouts.dump_format import METADATA_KEY, SCHEMA, is_dump

RUN = synthetic_run([words(40), words(25, seed=1)])
AS_WRITTEN = ("problem", "student_prompt", "teacher_prompt", "ground_truth", "verdict", "reward", "truncated")
PER_TOKEN = {
    "student_log_prob": "student_log_prob",
    "teacher_log_prob": "teacher_log_prob",
    "teacher_entropy": "entropy",
    "advantages": "advantage",
    "ratio": "ratio",
    "gate": "gate",
    "credit": "credit",
}


def write(path, step, **settings):
    """Write the rollouts of RUN as a trainer does."""
    rows = [
        {name: getattr(rollout, name) for name in AS_WRITTEN}
        | {column: getattr(rollout, name).tolist() for column, name in PER_TOKEN.items()}
        | {"step": step, "uid": "u", "answer": "", "score": 1.0, "tokens": list(rollout.tokens)}
        | {"response_ids": [0] * len(rollout.tokens), "response_mask": [1] * len(rollout.tokens)}
        for rollout in RUN.rollouts
    ]
    facts = {"step": step, "model": "m", "low": 0.1, "high": 0.2, "settings": asdict(RUN.settings) | settings}
    schema = SCHEMA.with_metadata({METADATA_KEY: json.dumps(facts)})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def test_what_is_read_is_what_was_written(tmp_path):
    write(tmp_path / "3.parquet", 3)
    found = read_run(tmp_path / "3.parquet")
    assert found.settings == RUN.settings
    assert dict(found.facts) == {"rollouts from": "training, step 3", "model": "m"}
    assert [rollout.name for rollout in found.rollouts] == ["step 3, rollout 0", "step 3, rollout 1"]
    for one, other in zip(found.rollouts, RUN.rollouts, strict=True):
        assert one.tokens == other.tokens
        for name in (*PER_TOKEN.values(), "lookahead", "gate_plain", "gate_lookahead"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


def test_a_folder_is_read_in_the_order_of_the_steps(tmp_path):
    for step in (10, 9, 2):
        write(tmp_path / f"{step}.parquet", step)
    (tmp_path / "2.jsonl").write_text("verl's own\n")
    assert is_dump(tmp_path)
    found = read_run(tmp_path)
    assert [rollout.name for rollout in found.rollouts[::2]] == [f"step {n}, rollout 0" for n in (2, 9, 10)]
    assert dict(found.facts)["rollouts from"] == "training, step 2 to 10"


def test_runs_with_different_settings_do_not_mix(tmp_path):
    write(tmp_path / "1.parquet", 1)
    write(tmp_path / "2.parquet", 2, gamma=0.25)
    with pytest.raises(ValueError, match=r"1.parquet was written under other settings than .*2.parquet"):
        read_run(tmp_path)


def test_a_parquet_file_of_problems_is_no_dump(data_path):
    with pytest.raises(ValueError, match=r"holds no rollouts .*trainer.rollout_data_dir.*--data"):
        read_run(data_path)


def test_a_file_that_is_gone_is_named(tmp_path, capsys):
    assert cli.main(["inspect", str(tmp_path / "9.parquet"), "--out", str(tmp_path / "out")]) == 1
    assert f"{tmp_path}/9.parquet" in capsys.readouterr().err
