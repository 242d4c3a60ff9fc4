"""`verl-egrsd inspect`: from the command line to the pages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from verl_egrsd.config import TeacherConfig, build
from verl_egrsd.credit.checks import require
from verl_egrsd.methods import Method, methods, resolve
from verl_egrsd.methods.columns import PASS_RATE
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.microscope.evaluated import as_drawn, is_evaluation
from verl_egrsd.microscope.pages import write_pages
from verl_egrsd.microscope.rollout import Run
from verl_egrsd.microscope.scored import Question, run_model
from verl_egrsd.rollouts.dump_format import is_dump
from verl_egrsd.teacher.templates import with_template_text


def inspect(arguments: argparse.Namespace) -> Path:
    """Write the pages and return the index.

    Args:
        arguments: parsed arguments of :func:`verl_egrsd.microscope.arguments.add_arguments`.

    Raises:
        FileExistsError: when the folder to write exists.
        FileNotFoundError: naming what is missing.
        ValueError: for settings, data or sources that do not fit together, with the remedy.
    """
    if arguments.out.exists():
        # Checked first, because a model computes for minutes.
        raise FileExistsError(f"{arguments.out} exists already: remove it or choose another folder.")
    require(arguments.rows >= 1, "--rows", arguments.rows, "1 or more")
    sources = [source for source in (arguments.source, arguments.beside) if source is not None]
    return write_pages([_run(source, arguments) for source in sources], arguments.out, arguments.rows)


def _run(source: str, arguments: argparse.Namespace) -> Run:
    if is_dump(Path(source)):
        return read_run(Path(source))
    if is_evaluation(source):
        arguments = as_drawn(Path(source), arguments)
        source = arguments.source
    if arguments.data is None:
        raise ValueError(f"{source} is a model: name the parquet file with its questions (--data).")
    return run_model(source, _question(arguments), _method(arguments))


def _question(arguments: argparse.Namespace) -> Question:
    teacher = {
        "template": arguments.template,
        "enable_thinking": arguments.teacher_thinks,
        "header": arguments.header,
    }
    same = (
        "data",
        "rows",
        "responses",
        "base",
        "student_thinks",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "device",
    )
    return Question(
        **{name: getattr(arguments, name) for name in same},
        teacher=build(TeacherConfig, with_template_text(teacher), "actor_rollout_ref.teacher"),
    )


def _method(arguments: argparse.Namespace) -> Method:
    given: dict[str, Any] = {}
    for item in arguments.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set {item} is not allowed: write key=value, such as gamma=1.0.")
        section, _, name = key.rpartition(".")
        target = given.setdefault(section, {}) if section else given
        target[name] = yaml.safe_load(value)
    known = [name for name, row in methods().items() if not row.needs_group]
    allowed = f"one of {', '.join(known)}, the methods that need one rollout per prompt"
    require(arguments.estimator in known, "--estimator", arguments.estimator, allowed)
    method = resolve(arguments.estimator, given, max_response_length=arguments.max_response_length)
    if method.needs_group or PASS_RATE.key in method.reads:
        raise ValueError(
            f"--estimator {arguments.estimator} with --set {' '.join(arguments.set)} compares the rollouts "
            "of a prompt, or reads the pass rates of the data, which is done in training only: train with "
            "trainer.rollout_data_dir and inspect the files in that folder."
        )
    if method.reads_divergence:
        raise ValueError(
            f"--estimator {arguments.estimator} reads the divergence over the vocabulary, which is computed "
            "in training only: train with trainer.rollout_data_dir and inspect the files in that folder."
        )
    return method
