"""The command line: presets, what is given in their place, and refusals in one line."""

import argparse
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest

from tests.test_docs import ROOT
from verl_egrsd import cli
from verl_egrsd.evaluation.command import begin, eval_settings
from verl_egrsd.evaluation.settings import PRESETS, Settings

from .builders import make_samples, write_evaluation

NAMES = ("aime24", "math500")
HERE = os.environ | {"PYTHONPATH": str(ROOT)}


def settings(*given, benchmarks=NAMES):
    parser = argparse.ArgumentParser()
    cli.COMMANDS["eval"].arguments(parser)
    parsed = parser.parse_args(["model", "--benchmarks", "x", "--out", "y", *given])
    return eval_settings(parsed, benchmarks)


def test_nothing_given_is_the_papers_protocol():
    assert settings() == PRESETS["paper"]
    assert settings(benchmarks=["math500"]) == Settings()


def test_what_is_given_takes_the_place_of_the_presets_value():
    found = settings("--seed", "3", "--no-thinking", "--temperature", "0.6", "--top-p", "1", "--top-k", "20")
    assert found == Settings(
        samples_of={"aime24": 20}, seed=3, thinking=False, temperature=0.6, top_p=1.0, top_k=20
    )


def test_a_template_is_a_name_or_a_file_whose_text_is_kept(tmp_path):
    assert settings("--template", "answer_only") == replace(PRESETS["paper"], template="answer_only")
    (tmp_path / "hint.txt").write_text("<<task>> Hint: <<extra_info.hint>>\n")
    found = settings("--template", str(tmp_path / "hint.txt"))
    assert (found.template, found.template_text) == ("hint.txt", "<<task>> Hint: <<extra_info.hint>>")
    assert found.teacher_template.marks == ("extra_info.hint",)


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        (["16"], (16, 16)),
        (["aime24=8"], (8, 4)),
        (["2", "math500=1"], (2, 1)),
    ],
)
def test_samples_are_given_for_all_benchmarks_or_for_one(given, counts):
    found = settings("--samples", *given)
    assert tuple(map(found.samples_for, NAMES)) == counts


def test_samples_of_a_benchmark_that_is_not_there_are_not_ignored():
    assert settings("--samples", "aim24=8").samples_of == {"aime24": 20, "aim24": 8}


@pytest.mark.parametrize("wrong", ["four", "=4", "aime24=", "aime24=many"])
def test_samples_that_are_no_number_are_a_wrong_call(wrong):
    with pytest.raises(SystemExit) as stopped:
        settings("--samples", wrong)
    assert stopped.value.code == 2


def test_compare_prints_tables_and_sentences_and_writes_json(tmp_path, capsys):
    folders = []
    for name, tokens in (("a", 50), ("b", 100), ("c", 200)):
        samples = make_samples([[(tokens, True)], [(2 * tokens, False)]])
        folders.append(str(write_evaluation(tmp_path / name, samples, name=name, samples=1)))
    assert cli.main(["compare", *folders, "--json", str(tmp_path / "found.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Neither dominates") + shown.count("a dominates") == 2
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(one["a"], one["b"]) for one in found] == [("a", "b"), ("a", "c")]


def test_a_refusal_is_one_line(tmp_path, capsys):
    assert cli.main(["compare", str(tmp_path)]) == 1
    assert cli.main(["eval", "m", "--benchmarks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[1] == f"verl_egrsd: m answers {tmp_path}"
    assert lines[2].startswith(f"verl-egrsd eval: {tmp_path} is neither a parquet file")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["eval", "no/such/model", "--benchmarks", "."], "no/such/model is neither a folder nor a hub id"),
        (["eval", "x/global_step_7", "--benchmarks", "."], "x/global_step_7 is missing: name a folder"),
        (["eval", ".", "--benchmarks", ".", "--template", "no.txt"], "no.txt: there is no such file"),
        (["eval", ".", "--benchmarks", ".", "--top-p", "2"], "top_p=2.0 is not allowed"),
        (["eval", ".", "--benchmarks", "no.parquet"], "no.parquet is missing: name a parquet file"),
        (["sample", ".", "--data", "no.parquet"], "no.parquet is missing: name a parquet file"),
        (["export", "x/global_step_7"], "x/global_step_7 is missing: name a folder global_step_N of a run."),
        (["inspect", "no/such/dump"], "no/such/dump is neither a folder nor a hub id"),
        (["inspect", ".", "--data", "no.parquet"], "no.parquet is missing: name a parquet file"),
    ],
)
def test_a_missing_path_is_refused_before_heavy_imports(tmp_path, call, said):
    code = (
        "import sys\nfrom verl_egrsd import cli\n"
        f"assert cli.main([*{call!r}, '--out', 'new']) == 1\n"
        "print({'torch', 'transformers', 'ray', 'vllm', 'pyarrow'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=HERE)
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stdout == "set()\n"
    assert not [*tmp_path.iterdir()]


def test_an_evaluation_says_that_it_has_begun_before_it_imports_what_takes_seconds(tmp_path):
    code = (
        "import sys\nfrom verl_egrsd import cli\nfrom verl_egrsd.evaluation import command\n"
        "heavy = {'torch', 'transformers', 'ray', 'vllm'}\n"
        "command._evaluated = lambda _: sys.exit(heavy & {*sys.modules} or 0)\n"
        "cli.main(['eval', '.', '--benchmarks', '.', '--out', 'new'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=HERE)
    assert (ran.stderr, ran.returncode) == ("verl_egrsd: . answers .\n", 0)


@pytest.mark.parametrize(
    ("words", "finished", "refused"),
    [
        ((), None, True),
        (("--replicas", "2"), None, True),
        (("--replicas", "1"), None, False),
        ((), "summary.json", False),
    ],
)
def test_a_cluster_is_asked_for_an_answer_where_replicas_are_needed(
    tmp_path, monkeypatch, words, finished, refused
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:0")
    if finished:
        (tmp_path / finished).touch()
    parser = argparse.ArgumentParser()
    cli.COMMANDS["eval"].arguments(parser)
    call = [".", "--benchmarks", ".", "--out", str(tmp_path), *words]
    with pytest.raises(ValueError, match="RAY_ADDRESS=127") if refused else nullcontext():
        begin(parser.parse_args(call), ["."], finished="summary.json")


@pytest.mark.parametrize(("text", "number"), [("auto", None), ("2", 2), ("all", "wrong"), ("-1", "wrong")])
def test_replicas_are_a_number_or_auto(text, number):
    parser = argparse.ArgumentParser()
    cli.COMMANDS["eval"].arguments(parser)
    call = ["model", "--benchmarks", "x", "--out", "y", f"--replicas={text}"]
    if number == "wrong":
        with pytest.raises(SystemExit):
            parser.parse_args(call)
    else:
        assert parser.parse_args(call).replicas == number
