"""Commands that share a folder, or are killed while they write one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.recipes import recipe
from verl_egrsd.output.files import completed_folder
from verl_egrsd.output.lock import LOCK_FILE, only_writer

RECIPES = ("egrsd_qwen3_4b", "sft_qwen3_4b")
WRITER = """
import sys, time
from pathlib import Path
from verl_egrsd.output.files import completed_folder
from verl_egrsd.processes import ended_by_signals
with ended_by_signals("writer"), completed_folder(Path(sys.argv[1])) as folder:
    (folder / "config.json").write_text("{}")
    print("written", flush=True)
    time.sleep(60)
"""


def refused_run(name, output):
    """A recipe whose data is missing, so that it never trains."""
    return recipe(name, OUTPUT=str(output), PYTHON=sys.executable, TRAIN_FILE="gone.parquet")


@pytest.mark.parametrize("name", RECIPES)
def test_a_second_run_in_one_output_is_refused_before_python_imports_anything(tmp_path, measured, name):
    with only_writer(tmp_path, "choose another"), measured(f"second run in one OUTPUT ({name})", "refused"):
        refused = refused_run(name, tmp_path)
    assert refused.returncode == 1
    assert f"{tmp_path} is in use by process {os.getpid()} on" in refused.stderr
    assert "choose another OUTPUT, or wait" in refused.stderr  # Python's own refusal names the keys


def test_an_output_that_a_killed_run_left_is_taken(tmp_path):
    (tmp_path / LOCK_FILE).write_text("process 1 on another machine")
    assert "gone.parquet does not exist" in refused_run(RECIPES[0], tmp_path).stderr


@pytest.mark.parametrize("name", RECIPES)
def test_an_output_that_cannot_be_written_to_is_refused_at_once(tmp_path, measured, name):
    """A file in place of a folder stands for a disk that is read-only, which only root can make."""
    (tmp_path / "file").touch()
    with measured(f"OUTPUT that cannot be written to ({name})", "refused"):
        refused = refused_run(name, tmp_path / "file" / "run")
    assert (refused.returncode, f"{tmp_path}/file is read-only, or not a folder" in refused.stderr) == (
        1,
        True,
    )


@pytest.mark.faults
@pytest.mark.parametrize("name", RECIPES)
def test_an_output_on_a_disk_that_is_read_only_is_refused_at_once(small_disk, measured, name):
    disk = small_disk("size=64k,ro")
    with measured(f"read-only OUTPUT ({name})", "refused"):
        refused = refused_run(name, disk / "run")
    assert (refused.returncode, f"{disk} is read-only, or not a folder" in refused.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_writer_of_a_folder_that_is_killed_leaves_none_that_looks_whole(tmp_path, number):
    out = tmp_path / "model"
    command = [sys.executable, "-c", WRITER, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "written\n"
        with pytest.raises(OSError, match=r"is in use by process"), completed_folder(out):
            pass
        process.send_signal(number)
        assert process.wait(15) != 0
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ([".model.partial"] if number == signal.SIGKILL else [])
    with completed_folder(out) as folder:
        assert not list(folder.iterdir())
        (folder / "config.json").touch()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [
        Path("model"),
        Path("model/config.json"),
    ]
