from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from verl_egrsd.watch import shared_memory

HOLDER = """
import sys
from multiprocessing import resource_tracker, shared_memory
segment = shared_memory.SharedMemory(name=sys.argv[1], create=True, size=4096)
resource_tracker.unregister(segment._name, "shared_memory")
print("held", flush=True)
sys.stdin.read()
segment.buf[:4] = b"used"
print(bytes(segment.buf[:4]).decode(), flush=True)
"""


@pytest.fixture
def holder():
    """A child that holds a segment with a name that no other test takes, and writes to it at the end."""
    name = f"{shared_memory.OF_ENGINES}{uuid.uuid4().hex}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, name], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield name, process
        process.kill()
    Path(f"/dev/shm/{name}").unlink(missing_ok=True)


def test_a_segment_of_a_child_loses_its_name_and_stays_usable(holder):
    name, process = holder
    assert name in shared_memory.unname_engine_segments()
    assert not Path(f"/dev/shm/{name}").exists()
    process.stdin.close()
    assert process.stdout.readline() == "used\n"


def test_only_segments_of_this_run_that_nobody_has_open_are_abandoned(holder, monkeypatch):
    name, process = holder
    monkeypatch.setattr(shared_memory, "OF_SYNCS", name)
    assert shared_memory.unlink_abandoned_syncs(set()) == []
    process.kill()
    process.wait()
    assert shared_memory.unlink_abandoned_syncs(shared_memory.sync_segments()) == []
    with monkeypatch.context() as another_user:
        another_user.setattr("os.getuid", lambda: 12345)
        assert shared_memory.unlink_abandoned_syncs(set()) == []
    assert shared_memory.unlink_abandoned_syncs(set()) == [name]
