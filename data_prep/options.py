"""The options of `python -m data_prep.openthoughts`: one dataclass, and the flags made from its fields."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from data_prep.answers import Answers, Policy
from data_prep.decontaminate import TESTS, Test
from data_prep.dedupe import Similarity
from data_prep.layout import ENDINGS
from data_prep.lengths import training_settings
from data_prep.named import ROLES, named_columns
from data_prep.parquet import ROWS_PER_GROUP
from data_prep.schemas import SolutionPart
from data_prep.selection import Domain
from verl_egrsd.config import TeacherConfig
from verl_egrsd.reward.pool import TIME_LIMIT
from verl_egrsd.teacher.templates import TEMPLATES

OF_THE_ROW = [
    name
    for name, template in TEMPLATES.items()
    if not template.reads_rollouts and "wrong_solution" not in template.marks
]
"""Templates whose prompt depends on the row only, so that its length can be measured here."""
DATA, TEACHER = training_settings()["data"], training_settings()["actor_rollout_ref"]["teacher"]


def _flag(stage: str, text: str, **argparse_settings: Any) -> dict[str, Any]:
    return {"stage": stage, "help": text, **argparse_settings}


@dataclass(frozen=True)
class Options:
    """The source, the output folder, and the options of every stage; each field is a flag.

    Raises:
        ValueError: for a value out of range, naming the flag.
    """

    source: str
    out: Path
    config: str | None = field(
        default=None,
        metadata=_flag(
            "", "configuration of a data set on the hub or of a copy of one, such as metadata", type=str
        ),
    )
    split: str = field(
        default="train", metadata=_flag("", "split of such a data set; a single file is read whole")
    )
    columns: Mapping[str, str] | None = field(
        default=None,
        metadata=_flag(
            "",
            "columns of an unknown schema, such as problem=question,solution=response,answer=target; names "
            f"for {', '.join(ROLES)}",
            type=named_columns,
            metavar="PART=COLUMN,...",
        ),
    )
    benchmarks: Path | None = field(
        default=None,
        metadata=_flag(
            "", "folder that data_prep.benchmarks wrote; without it stage 6 is skipped", type=Path
        ),
    )
    tokenizer: str | None = field(
        default=None,
        metadata=_flag(
            "", "folder or hub id of the model's tokenizer; without it lengths are in characters", type=str
        ),
    )
    limit: int | None = field(default=None, metadata=_flag("", "read at most this many rows", type=int))
    seed: int = field(default=0, metadata=_flag("", "of the split and of MinHash"))
    workers: int = field(
        default=os.cpu_count() or 1,
        metadata=_flag("", "processes that verify; the files do not depend on it"),
    )

    domain: Domain = field(
        default="math", metadata=_flag("1 select", "any: rows of every domain", choices=get_args(Domain))
    )
    assume_math: bool = field(
        default=False,
        metadata=_flag("1 select", "treat all rows as mathematics if the schema names no domain"),
    )
    reference: SolutionPart = field(
        default="concise",
        metadata=_flag(
            "2 solution",
            "reasoning: the teacher is shown the long trace and the concise solution behind it",
            choices=get_args(SolutionPart),
        ),
    )
    answers: Answers = field(
        default="ground_truth",
        metadata=_flag(
            "3 answer",
            "the separate ground truth where there is one, or always the solution's own answer",
            choices=get_args(Answers),
        ),
    )
    verify: bool = field(
        default=True, metadata=_flag("4 verify", "compare the solution's answer with the ground truth")
    )
    mismatch: Policy = field(
        default="drop",
        metadata=_flag("4 verify", "rows whose solution arrives at another answer", choices=get_args(Policy)),
    )
    no_ground_truth: Policy = field(
        default="keep",
        metadata=_flag("4 verify", "rows without a separate ground truth", choices=get_args(Policy)),
    )
    no_answer: Policy | None = field(
        default=None,
        metadata=_flag(
            "4 verify",
            "rows whose solution has no \\boxed{} or #### x to compare with the ground truth; as --mismatch "
            "unless it is given",
            choices=get_args(Policy),
            type=str,
        ),
    )
    time_limit: float = field(default=TIME_LIMIT, metadata=_flag("4 verify", "seconds for one verdict"))
    duplicates: Similarity = field(
        default="near",
        metadata=_flag(
            "5 deduplicate",
            "drop near and exact duplicates, exact ones only, or none",
            choices=get_args(Similarity),
        ),
    )
    duplicate_similarity: float = field(
        default=0.8,
        metadata=_flag("5 deduplicate", "Jaccard similarity from which problems are near duplicates"),
    )
    decontaminate: Sequence[Test] = field(
        default=TESTS,
        metadata=_flag(
            "6 decontaminate",
            "tests to run; no value switches decontamination off",
            nargs="*",
            choices=TESTS,
            type=str,
        ),
    )
    ngram_tokens: int = field(default=8, metadata=_flag("6 decontaminate", "tokens of an n-gram"))
    ngram_overlap: float = field(
        default=0.5,
        metadata=_flag("6 decontaminate", "share of a benchmark problem's n-grams that makes a match"),
    )
    contamination_similarity: float = field(
        default=0.7, metadata=_flag("6 decontaminate", "Jaccard similarity that makes a match")
    )
    check_lengths: bool = field(
        default=True, metadata=_flag("7 lengths", "measure both prompts and drop rows that are too long")
    )
    max_student_tokens: int = field(
        default=DATA["max_prompt_length"], metadata=_flag("7 lengths", "longest prompt of the student")
    )
    max_teacher_tokens: int = field(
        default=TEACHER["max_prompt_length"], metadata=_flag("7 lengths", "longest prompt of the teacher")
    )
    characters_per_token: int = field(
        default=2,
        metadata=_flag("7 lengths", "characters per token of the limits when there is no tokenizer"),
    )
    template: str = field(
        default=TeacherConfig().template,
        metadata=_flag("7 lengths", "of the teacher's prompt", choices=OF_THE_ROW),
    )
    student_thinks: bool = field(
        default=DATA["apply_chat_template_kwargs"]["enable_thinking"],
        metadata=_flag("7 lengths", "thinking flag of the student's chat template"),
    )
    teacher_thinks: bool = field(
        default=TEACHER["enable_thinking"],
        metadata=_flag("7 lengths", "thinking flag of the teacher's chat template"),
    )
    validation_share: float = field(
        default=0.02,
        metadata=_flag("8 split", "share of the problems in validation.parquet; 0 writes no such file"),
    )
    rows_per_group: int = field(
        default=ROWS_PER_GROUP, metadata=_flag("9 write", "rows of a parquet row group")
    )

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("limit", "workers", "ngram_tokens", "max_student_tokens", "max_teacher_tokens"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "1 or more")
        for name in ("characters_per_token", "rows_per_group"):
            self._require(name, getattr(self, name) >= 1, "1 or more")
        for name in ("duplicate_similarity", "ngram_overlap", "contamination_similarity"):
            self._require(name, 0 < getattr(self, name) <= 1, "above 0 and at most 1")
        self._require("validation_share", 0 <= self.validation_share < 1, "from 0 to below 1")
        self._require("time_limit", self.time_limit > 0, "positive")

    def notes(self, timeouts: int) -> list[str]:
        """Return warnings for the reader of the data card.

        Args:
            timeouts: number of verdicts that ran out of time.
        """
        notes = []
        if timeouts:
            notes.append(
                f"{timeouts:,} verdicts ran out of time; on a faster machine some may not, and the files "
                "would differ: raise --time-limit."
            )
        if self.benchmarks is None or not self.decontaminate:
            notes.append(
                "Decontamination is off: the data may hold problems of the benchmarks. Make these with "
                "python -m data_prep.benchmarks, and pass their folder as --benchmarks."
            )
        if not self.verify:
            notes.append(
                "Verification is off: a solution may arrive at another answer than its ground truth."
            )
        if self.check_lengths and self.tokenizer is None:
            notes.append(
                f"Lengths are in characters, {self.characters_per_token} per token of the limits, "
                "and without chat templates: pass the model's tokenizer as --tokenizer."
            )
        return notes

    def choices(self, schema: str) -> dict[str, str]:
        """Return the names of the stages, in order, with the options of each."""
        tests = ", ".join(self.decontaminate) if self.benchmarks else ""
        unit = "tokens" if self.tokenizer else f"tokens of {self.characters_per_token} characters"
        return {
            "read": schema,
            "select": "mathematics" if self.domain == "math" else "any domain",
            "solution": self.reference,
            "answer": self.answers,
            "verify": f"mismatch: {self.mismatch}, no answer in the solution: "
            f"{self.no_answer or self.mismatch}, no ground truth: {self.no_ground_truth}"
            if self.verify
            else "off",
            "deduplicate": self.duplicates,
            "decontaminate": tests or "off",
            "lengths": f"at most {self.max_student_tokens:,} and {self.max_teacher_tokens:,} {unit}"
            if self.check_lengths
            else "off",
            "split": f"{self.validation_share:.1%} validation" if self.validation_share else "off",
            "write": f"{self.rows_per_group:,} rows per group",
        }

    def _require(self, name: str, allowed: bool, wording: str) -> None:
        if not allowed:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} {getattr(self, name)} is not allowed: it must be {wording}.")


def parse_options(arguments: Sequence[str] | None, description: str | None) -> Options:
    """Return the options of a command line; None takes the command line of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.openthoughts",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source",
        required=True,
        help=f"hub id, file ({', '.join(ENDINGS)}, or one of these compressed), or a folder of files",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    groups = {"": parser.add_argument_group("input and run")}
    for option in fields(Options):
        if option.metadata:
            settings = {"type": type(option.default), "default": option.default, **option.metadata}
            stage = settings.pop("stage")
            if stage not in groups:
                groups[stage] = parser.add_argument_group(f"stage {stage}")
            if settings["type"] is bool:
                settings |= {"action": argparse.BooleanOptionalAction}
                del settings["type"]
            if settings["default"] is not None:
                shown = option.default if option.default != TESTS else " ".join(TESTS)
                settings["help"] += f" ({shown})"
            groups[stage].add_argument(f"--{option.name.replace('_', '-')}", **settings)
    return Options(**vars(parser.parse_args(arguments)))
