"""Rollouts that a trainer wrote down: what is read is what was written. The writing itself: tests/stack."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd import cli
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.rollouts.dump_format import FIXED, FLOATS, METADATA_KEY, is_dump, metadata, schema

RUN = synthetic_run([words(40), words(25, seed=1)])
AS_WRITTEN = ("problem", "student_prompt", "teacher_prompt", "ground_truth", "verdict", "reward", "truncated")
DERIVED = {"log_ratio"}


def rows(step, names):
    """The rollouts of RUN as rows of a file, with arrays under these names."""
    return [
        {name: getattr(rollout, name) for name in AS_WRITTEN}
        | {column: rollout[name].tolist() for column, name in names.items()}
        | {"step": step, "uid": "u", "answer": "", "score": 1.0, "tokens": list(rollout.tokens)}
        | {"response_ids": [0] * len(rollout.tokens)}
        for rollout in RUN.rollouts
    ]


def write(path, step, **settings):
    """Write the rollouts of RUN as a trainer does."""
    arrays = {name: name for name in RUN.arrays - DERIVED}
    facts = {"step": step, "model": "m", "method": RUN.method.name, "settings": RUN.method.keys() | settings}
    whole = schema(arrays).with_metadata(metadata(facts))
    pq.write_table(pa.Table.from_pylist(rows(step, arrays), schema=whole), path)


def write_format_1(path, step):
    """Write them as version 0.1 did."""
    same = ("student_log_prob", "teacher_log_prob", "teacher_entropy", "ratio", "credit")
    names = {name: name for name in same} | {"advantages": "advantage", "gate": "entropy_gate"}
    old = ("gamma", "window", "clip", "floor", "denominator", "min_denominator", "denominator_group")
    old += ("warmup_steps", "warmup_baseline", "correct_above", "length_beta", "max_response_length")
    old += ("gate_control", "seed", "lock_quantile", "fork_quantile")
    keys = {"warmup_steps": 10, "warmup_baseline": 0.5} | RUN.method.keys()
    facts = {"step": step, "model": "m", "low": 0.1, "high": 0.2, "settings": {key: keys[key] for key in old}}
    fields = FIXED | {"response_mask": pa.list_(pa.int8())} | dict.fromkeys(names, FLOATS)
    content = [row | {"response_mask": [1] * len(row["tokens"])} for row in rows(step, names)]
    whole = pa.schema(fields).with_metadata({METADATA_KEY: json.dumps(facts)})
    pq.write_table(pa.Table.from_pylist(content, schema=whole), path)


def test_what_is_read_is_what_was_written(tmp_path):
    write(tmp_path / "3.parquet", 3)
    found = read_run(tmp_path / "3.parquet")
    assert found.method == RUN.method
    assert dict(found.facts) == {"rollouts from": "training, step 3", "model": "m"}
    assert [rollout.name for rollout in found.rollouts] == ["step 3, rollout 0", "step 3, rollout 1"]
    assert found.arrays == RUN.arrays
    for one, other in zip(found.rollouts, RUN.rollouts, strict=True):
        assert one.tokens == other.tokens
        for name in RUN.arrays:
            assert one[name].tolist() == other[name].tolist(), name
    assert found.metrics == pytest.approx(RUN.metrics)


def test_a_file_of_version_0_1_shows_the_same(tmp_path):
    write_format_1(tmp_path / "3.parquet", 3)
    found = read_run(tmp_path / "3.parquet")
    assert found.method.factors == RUN.method.factors
    assert found.arrays == RUN.arrays
    for one, other in zip(found.rollouts, RUN.rollouts, strict=True):
        for name in RUN.arrays - {"regime"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, err_msg=name)
    assert found.metrics == pytest.approx(RUN.metrics)


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
