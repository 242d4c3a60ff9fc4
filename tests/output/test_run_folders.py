"""The folders of a run: each is held before the start, and a check of them leaves no trace."""

import re
from contextlib import ExitStack

import pytest
from omegaconf import OmegaConf

from verl_egrsd.main import checked_start
from verl_egrsd.output.lock import LOCK_FILE
from verl_egrsd.output.run_folders import TRAINER_LOCK, WRITTEN, hold_output, output_folders, require_output


def configured(folder, **folders):
    config = OmegaConf.create({"trainer": {"default_local_dir": str(folder), "rollout_data_dir": None}})
    for key, value in folders.items():
        OmegaConf.update(config, key, str(value), force_add=True)
    return config


@pytest.mark.parametrize("key", WRITTEN)
@pytest.mark.parametrize("check", [hold_output, require_output])
def test_a_folder_that_cannot_be_made_is_refused_by_name_with_the_keys(tmp_path, key, check):
    config = configured(tmp_path / "run", **{key: "/proc/nowhere"})
    with pytest.raises(OSError, match=rf"cannot write to /proc/nowhere \(.*{re.escape(key)}"):
        check(config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", WRITTEN)
@pytest.mark.parametrize("name", [LOCK_FILE, TRAINER_LOCK])
def test_a_folder_of_another_run_is_refused_by_a_check_too(tmp_path, key, name):
    shared = configured(tmp_path / "run", **{key: tmp_path / "shared"})
    other = configured(tmp_path / "other", **{key: tmp_path / "shared"})
    require_output(other)
    with (
        hold_output(shared, name),
        pytest.raises(OSError, match=r"shared is in use by process \d+ on .*choose"),
    ):
        require_output(other)
    require_output(other)


def test_a_check_makes_nothing_and_changes_nothing(tmp_path):
    (tmp_path / LOCK_FILE).write_text("process 1 on a machine that is gone")
    config = configured(tmp_path, **{"trainer.rollout_data_dir": tmp_path / "deep" / "rollouts"})
    before = [(path, path.stat().st_mtime_ns) for path in (tmp_path, tmp_path / LOCK_FILE)]
    require_output(config)
    assert [(path, path.stat().st_mtime_ns) for path in (tmp_path, *tmp_path.iterdir())] == before


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_start_and_a_dry_run_refuse_a_folder_that_cannot_be_made(tmp_path, dry_run):
    named = {"trainer.rollout_data_dir": "/proc/nowhere", "trainer.experiment_name": "run"}
    config = configured(tmp_path / "run", **named)
    config.dry_run = dry_run
    with ExitStack() as held, pytest.raises(SystemExit, match="cannot write to /proc/nowhere"):
        checked_start(config, lambda _: None, lambda _: None, held)
    assert list(tmp_path.iterdir()) == []


def test_each_folder_is_held_once_by_the_first_rank_alone(tmp_path, monkeypatch):
    config = configured(tmp_path, **{"report.folder": tmp_path, "trainer.rollout_data_dir": tmp_path / "a"})
    assert output_folders(config) == [tmp_path, tmp_path / "a"]
    monkeypatch.setenv("RANK", "1")
    assert output_folders(config) == []
