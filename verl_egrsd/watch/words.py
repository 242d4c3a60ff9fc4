"""The last line of a run that did not reach its end: what ended it, where, and how to go on."""

from __future__ import annotations

import re
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.choice import LATEST_WHOLE
from verl_egrsd.checkpoints.whole import needed, newest_whole
from verl_egrsd.watch.settings import PHASES

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST = 1000
"""Characters of a reason; an error of an engine may hold pages."""


def last_line(
    what: str,
    config: DictConfig,
    *,
    step: int | None = None,
    phase: str | None = None,
    resume_mode: str | None = None,
) -> str:
    """Return the sentence that a run ends with.

    Args:
        what: what died or failed.
        config: the whole configuration.
        step: the training step in which it ended; None before the first.
        phase: a key of `PHASES`; None between two phases.
        resume_mode: the user's, where the trainer has changed it in the configuration.
    """
    total = config.trainer.total_training_steps
    place = [f"step {step}{f' of {total}' if total else ''}"] if step else []
    place += [PHASES[phase]] if phase else []
    where = f" in {', '.join(place)}" if place else ""
    on = way_on(config, resume_mode or config.trainer.resume_mode, begun=bool(step))
    return f"the run ended{where}: {one_line(what).rstrip('.')}. {on}".rstrip()


def way_on(config: DictConfig, resume_mode: str, *, begun: bool) -> str:
    """Return where the last whole checkpoint is, and what goes on from it; nothing if no step was begun."""
    checkpoint = newest_whole(Path(config.trainer.default_local_dir), needed(config))
    if checkpoint is not None:
        how = "" if resume_mode in ("auto", LATEST_WHOLE) else " with trainer.resume_mode=auto"
        return f"The last checkpoint is {checkpoint}; the same command{how} goes on from it."
    saved = f"trainer.save_freq={config.trainer.save_freq}"
    return f"There is no checkpoint ({saved}): the same command begins anew." if begun else ""


def one_line(text: str) -> str:
    """Return a text as one line that is not too long."""
    line = " ".join(_COLOURS.sub("", text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
