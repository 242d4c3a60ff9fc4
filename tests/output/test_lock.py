"""One writer per folder, until its process ends."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from verl_egrsd.output.lock import LOCK_FILE, only_writer

HOLDER = """
import sys
from pathlib import Path
from verl_egrsd.output.lock import only_writer
with only_writer(Path(sys.argv[1]), "choose another"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder):
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_with_the_first_ones_process(tmp_path):
    with holder(tmp_path) as first:
        with (
            pytest.raises(OSError, match=rf"is in use by process {first.pid} on .*choose another"),
            only_writer(tmp_path, "choose another"),
        ):
            pass
        with only_writer(tmp_path, "choose another", ".other.lock"):
            pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_writer_that_is_killed_lets_the_next_one_in(tmp_path, number):
    with holder(tmp_path) as first:
        first.send_signal(number)
        first.wait()
        assert (tmp_path / LOCK_FILE).exists()
        with only_writer(tmp_path, "choose another"):
            pass


def test_no_file_is_left_and_no_folder_that_stayed_empty(tmp_path):
    folder = tmp_path / "new"
    with only_writer(folder, "choose another"):
        assert folder.is_dir()
    assert not folder.exists()
    with only_writer(folder, "choose another"):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_lock_on_a_file_that_its_holder_removes_is_no_lock(tmp_path, monkeypatch):
    """The file is removed between the opening and the locking, as a holder that ends does."""
    from verl_egrsd.output import lock as module

    locked, taken = module.lock, []

    def late(file, refusal):
        if not taken:
            (tmp_path / LOCK_FILE).unlink()
        taken.append(file)
        locked(file, refusal)

    monkeypatch.setattr(module, "lock", late)
    with only_writer(tmp_path, "choose another"):
        assert len(taken) == 2
        assert (tmp_path / LOCK_FILE).exists()


def test_a_folder_that_cannot_be_written_to_is_refused_by_name(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"cannot write to .*file/run \(Not a directory\): choose another"),
        only_writer(tmp_path / "file" / "run", "choose another"),
    ):
        pass


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with only_writer(tmp_path, "choose another"):
        pass
    assert "no locks (Function not implemented)" in capsys.readouterr().err
