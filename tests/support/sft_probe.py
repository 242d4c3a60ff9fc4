"""Several commands `verl-egrsd sft` in one process, since the imports take longer than the training.

python -m tests.support.sft_probe ARGUMENTS.json     # a list of argument lists; prints the exit codes
"""

import json
import os
import sys
from pathlib import Path

from verl_egrsd.cli import main

SET_BY_A_RUN = ("VERL_FILE_LOGGER_PATH", "TENSORBOARD_DIR")


def run(arguments: list[str]) -> int:
    """Run one command as a process of its own would; returns its exit code."""
    for name in SET_BY_A_RUN:
        os.environ.pop(name, None)
    try:
        return main(["sft", *arguments])
    except SystemExit as stopped:
        print(stopped)
        return 1


if __name__ == "__main__":
    codes = [run(arguments) for arguments in json.loads(Path(sys.argv[1]).read_text())]
    print(f"EXIT CODES {codes}")
