"""The pass rates of the training rows are looked at before the start, where the method reads them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from recipes.rehearsal.task import generate_rows
from tests.support.composing import composed
from verl_egrsd.preflight import preflight
from verl_egrsd.preflight.pass_rates import check_pass_rates


@pytest.fixture
def rows():
    rows = generate_rows("train", 12, seed=0)
    for row in rows:
        row["extra_info"]["pass_rate"] = 0.5
    return rows


def read(rows, folder, source="data"):
    """Check two files of which the second one holds the rows."""
    paths = [folder / name for name in ("whole.parquet", "rows.parquet")]
    pq.write_table(pa.Table.from_pylist([{"extra_info": {"pass_rate": 1.0}}]), paths[0])
    pq.write_table(pa.Table.from_pylist(rows), paths[1])
    files = [*map(str, paths), "s3://elsewhere/rows.parquet"]
    algorithm = {"egrsd": {"pass_rate": {"source": source}}}
    check_pass_rates(OmegaConf.create({"algorithm": algorithm, "data": {"train_files": files}}))


def test_pass_rates_from_0_to_1_are_accepted(rows, tmp_path):
    rows[0]["extra_info"]["pass_rate"], rows[1]["extra_info"]["pass_rate"] = 0.0, 1.0
    read(rows, tmp_path)


@pytest.mark.parametrize("value", [None, float("nan"), 1.5, -0.25])
def test_a_pass_rate_that_is_none_is_refused_with_file_row_key_value_and_remedy(rows, tmp_path, value):
    rows[7]["extra_info"] |= {"pass_rate": value, "index": 70}
    place = rf"extra_info\.pass_rate of row 70 of rehearsal/sums in .*/rows\.parquet is .*{value}"
    remedy = (
        r"Write a number from 0 to 1 .*, drop the row, or set algorithm\.egrsd\.pass_rate\.source=rollouts"
    )
    with pytest.raises(ValueError, match=f"{place}.*{remedy}"):
        read(rows, tmp_path)


@pytest.mark.parametrize("text", [False, True])
def test_a_file_without_the_column_is_refused_by_its_first_row(rows, tmp_path, text):
    for row in rows:
        del row["extra_info"]["pass_rate"]
        row["extra_info"] = str(row["extra_info"]) if text else row["extra_info"]
    with pytest.raises(ValueError, match=r"pass_rate of row 0 of .*/rows\.parquet is missing"):
        read(rows, tmp_path)


def test_the_pass_rates_are_not_looked_at_where_the_rollouts_give_them(rows, tmp_path):
    rows[7]["extra_info"]["pass_rate"] = None
    read(rows, tmp_path, source="rollouts")


@pytest.mark.parametrize("preset", ["paced", "paced_divergence"])
def test_with_them_one_rollout_of_a_prompt_is_enough(preset):
    one = ("actor_rollout_ref.rollout.n=1", "data.train_batch_size=32")
    of_data = ("+algorithm.egrsd.pass_rate.source=data",)
    config = composed(f"+preset={preset}", "+model=qwen3_4b", "+hardware=gpu8", *one, *of_data)
    method, _ = preflight(config)
    assert method.reads.isdisjoint({"problems", "correct"})
    with pytest.raises(ValueError, match=rf"{preset} compares the rollouts of a prompt, .*rollout\.n=1"):
        preflight(composed(f"+preset={preset}", "+model=qwen3_4b", "+hardware=gpu8", *one))
