"""The samples of an evaluation as responses to look at: with its model, its prompts and its cap."""

from __future__ import annotations

import argparse
from pathlib import Path

from verl_egrsd.evaluation.samples import SAMPLES, SETTINGS, read_settings


def is_evaluation(source: str) -> bool:
    """Whether a path is a folder that `verl-egrsd eval` wrote."""
    return (Path(source) / SETTINGS).is_file() and (Path(source) / SAMPLES).is_file()


def as_drawn(folder: Path, arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments that look at the samples of an evaluation as they were drawn.

    Args:
        folder: folder of the evaluation.
        arguments: those of the command; source, base, responses, thinking flag, temperature and cap of an
            answer become those of the evaluation, as does the data if it had one file.

    Raises:
        ValueError: when the evaluation had several files, or does not name its files, and `data` is None.
    """
    found = read_settings(folder)
    files, sampling = found.get("files", {}), found["identity"]["settings"]
    if template := sampling.get("template"):
        raise ValueError(
            f"{folder} holds answers of the teacher (template {template}), and a method learns from the "
            "student's: inspect an evaluation that was made without --template."
        )
    for name, drawn_with in (("base", found["base"]), ("responses", None)):
        if (given := getattr(arguments, name)) not in (None, drawn_with):
            raise ValueError(
                f"--{name} {given}: {folder} has its own, {drawn_with or SAMPLES}: leave it out."
            )
    data = arguments.data or next(iter(files.values()), None)
    if data is None or (arguments.data is None and len(files) > 1):
        named = f": {', '.join(files.values())}" if files else ""
        raise ValueError(f"{folder} answers {len(files) or 'unknown'} files: name one with --data{named}.")
    drawn = {
        "source": found["model"],
        "base": found["base"],
        "data": Path(data),
        "responses": str(folder / SAMPLES),
        "student_thinks": sampling["thinking"],
        # A greedy answer is scored at the temperature of the command.
        "temperature": sampling["temperature"] or arguments.temperature,
        "max_response_length": sampling["max_new_tokens"],
    }
    return argparse.Namespace(**vars(arguments) | drawn)
