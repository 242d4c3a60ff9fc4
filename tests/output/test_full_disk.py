"""A full disk: the file or folder is named, with the remedy."""

import os
import re

import pytest

from verl_egrsd.output.files import completed, completed_folder
from verl_egrsd.output.full_disk import named_if_full
from verl_egrsd.output.lock import LOCK_FILE, only_writer
from verl_egrsd.report.history import History

REMEDY = r"\([\d,.]+ MiB free\): free some, and run the same command again\."


def refused(path):
    return pytest.raises(OSError, match=rf"^no space left for {re.escape(str(path))} {REMEDY}$")


def test_a_file_that_does_not_fit_is_named_and_the_one_before_stays(tmp_path):
    """/dev/full takes no byte."""
    path = tmp_path / "card.json"
    path.write_text("before")
    with refused(path), completed(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("{}")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_fit_is_named_also_where_a_library_has_an_error_of_its_own(tmp_path):
    with refused(tmp_path / "out"), completed_folder(tmp_path / "out"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert not list(tmp_path.iterdir())


def test_a_lock_that_does_not_fit_is_named_and_removed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with refused(tmp_path / LOCK_FILE), only_writer(tmp_path, "choose another folder"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_steps_of_a_report_are_named(tmp_path):
    history = History(tmp_path / "report.jsonl", 0)
    history.path.unlink()
    history.path.symlink_to("/dev/full")
    with refused(history.path):
        history.record(1, {"loss": 1.0})


def test_the_innermost_name_stays_and_other_errors_are_left_alone(tmp_path):
    with refused(tmp_path / "file"), named_if_full(tmp_path), named_if_full(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    with pytest.raises(OSError, match=r"^\[Errno 5\] Input/output error$"), named_if_full(tmp_path):
        raise OSError(5, "Input/output error")
