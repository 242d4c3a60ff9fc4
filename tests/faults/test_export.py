"""An export that is killed at any moment leaves no folder that looks whole, and the next one finishes."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.checkpoints.test_export import write_checkpoint
from tests.test_docs import ROOT

LIMIT = 240
LAYERS, WIDTH = 8, 1024
"""Enough weights that writing them takes a moment."""


@pytest.fixture
def checkpoint(tmp_path):
    """All weights of a model of a few hundred MB."""
    base = tmp_path / "base"
    tokenizer = build_small_tokenizer(base)
    config = small_qwen3_config(len(tokenizer))
    config.update({"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH})
    config.layer_types = config.layer_types[:1] * LAYERS
    model = new_model(config, seed=0)
    save_model(model, tokenizer, base)
    return write_checkpoint(tmp_path / "run", model.state_dict(), base, lora=False)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.faults
@pytest.mark.timeout(9 * LIMIT)
def test_killed_at_random_moments_it_leaves_nothing_that_looks_whole(tmp_path, checkpoint, measured):
    def command(name):
        return [
            sys.executable,
            "-m",
            "verl_egrsd.cli",
            "export",
            str(checkpoint),
            "--out",
            str(tmp_path / name),
        ]

    def exported(name):
        subprocess.run(command(name), cwd=ROOT, check=True, capture_output=True, timeout=LIMIT)
        return contents(tmp_path / name)

    exported("warm")
    began = time.monotonic()
    whole = exported("fresh")
    takes, draw, cut = time.monotonic() - began, random.Random(0), 0
    for place, number in enumerate((signal.SIGKILL, signal.SIGTERM) * 3):
        process = subprocess.Popen(
            command("out"), cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(takes * draw.uniform(0.6, 0.98))
        if process.poll() is None:
            cut += 1
            with measured(f"export killed ({number.name})", "no folder that looks whole"):
                process.send_signal(number)
                code = process.wait(15)
            assert code in (0, -number, 143), code
        if (tmp_path / "out").exists():
            assert contents(tmp_path / "out") == whole
            (tmp_path / "out").rename(tmp_path / f"ended{place}")
    assert cut, "every export ended before it was killed"
    assert exported("out") == whole
    assert not (tmp_path / ".out.partial").exists()
