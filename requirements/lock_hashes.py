"""Write the hash of every file that pip would install into requirements/cpu.lock.

    pip install --dry-run --ignore-installed --no-deps --report py311.json -r requirements/cpu.lock
    python requirements/lock_hashes.py py311.json [py312.json ...]

One report for each Python of the lock. What differs between them are the wheels of compiled packages; pip
reports those of another Python with --python-version 3.12 --only-binary=:all: --target DIR. After a change of
the lock remove its hashes first: `sed -i 's/ --hash.*//' requirements/cpu.lock`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

LOCK = Path(__file__).parent / "cpu.lock"
Pinned = tuple[str, str]
"""Name, as pip compares it, and version."""


def read_hashes(reports: Sequence[Path]) -> dict[Pinned, set[str]]:
    """Return the SHA-256 of each file in pip's reports, by package and version."""
    found: dict[Pinned, set[str]] = defaultdict(set)
    for report in reports:
        for item in json.loads(report.read_text())["install"]:
            metadata, archive = item["metadata"], item["download_info"]["archive_info"]
            found[pinned(metadata["name"], metadata["version"])].add(archive["hashes"]["sha256"])
    return found


def pinned(name: str, version: str) -> Pinned:
    """Return name and version as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower(), version


def with_hashes(line: str, found: dict[Pinned, set[str]]) -> str:
    """Return a line of the lock with its old hashes and those that were found."""
    package, *old = line.split(" --hash=sha256:")
    if line.startswith("#"):
        return line
    hashes = {*old, *found.get(pinned(*package.split("==")), set())}
    if not hashes:
        raise ValueError(f"no report names {package}: make one of the whole lock.")
    return "".join([package, *(f" --hash=sha256:{value}" for value in sorted(hashes))])


if __name__ == "__main__":
    hashes = read_hashes([Path(name) for name in sys.argv[1:]])
    LOCK.write_text("".join(with_hashes(line, hashes) + "\n" for line in LOCK.read_text().splitlines()))
