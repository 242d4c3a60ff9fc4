"""The last lines of a run that reached its end: where its results are, and what comes next."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.whole import needed, newest_whole
from verl_egrsd.preflight import report_settings
from verl_egrsd.report.run import HTML_FILE


def closing_lines(config: DictConfig) -> str:
    """Return the lines: the report, the last checkpoint, and the command that evaluates it."""
    lines = [f"verl_egrsd: done. The report is {Path(report_settings(config).folder) / HTML_FILE}"]
    checkpoint = newest_whole(Path(config.trainer.default_local_dir), needed(config))
    if checkpoint is not None:
        out = f"evaluations/{config.trainer.experiment_name}"
        lines += [
            f"  checkpoint: {checkpoint}",
            f"  next: verl-egrsd eval {checkpoint} --benchmarks data/benchmarks --out {out}",
        ]
    return "\n".join(lines)
