"""A run that reached its end names its report, its checkpoint and the next command."""

import pytest
from omegaconf import OmegaConf

from tests.support.saved_run import write_step
from verl_egrsd.watch import driver
from verl_egrsd.watch.closing import closing_lines


@pytest.fixture
def config(tmp_path):
    trainer = {"default_local_dir": str(tmp_path), "experiment_name": "a_run"}
    return OmegaConf.create({"actor_rollout_ref": {}, "trainer": trainer})


def test_the_closing_lines_name_report_checkpoint_and_next_command(config, tmp_path):
    assert closing_lines(config) == f"verl_egrsd: done. The report is {tmp_path}/report.html"
    write_step(tmp_path, 5)
    checkpoint = tmp_path / "global_step_5"
    (tmp_path / "global_step_6").mkdir()  # not whole
    assert closing_lines(config).splitlines()[1:] == [
        f"  checkpoint: {checkpoint}",
        f"  next: verl-egrsd eval {checkpoint} --benchmarks data/benchmarks --out evaluations/a_run",
    ]


def test_they_are_the_last_words_of_a_run_that_reached_its_end(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(driver, "run_ppo", lambda *_, **__: print("verl's own words"))
    monkeypatch.setenv(driver.ENDS_WITH, "")
    driver.run_watched(config)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"The report is {tmp_path}/report.html")
