"""Data preparation that is killed at any moment: the files before it or the new ones, never half of one."""

import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.data_prep.raw_rows import sums, write_lines
from tests.test_docs import ROOT
from verl_egrsd.output.lock import LOCK_FILE, only_writer

OLD, NEW = 40, 3000
LIMIT = 240
FILES = ("train.parquet", "validation.parquet", "data_card.json")


def command(tmp_path, rows, out="out"):
    source = write_lines(tmp_path / f"{rows}.jsonl", sums(rows))
    flags = ["--source", source, "--out", str(tmp_path / out), "--workers", "1", "--validation-share", "0.5"]
    return [sys.executable, "-m", "data_prep.openthoughts", *flags]


def prepared(tmp_path, rows, out):
    """Prepare to the end, and return the bytes of the rows' files."""
    subprocess.run(command(tmp_path, rows, out), cwd=ROOT, check=True, capture_output=True, timeout=LIMIT)
    return contents(tmp_path / out)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES[:2] if (folder / name).exists()}


@pytest.mark.faults
@pytest.mark.timeout(8 * LIMIT)
def test_killed_at_random_moments_it_leaves_whole_files_and_the_next_run_finishes(tmp_path, measured):
    old = prepared(tmp_path, OLD, "out")
    began = time.monotonic()
    new = prepared(tmp_path, NEW, "fresh")
    whole, draw = time.monotonic() - began, random.Random(0)
    for number in (signal.SIGKILL, signal.SIGTERM) * 3:
        process = subprocess.Popen(
            command(tmp_path, NEW), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        time.sleep(whole * draw.uniform(0.3, 1.0))
        process.send_signal(number)
        with measured(f"data preparation killed ({number.name})", "the files of the run before stay"):
            said = process.communicate(timeout=15)[1]
        # In its first moments, before the imports are done, it does not listen yet.
        assert number == signal.SIGKILL or process.returncode in (0, 143, -signal.SIGTERM), said
        assert ("interrupted: run the same" in said) == (process.returncode == 143)
        found = contents(tmp_path / "out")
        # Both are replaced before the card is written, whose absence marks an unfinished folder.
        assert all(found[name] in (old[name], new[name]) for name in old)
        assert found in (old, new) or not (tmp_path / "out" / FILES[2]).exists()
    assert prepared(tmp_path, NEW, "out") == new
    assert not list((tmp_path / "out").glob("*.partial"))
    assert not (tmp_path / "out" / LOCK_FILE).exists()


@pytest.mark.timeout(3 * LIMIT)
def test_of_two_preparations_in_one_folder_one_is_refused_and_the_other_is_whole(tmp_path, measured):
    """Both begin at once; the work takes far longer than what lies between their starts."""
    words = command(tmp_path, 3 * NEW)
    both = [
        subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    with measured("two data preparations in one folder", "one is refused"):
        while (refused := next((one for one in both if one.poll() is not None), None)) is None:
            time.sleep(0.05)
    (other,) = (one for one in both if one is not refused)
    said = refused.communicate()[1]
    assert refused.returncode == 1, said
    assert f"{tmp_path}/out is in use by process {other.pid} on" in said
    said = other.communicate(timeout=LIMIT)[1]
    assert other.returncode == 0, said
    assert contents(tmp_path / "out") == prepared(tmp_path, 3 * NEW, "fresh")


def test_a_second_preparation_in_one_folder_is_refused_before_the_source_is_read(tmp_path, capsys):
    from data_prep.openthoughts import main

    with only_writer(tmp_path / "out", "choose another"):
        assert main(["--source", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "out")]) == 1
    assert re.search(r"data_prep\.openthoughts: .*out is in use by process", capsys.readouterr().err)
