"""Samples are rows that supervised training and the training of a method accept."""

import json
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.evaluation.builders import make_sample, write_evaluation
from verl_egrsd import cli
from verl_egrsd.evaluation.problems import problem_id
from verl_egrsd.sampling.rows import write_sampled
from verl_egrsd.sampling.settings import Filters
from verl_egrsd.sft.dataset import SolutionDataset
from verl_egrsd.trainer.dataset import PrivilegedDataset

CHAT = {"enable_thinking": True}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def drawn(tmp_path):
    """Two problems with three samples each: one is solved twice, the other never."""
    rows = generate_rows("train", 2, seed=0)
    for row in rows:
        row["extra_info"]["lengths"] = {"student": 9}
    data = tmp_path / "sums.parquet"
    pd.DataFrame(rows).to_parquet(data)
    first, second = (problem_id(row["prompt"]) for row in rows)
    answer = rows[0]["reward_model"]["ground_truth"]
    samples = [
        make_sample(first, 0, 9, True, text=f"4+5\n\\boxed{{{answer}}}"),
        make_sample(first, 1, 7, True, text=f"\\boxed{{{answer}}}"),
        make_sample(first, 2, 20, False, text="4+5\n\\boxed{0}"),
        make_sample(second, 0, 11, False, text="4+5\n\\boxed{0}"),
        make_sample(second, 1, 16, False, text="4+5=9, 9+", finish_reason="length"),
        make_sample(second, 2, 2, False, text="  "),
    ]
    return SimpleNamespace(rows=rows, data=data, folder=write_evaluation(tmp_path / "out", samples))


def rows_of(path):
    return pq.read_table(path).to_pylist()


def test_a_sample_takes_the_place_of_the_solution_and_brings_its_verdict(drawn):
    counts = write_sampled(drawn.folder, drawn.data, Filters())
    found = [row for row in rows_of(drawn.folder / "samples.parquet")]
    assert len(found) == counts["samples"]["kept"] == 5
    by_text = {row["extra_info"]["solution"]: row for row in found}
    cut = by_text["4+5=9, 9+"]
    source = drawn.rows[1]
    assert cut["prompt"] == source["prompt"]
    assert cut["reward_model"] == source["reward_model"]
    extra = cut["extra_info"]
    assert extra["reference_solution"] == source["extra_info"]["solution"]
    facts = {
        "sample": 1,
        "correct": False,
        "truncated": True,
        "tokens": 16,
        "thinking": True,
        "pass_rate": 0.0,
    }
    assert facts.items() <= extra.items()
    # That of the solution is not that of the sample.
    assert "lengths" not in extra
    assert {row["extra_info"]["pass_rate"] for row in found} == {0.0, 2 / 3}


def test_a_problem_keeps_its_solution_and_gets_its_pass_rate_and_shortest_correct_sample(drawn):
    write_sampled(drawn.folder, drawn.data, Filters())
    first, second = (row["extra_info"] for row in rows_of(drawn.folder / "problems.parquet"))
    answer = drawn.rows[0]["reward_model"]["ground_truth"]
    assert (first["pass_rate"], first["samples"]) == (pytest.approx(2 / 3), 3)
    assert first["sibling"] == f"\\boxed{{{answer}}}"
    assert (second["pass_rate"], second["sibling"]) == (0.0, None)
    assert second["solution"] == drawn.rows[1]["extra_info"]["solution"]


def test_problems_that_are_always_or_never_solved_may_be_left_out(drawn):
    counts = write_sampled(drawn.folder, drawn.data, Filters(pass_rate=(0.01, 0.99)))
    assert counts["problems"] == {"drawn": 2, "kept": 1}
    (row,) = rows_of(drawn.folder / "problems.parquet")
    assert row["prompt"] == drawn.rows[0]["prompt"]
    said = json.loads((drawn.folder / "sampling.json").read_text())
    assert said["samples"] == {"drawn": 6, "dropped": counts["samples"]["dropped"], "kept": 3}
    assert said["samples"]["dropped"] == {"pass_rate": 3, "empty": 0, "shortest": 0}


def test_filters_that_leave_nothing_are_refused_with_their_counts(drawn):
    with pytest.raises(
        ValueError, match=r"none of 6 samples is left \(dropped: pass_rate 3, empty 1, wrong 2\)"
    ):
        write_sampled(drawn.folder, drawn.data, Filters(pass_rate=(0, 0.5), correct_only=True))


@pytest.mark.parametrize("name", ["samples", "problems"])
def test_both_files_are_accepted_by_supervised_training_and_by_the_data_of_a_method(
    drawn, tokenizer, tmp_path, name
):
    write_sampled(drawn.folder, drawn.data, Filters())
    path = str(drawn.folder / f"{name}.parquet")
    data = {"max_length": 512, "apply_chat_template_kwargs": CHAT}
    learned = SolutionDataset(path, tokenizer, OmegaConf.create(data))
    data = {
        "train_files": path,
        "cache_dir": str(tmp_path / "cache"),
        "max_prompt_length": 128,
        "filter_overlong_prompts": False,
        "apply_chat_template_kwargs": CHAT,
        "egrsd_teacher": {"template": "reference_solution", "max_prompt_length": 320},
    }
    trained = PrivilegedDataset([path], tokenizer, OmegaConf.create(data))
    assert len(learned) == len(trained) == len(rows_of(path))
    ends = [int(learned[i]["input_ids"][-1]) == tokenizer.eos_token_id for i in range(len(learned))]
    # A sample that was cut does not teach an end.
    assert ends.count(False) == (1 if name == "samples" else 0)


def test_the_command_draws_filters_and_says_what_is_left(drawn, tmp_path, monkeypatch, capsys):
    calls = []

    def complete(model, benchmarks, out, **options):
        calls.append(
            (model, {name: len(found) for name, found in benchmarks.items()}, out, options["settings"])
        )

    monkeypatch.setattr("verl_egrsd.evaluation.run.complete_samples", complete)
    arguments = ["sample", "model", "--data", str(drawn.data), "--out", str(drawn.folder), "--drop-stubs"]
    assert cli.main(arguments) == 0
    ((model, benchmarks, out, settings),) = calls
    assert (model, benchmarks, out) == ("model", {"sums": 2}, drawn.folder)
    assert (settings.samples, settings.temperature, settings.thinking) == (8, 1.1, False)
    shown = capsys.readouterr().out
    assert f"{drawn.folder}/samples.parquet: 3 of 6 samples (dropped: empty 1, stubs 2)" in shown
    assert f"{drawn.folder}/problems.parquet: 2 of 2 problems, pass rate 0.333" in shown
