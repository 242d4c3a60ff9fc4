"""A Python whose imports are paid for once: its processes are forked from one that holds torch and more.

`start` leaves an executable file `python` in the folder $WARM_PYTHON. With `-m MODULE ...` or `FILE ...` it
does what Python always does, in a child of the server. The child has the caller's environment, folder and
streams. The caller ends with the child's exit code, and the child ends when the caller is killed. The caller
becomes a plain Python where the arguments are others, or where a variable differs that packages read once.
"""

from __future__ import annotations

import array
import gc
import json
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
FOLDER = "WARM_PYTHON"
"""Variable with the folder of the server that runs."""
IMPORTED_WITH = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
READ_ONCE = ("HF_", "OMP_", "TRANSFORMERS_")
"""First letters of the variables that a package reads while it is imported."""
PACKAGES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.signal", "scipy.stats", "networkx", "matplotlib.pyplot"),
    *("torch", "torch._dynamo", "torch._inductor.compile_fx", "torch.distributed.fsdp"),
    *("torch.utils.cpp_extension", "tensordict", "datasets", "peft", "hydra", "omegaconf", "aiohttp"),
    *("transformers.modeling_utils", "transformers.models.qwen3.modeling_qwen3"),
    *(
        "transformers.processing_utils",
        "fastapi",
        "uvicorn",
        "openai",
        "opentelemetry.sdk.trace",
        "cv2",
        "xgrammar",
    ),
)
"""What verl and vLLM import; neither is here, because they read many variables."""


def start() -> Callable[[], None]:
    """Start a server for this process and those that it starts; return how to end it."""
    folder = tempfile.TemporaryDirectory(prefix="warm")
    os.environ[FOLDER] = folder.name
    environment = os.environ | IMPORTED_WITH
    Path(folder.name, "read_once").write_text(read_once(environment))
    run = shlex.join([sys.executable, "-I", "-S", __file__, "call", folder.name])
    python = Path(folder.name, "python")
    python.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
    python.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(folder.name, "socket"))
        listener.listen(64)
        number = listener.fileno()
        command = [sys.executable, __file__, "serve", str(number)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, pass_fds=[number])

    def end() -> None:
        server.communicate()
        folder.cleanup()
        del os.environ[FOLDER]

    return end


def python() -> str:
    """Return the path of the file that stands for `python` in a command."""
    return os.path.join(os.environ[FOLDER], "python")


def environment() -> dict[str, str]:
    """Return the variables with which a command is forked, and finds this repository."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return IMPORTED_WITH | {"PYTHONPATH": os.pathsep.join(paths)}


def ray_workers() -> str:
    """Return the override of verl's configuration with which Ray's workers are forked too."""
    return f"ray_kwargs.ray_init.runtime_env.py_executable={python()}"


def read_once(environment: Mapping[str, str]) -> str:
    """Return the variables that must be the server's, as JSON."""
    return json.dumps({name: environment[name] for name in sorted(environment) if name.startswith(READ_ONCE)})


def serve(descriptor: int) -> None:
    """Fork one child for each caller until standard input closes; import the packages for the first one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as listener, selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            caller, _ = listener.accept()
            for package in PACKAGES:
                __import__(package)
            gc.freeze()  # or each child's garbage collection would copy the server's memory
            if os.fork() == 0:
                break
            caller.close()
        else:
            return
    attend(caller)


def attend(caller: socket.socket) -> None:
    """Run the caller's command in a child; tell the caller its exit code, or end it with the caller."""
    request, streams = received(caller)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        caller.close()
        become(request, streams)
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    with suppress(BrokenPipeError):  # a caller that is gone is seen below
        caller.sendall(b"%d\n" % child)
    with selectors.DefaultSelector() as ready:
        ready.register(caller, selectors.EVENT_READ)
        ready.register(os.pidfd_open(child), selectors.EVENT_READ)
        orphaned = any(key.fileobj is caller for key, _ in ready.select())
    if orphaned:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not orphaned:
        caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def received(caller: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the caller's request and its three streams."""
    text, ancillary, _, _ = caller.recvmsg(1 << 20, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(ancillary[0][2])
    while not text.endswith(b"\n"):
        more = caller.recv(1 << 20)
        if not more:
            raise EOFError("the caller ended in its request")
        text += more
    return json.loads(text), streams.tolist()


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Turn this process into the one that was asked for."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Or all children would draw the same numbers; `random` does this by itself.
    sys.modules["numpy"].random.seed()
    served = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    asked = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    first, *sys.argv = request["arguments"]
    own = os.getcwd() if first == "-m" else os.path.dirname(os.path.abspath(first))
    sys.path[:] = [own, *asked, *(entry for entry in sys.path[1:] if entry not in served)]
    if first == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv.insert(0, first)
        runpy.run_path(first, run_name="__main__")
    sys.exit(0)


def call(folder: str, arguments: Sequence[str]) -> int:
    """Have a child run the arguments; return its exit code, or end by the signal that ended it."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(os.path.join(folder, "socket"))
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    text = json.dumps(request).encode() + b"\n"
    sent = server.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (0, 1, 2)))])
    server.sendall(text[sent:])
    answers = server.makefile()
    child = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    code = int(answers.readline())
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def main(what: str, place: str, *arguments: str) -> None:
    if what == "serve":
        serve(int(place))
    elif is_served(place, arguments):
        sys.exit(call(place, arguments))
    else:
        os.execv(sys.executable, [sys.executable, *arguments])


def is_served(folder: str, arguments: Sequence[str]) -> bool:
    """Tell whether a child of the server is what a plain Python would be."""
    runs = bool(arguments) and (arguments[0] == "-m" or not arguments[0].startswith("-"))
    return runs and Path(folder, "read_once").read_text() == read_once(os.environ)


if __name__ == "__main__":
    main(*sys.argv[1:])
