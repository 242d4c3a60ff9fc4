"""The final page: every number that was measured, the paper's beside it, and no file from elsewhere."""

import re
from dataclasses import replace

import pytest

from recipes.reproduce.page import write_final_page
from recipes.reproduce.results import comparisons, read_results
from tests.support.browser import windows
from verl_egrsd.evaluation.compare import compare

from .builders import make_plan_in, write_results


@pytest.fixture
def plan(tmp_path):
    plan = make_plan_in(tmp_path, seeds=(0, 1))
    write_results(plan)
    return plan


def page(plan):
    write_final_page(plan)
    return (plan.out / "index.html").read_text()


def cells(text, title):
    """The cells of the rows of a table that begin with a title."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    found = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [row[1:] for row in found if row and row[0] == title]


def test_the_papers_row_stands_below_ours_for_each_benchmark(plan):
    text = page(plan)
    (base,) = cells(text, "no training, measured")
    assert base[0].startswith("40.0 [")
    (published,) = cells(text, "EGRSD, published")
    assert published == [
        "77.9",
        "68.8",
        "42.9",
        "-",
        "-",
    ]
    assert cells(text, "CRISP, published")  # not measured here
    assert "have no published value" in text
    assert "arXiv 2605.13255v1" in text


def test_seeds_are_pooled_and_listed_and_differences_are_paired(plan):
    results = {result.name: result for result in read_results(plan)}
    assert list(results) == ["base", "grpo", "egrsd"]
    assert results["egrsd"].seeds == pytest.approx({0: 0.6, 1: 0.8})
    found = {(each["a"], each["b"]): each for each in comparisons([*results.values()])}
    assert list(found) == [("GRPO", "no training"), ("EGRSD", "no training"), ("EGRSD", "GRPO")]
    difference = found["EGRSD", "no training"]["average"]["accuracy"]["difference"]
    assert difference["value"] == pytest.approx(0.3)
    text = page(plan)
    assert "EGRSD (seed 0: 60.0, seed 1: 80.0)" in text
    assert cells(text, "EGRSD - no training")[0][0].startswith("+30.0 [")
    assert "EGRSD dominates no training at 90 problems" in text


def test_a_checkpoint_that_was_evaluated_has_its_own_row_and_difference(tmp_path):
    plan = make_plan_in(tmp_path, checkpoints=(2,))
    write_results(plan)
    results = read_results(plan)
    assert [result.name for result in results] == ["base", "grpo-step2", "grpo", "egrsd-step2", "egrsd"]
    found = [(each["a"], each["b"]) for each in comparisons(results)]
    assert ("EGRSD after 2 steps", "no training") in found
    assert [pair for pair in found if pair[1] != "no training"] == [("EGRSD", "GRPO")]
    text = page(plan)
    (early,), (last,) = cells(text, "EGRSD after 2 steps, measured"), cells(text, "EGRSD, measured")
    assert early[0].startswith("70.0 [")
    assert last[0].startswith("80.0 [")


def test_one_seed_gives_the_differences_of_compare(tmp_path):
    plan = make_plan_in(tmp_path, arms=("egrsd",))
    write_results(plan)
    (ours,) = comparisons(read_results(plan))
    theirs = compare(plan.evaluation("egrsd-seed0"), plan.evaluation("base"))
    assert ours["benchmarks"] == theirs["benchmarks"]
    assert ours["average"] == theirs["average"]


def test_the_page_links_what_is_there_and_loads_nothing(plan):
    (run, *_) = plan.runs
    run.folder.mkdir(parents=True)
    (run.folder / "report.html").touch()
    (plan.out / "spent.jsonl").write_text(
        '{"name": "train-egrsd-seed0", "event": "begin", "at": 0, "gpus": 8}\n'
        '{"name": "train-egrsd-seed0", "event": "end", "at": 4500}\n'
    )
    text = page(plan)
    links = re.findall(r'href="([^"#]+)"', text)
    assert f"runs/{run.name}/report.html" in links
    assert all((plan.out / link).exists() for link in links)
    assert not re.search(r"<script|<link|@import|url\((?!#)|src=", text)
    assert cells(text, "train-egrsd-seed0") == [["1:15:00", "1"]]
    assert "10.0 GPU hours" in text


def test_a_rehearsal_says_that_it_says_nothing_about_the_methods(tmp_path):
    plan = make_plan_in(tmp_path, hardware="cpu", arms=("egrsd",))
    write_results(plan, ("sums_first", "sums_second"))
    text = " ".join(page(plan).split())
    assert "says nothing about the methods" in text
    assert "there is no published value beside them" in text
    assert "EGRSD, published" not in text


def test_what_is_not_evaluated_yet_is_not_on_the_page_and_nothing_at_all_is_an_error(plan):
    more = replace(plan, arms=("grpo", "sft", "egrsd"))
    assert [result.name for result in read_results(more)] == ["base", "grpo", "egrsd"]
    with pytest.raises(ValueError, match="holds no evaluation yet: run the stage evaluate first"):
        write_final_page(replace(plan, out=plan.out / "other"))


def test_the_page_fits_narrow_and_wide_windows_in_light_and_dark(browser, plan):
    page(plan)
    screen = browser.new_page()
    screen.goto((plan.out / "index.html").as_uri())
    assert len([*windows(screen)]) == 4
    screen.close()
