"""`samples.jsonl`: one line per sample, written when the sample is finished, and how a run resumes.

A line is complete when it ends in a newline. A killed process may leave a partial line; it is cut off when
the run resumes, and its sample is drawn again with the same seed. `settings.json` beside the samples records
everything that affects them, and a run with other settings is refused.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from verl_egrsd.config import flat
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.lock import lock
from verl_egrsd.reward import Reason

SAMPLES, SETTINGS = "samples.jsonl", "settings.json"
SAMPLES_SCHEMA = "verl_egrsd.evaluation/1"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file that is full."""
Key = tuple[str, str, int]
"""Benchmark, id of the problem, number of the sample: together they identify a sample of a run."""


@dataclass(frozen=True)
class Sample:
    """One answer and the verdict on it.

    Attributes:
        benchmark: name of the benchmark.
        problem: id of the problem.
        index: number of the problem in its source.
        sample: number of the sample, from 0 to K - 1.
        seed: seed that it was drawn with.
        tokens: length, the end-of-sequence token included.
        finish_reason: "stop" at the end of sequence, "length" at the limit of new tokens.
        extracted: the answer that was found, "" if there is none.
        correct: whether it is right.
        reason: why (:data:`verl_egrsd.reward.REASONS`).
        text: the whole answer.
    """

    benchmark: str
    problem: str
    index: int
    sample: int
    seed: int
    tokens: int
    finish_reason: str
    extracted: str
    correct: bool
    reason: Reason
    text: str

    @property
    def key(self) -> Key:
        """What identifies the sample in its run."""
        return self.benchmark, self.problem, self.sample


class SampleLog:
    """`samples.jsonl`, open for one run; a context manager.

    Args:
        folder: folder of the file.

    Attributes:
        done: keys of the samples in the file.
        lengths: their numbers of tokens.

    Raises:
        ValueError: for a line that is not a sample, or a sample that occurs twice.
        OSError: when another process is writing to the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SAMPLES
        # Unbuffered: an appended line survives a crash of this process.
        self._file = self.path.open("ab", buffering=0)
        lock(self._file, f"another evaluation is writing to {self.path}: choose another --out.")
        self._drop_unfinished_line()
        self.done: set[Key] = set()
        self.lengths: list[int] = []
        for sample in read_samples(self.path):
            if sample.key in self.done:
                raise ValueError(f"{self.path} holds {sample.key} twice: remove one of the two lines.")
            self._note(sample)

    def __enter__(self) -> SampleLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, sample: Sample) -> None:
        """Write a sample.

        Raises:
            OSError: when the disk has no space for the whole line; the file keeps the lines before it.
        """
        # ASCII only, so that no reader takes a Unicode line separator inside an answer for the end of the
        # line.
        line, end = json.dumps(asdict(sample)).encode() + b"\n", os.path.getsize(self.path)
        try:
            written = self._file.write(line)
        except OSError as error:
            if error.errno not in FULL:
                raise
            written = 0
        if written != len(line):
            self._file.truncate(end)
            raise OSError(
                f"no space left for {self.path}: {len(self.done)} samples are kept. Free some space, and run "
                "the same command again."
            )
        self._note(sample)

    def _note(self, sample: Sample) -> None:
        self.done.add(sample.key)
        self.lengths.append(sample.tokens)

    def _drop_unfinished_line(self) -> None:
        whole = _whole_lines(self.path)
        unfinished = os.path.getsize(self.path) - whole
        if unfinished:
            print(
                f"{self.path}: the last line is unfinished ({unfinished} bytes); it is dropped.",
                file=sys.stderr,
            )
            self._file.truncate(whole)


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a file.

    Raises:
        ValueError: naming the line that is not a sample.
    """
    expected = {field.name for field in fields(Sample)}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if not isinstance(found, dict) or found.keys() != expected:
                raise ValueError(f"line {number} of {path} is not a sample: remove it, and run eval again.")
            yield Sample(**found)


def begin_or_resume(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `settings.json`, or check that the existing one has the same identity; return its content.

    A run that ended before its first sample may start again with other settings, but not with another model.

    Args:
        folder: folder of the run; made when it is missing.
        facts: the content; `facts["identity"]` is everything that affects the samples.

    Raises:
        ValueError: naming the first setting that differs, both values and the remedy.
    """
    path = folder / SETTINGS
    if not path.exists() or _may_begin_anew(folder, facts):
        write_completed(path, json.dumps({"schema": SAMPLES_SCHEMA, **facts}, indent=1) + "\n")
    found = read_settings(folder)
    now, then = flat(json.loads(json.dumps(facts["identity"]))), flat(found["identity"])
    for key in [*then, *(now.keys() - then.keys())]:
        if now.get(key) != then.get(key):
            raise ValueError(
                f"{key} is {now.get(key)!r}, but the samples in {folder} were drawn with {then.get(key)!r}: "
                "use the same, or choose another --out."
            )
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the content of `settings.json`.

    Raises:
        FileNotFoundError: when the folder has no such file.
        ValueError: when it was written by another version of this format.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {folder} was not written by verl-egrsd eval.")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("schema") != SAMPLES_SCHEMA:
        raise ValueError(
            f"{path} has the schema {found.get('schema')!r}, not {SAMPLES_SCHEMA!r}: evaluate again."
        )
    return found


def _whole_lines(path: Path) -> int:
    """Return the number of bytes up to the last newline."""
    with path.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))


def _may_begin_anew(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether the same model has no samples yet, so that other settings do not mix samples."""
    samples = folder / SAMPLES
    untouched = not samples.exists() or os.path.getsize(samples) == 0
    return untouched and read_settings(folder)["identity"].get("model") == facts["identity"].get("model")
