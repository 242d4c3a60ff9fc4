"""The parquet of this package as verl's supervised trainer reads it."""

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.sft.dataset import SolutionDataset


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def write(folder, rows, name="train"):
    path = folder / f"{name}.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def settings(**examples):
    chat = {"enable_thinking": True}
    return OmegaConf.create({"max_length": 256, "apply_chat_template_kwargs": chat, "examples": examples})


def test_the_loss_covers_the_response_and_nothing_else(tmp_path, tokenizer):
    rows = generate_rows("train", 3, seed=0)
    data = SolutionDataset(write(tmp_path, rows), tokenizer, settings())
    assert len(data) == 3
    for item, row in zip((data[i] for i in range(3)), rows, strict=True):
        learned = item["input_ids"][item["loss_mask"].bool()]
        assert tokenizer.decode(learned) == row["extra_info"]["solution"] + "<|im_end|>"
        # verl shifts the mask by one token, so that the first token of a row must not be learned.
        assert item["loss_mask"][0] == 0
        assert item["loss_mask"].diff().abs().sum() == 1
        torch.testing.assert_close(item["position_ids"], torch.arange(len(item["input_ids"])))
        assert item["input_ids"].dtype == torch.int64


def test_several_files_are_read_in_order_and_the_first_rows_may_be_taken(tmp_path, tokenizer):
    rows = generate_rows("train", 4, seed=0)
    files = [write(tmp_path, rows[:2], "a"), write(tmp_path, rows[2:], "b")]
    whole, some = (SolutionDataset(files, tokenizer, settings(), max_samples=n) for n in (-1, 3))
    assert (len(whole), len(some)) == (4, 3)
    assert torch.equal(whole[2]["input_ids"], some[2]["input_ids"])


def test_what_is_left_out_is_counted_and_a_file_without_a_row_is_refused(tmp_path, tokenizer):
    rows = generate_rows("train", 2, seed=0)
    rows[1]["extra_info"]["solution"] *= 9
    path = write(tmp_path, rows)
    data = SolutionDataset(path, tokenizer, settings(overlong="drop"))
    assert (len(data), [row.name for row in data.left_out]) == (1, [f"row 1 of {rows[1]['data_source']}"])
    with pytest.raises(ValueError, match=r"train.parquet: none of 1 rows is left to learn"):
        SolutionDataset(write(tmp_path, rows[1:]), tokenizer, settings(overlong="drop"))
