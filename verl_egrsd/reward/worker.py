"""A worker process of the verdict pool: `python -m verl_egrsd.reward.worker DESCRIPTOR`.

It says that it is ready, then answers one question at a time until its owner closes the pipe. Its memory is
limited, and so is the processor time of each item: a stuck worker ends by itself even if its owner was
killed.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from verl_egrsd.reward.equivalence import equivalent
from verl_egrsd.reward.verdict import Reason

MEMORY_LIMIT = 2**30
"""Bytes of address space; a worker at rest takes less than a tenth of it."""
RETIRE_AT = MEMORY_LIMIT // 2
"""Bytes of address space at which a worker is replaced: memory left by one item must not fail another."""
LONGEST_ERROR = 500
"""Characters of what a comparison raised."""
GRACE_SECONDS = 1
"""Processor time beyond the item's limit; the owner ends a stuck worker before that."""


def main(descriptor: int) -> None:
    """Serve the owner at the other end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the owner too, which ends its workers.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    with Connection(descriptor) as owner, suppress(EOFError, BrokenPipeError):  # the owner is gone
        equivalent("\\frac{1}{2}", "0.5")  # the first one builds tables, which must not cost an item its time
        gc.freeze()  # keeps the collector from walking sympy again and again: an eighth faster
        owner.send("ready")
        while True:
            question, time_limit = owner.recv()
            _limit_processor_time(time_limit)
            owner.send((*_judge(*question), _address_space() < RETIRE_AT))


def _judge(answer: str, ground_truth: str, problem: str | None) -> tuple[Reason, str]:
    """Return the verdict, and for an error what was raised."""
    try:
        return equivalent(answer, ground_truth, problem), ""
    except Exception as error:  # sympy may raise anything on a strange input; it is this item's verdict
        return "error", f"{error!r:.{LONGEST_ERROR}}"


def _address_space() -> int:
    # Not ru_maxrss, which a process inherits from its parent.
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _limit_processor_time(seconds: float) -> None:
    used = sum(os.times()[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds) + GRACE_SECONDS, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
