"""Privileged templates: the text that replaces the student's last user turn in the teacher's prompt.

A template is plain text with marks. `<<task>>` stands for the student's whole user turn, answer instruction
included. Every other mark stands for privileged text (docs/contexts.md). Marks are replaced in one pass, and
the inserted text is not searched for marks: mathematics is full of braces and percent signs. A template is
chosen by name, read from a text file, or written into the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from verl_egrsd.rows import Field
from verl_egrsd.teacher.marks import MARK, ROLLOUT_MARKS, SHOWN_ROLLOUTS, check_marks, field_of

KEY = "actor_rollout_ref.teacher.template"


@dataclass(frozen=True)
class Template:
    """A template of the teacher's user turn.

    Attributes:
        text: the teacher's user turn, with `<<task>>` and the marks of privileged text.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse a template without the task, or with an unknown mark."""
        check_marks(self.text, "the template")

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The marks beside the task, each once, in order."""
        return tuple(mark for mark in dict.fromkeys(MARK.findall(self.text)) if mark != "task")

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields that every row must have as text."""
        return tuple(dict.fromkeys(field_of(mark) for mark in self.marks if mark not in ROLLOUT_MARKS))

    @property
    def reads_rollouts(self) -> bool:
        """Whether the text differs between the rollouts of a prompt."""
        return any(mark in ROLLOUT_MARKS for mark in self.marks)

    @cached_property
    def rollouts_shown(self) -> int:
        """Number of whole responses in the text."""
        return sum(mark in SHOWN_ROLLOUTS for mark in MARK.findall(self.text))

    def fill(self, texts: Mapping[str, str]) -> str:
        """Return the teacher's user turn for one prompt, from the texts of `task` and of the marks."""
        return MARK.sub(lambda mark: texts[mark[1]], self.text)


def _solution_template(mark: str) -> Template:
    """Return the template of a worked solution; the placebo controls differ in the mark only."""
    return Template(
        "<<task>>\n\n"
        "Below is a worked solution that is known to be correct.\n"
        "=== begin reference solution ===\n"
        f"<<{mark}>>\n"
        "=== end reference solution ===\n\n"
        "Study it until you see why each step holds. Then put it aside and solve the task yourself, in "
        "your own words and at your own pace, and finish in the form that the task asks for."
    )


TEMPLATES: dict[str, Template] = {
    "reference_solution": _solution_template("solution"),
    "answer_only": Template(
        "<<task>>\n\n"
        "The final answer is known to be: <<answer>>\n\n"
        "Find the reasoning that leads there, in your own words, and finish in the form that the task "
        "asks for."
    ),
    "none": Template("<<task>>"),
    "concise": Template(
        "<<task>>\n\n"
        "Work it out in as few words as the task allows: no detours, no second look at a step that holds, "
        "and nothing said twice. Keep every step that the answer rests on."
    ),
    "reflection": Template(
        "<<task>>\n\n"
        "Below is an earlier attempt at this task.\n"
        "=== begin attempt ===\n"
        "<<attempt>>\n"
        "=== end attempt ===\n"
        "<<verdict>>\n\n"
        "Consider what it got right, where it went wrong and what it could have left out. Then put it aside "
        "and solve the task afresh, in your own words, and finish in the form that the task asks for."
    ),
    "sibling": Template(
        "<<task>>\n\n"
        "Below is an attempt at this task that arrived at the correct answer.\n"
        "=== begin correct attempt ===\n"
        "<<sibling>>\n"
        "=== end correct attempt ===\n\n"
        "Study it until you see why each step holds. Then put it aside and solve the task yourself, in "
        "your own words and at your own pace, and finish in the form that the task asks for."
    ),
    "english": Template(
        "<<task>>\n\n"
        "The same problem in English:\n"
        "<<extra_info.problem_en>>\n\n"
        "Below is a worked solution in English that is known to be correct.\n"
        "=== begin reference solution ===\n"
        "<<solution>>\n"
        "=== end reference solution ===\n\n"
        "Study it until you see why each step holds. Then put it aside and solve the task yourself, in "
        "the language in which it was asked, in your own words and at your own pace, and finish in the form "
        "that the task asks for."
    ),
    "wrong_solution": _solution_template("wrong_solution"),
    "shuffled_solution": _solution_template("shuffled_solution"),
}
"""Templates by name. A module named by `VERL_USE_EXTERNAL_MODULES` may add its own before training."""


def get_template(name: str, text: str | None = None, *, key: str = KEY) -> Template:
    """Return the template with this text, or without a text the template of this name.

    Args:
        name: `actor_rollout_ref.teacher.template`; a label if a text is given.
        text: `actor_rollout_ref.teacher.template_text`.
        key: the configuration key, for messages.

    Raises:
        ValueError: for an unknown name (lists the known ones), or an unknown mark.
    """
    if text is not None:
        check_marks(text, f"{key}_text")
        return Template(text)
    if name not in TEMPLATES:
        raise ValueError(
            f"{key}={name!r} is unknown; known templates: {', '.join(TEMPLATES)}. For a template of your own "
            f"set {KEY} to the path of a text file (./my_template.txt), or {KEY}_text to its text."
        )
    return TEMPLATES[name]


def with_template_text(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the teacher's settings with the text of a template file, which is read here only.

    The settings then hold the whole template on every machine, and the file's name stays as its label.

    Args:
        given: the keys of `actor_rollout_ref.teacher` as they were set.

    Raises:
        ValueError: for a text beside the name of another template, or a file that does not exist.
    """
    name, text = given.get("template"), given.get("template_text")
    if text is not None:
        if name in TEMPLATES:
            raise ValueError(
                f"{KEY}={name} and {KEY}_text={text!r} are two templates: set {KEY}=null, or to a name of "
                "your own."
            )
        return {**given, "template": name or "custom"}
    if name is None or name in TEMPLATES or not (name.endswith(".txt") or "/" in name):
        return dict(given)
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(
            f"{KEY}={name}: there is no such file below {Path.cwd()}. Correct the path, or choose one of "
            f"{', '.join(TEMPLATES)}."
        )
    return {**given, "template": path.name, "template_text": path.read_text(encoding="utf-8").rstrip("\n")}
