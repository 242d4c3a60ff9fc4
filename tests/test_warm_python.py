"""The Python of tests/support/warm_python.py does what Python does."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support import warm_python

SHOW = """
import json, os, sys
found = [sys.argv[1:], os.getcwd(), os.environ.get("MARK"), sys.stdin.read(), "torch" in sys.modules]
print(json.dumps(found))
print("to the other stream", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def command(tmp_path):
    """Write a script; return the command that runs it."""

    def written(code):
        (tmp_path / "script.py").write_text(code)
        return [warm_python.python(), str(tmp_path / "script.py")]

    return written


@pytest.mark.parametrize(("threads", "forked"), [("1", True), ("3", False)])
def test_a_command_has_its_arguments_environment_folder_streams_and_exit_code(
    command, tmp_path, threads, forked
):
    environment = os.environ | warm_python.environment() | {"MARK": "x y", "OMP_NUM_THREADS": threads}
    arguments = [*command(SHOW), "a b", "--c"]
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, input="typed", capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == [["a b", "--c"], str(tmp_path), "x y", "typed", forked], done.stderr
    assert done.stderr == "to the other stream\n"
    assert done.returncode == 3


def test_a_module_is_main_and_its_neighbours_are_found(tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'here'")
    (tmp_path / "job.py").write_text("import neighbour\nif __name__ == '__main__': print(neighbour.NAME)")
    arguments = [warm_python.python(), "-m", "job"]
    environment = os.environ | warm_python.environment()
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "here\n"


def test_other_arguments_are_those_of_a_plain_python():
    arguments = [warm_python.python(), "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.executable


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_caller_ends_the_child(command, number):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    environment = os.environ | warm_python.environment()
    caller = subprocess.Popen(command(code), env=environment, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(caller.stdout.readline()))
    assert child.pid != caller.pid
    caller.send_signal(number)
    assert caller.wait(30) == -number
    child.wait(30)


def test_a_child_that_is_killed_gives_the_caller_its_signal(command):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run(command(code), env=os.environ | warm_python.environment(), check=False)
    assert done.returncode == -signal.SIGKILL


ABANDONED = """
import array, json, os, socket, numpy
from tests.support import warm_python
caller, server = socket.socketpair()
request = {"arguments": [os.environ["SLEEPS"]], "environment": dict(os.environ), "folder": os.getcwd()}
streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (0, 1, 2)))
caller.sendmsg([json.dumps(request).encode() + b"\\n"], [streams])
caller.close()
warm_python.attend(server)
"""


def test_a_caller_that_is_gone_before_its_child_begins_leaves_none(tmp_path):
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(600)")
    environment = os.environ | warm_python.environment() | {"SLEEPS": str(tmp_path / "sleeps.py")}
    # `attend` ends after its child.
    subprocess.run([sys.executable, "-c", ABANDONED], env=environment, check=True, timeout=60)


def test_children_draw_different_random_numbers(command):
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    environment = os.environ | warm_python.environment()
    drawn = [
        subprocess.run(
            command(code), env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert all(one != other for one, other in zip(*drawn, strict=True))
