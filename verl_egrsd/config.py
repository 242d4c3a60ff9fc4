"""Settings of the teacher (`actor_rollout_ref.teacher`) and of the data's checks, and how settings are built.

One dataclass per concern, validated when built. A value that is left out (or null) takes its default. The
keys of the method (`algorithm.egrsd`) are the fields of its parts, see `verl_egrsd.methods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Header = Literal["own", "student"]
_Overlong = Literal["error", "drop"]
OnControlTokens = Literal["error", "drop", "keep"]
Refresh = Literal["frozen", "current", "copy", "ema"]

PACE: dict[str, tuple[str, float]] = {"copy": ("every", 20), "ema": ("decay", 0.99)}
"""How fast a teacher that moves follows the student: key and default, by `refresh`."""
STEERING_STEPS = 50
"""Default of `steering_steps`, where there is steering."""


@dataclass(frozen=True)
class TeacherConfig:
    """The teacher: which weights it has, and what it is shown.

    Attributes:
        refresh: its weights. "frozen": those that training starts from. "current": the student's. "copy": the
            student's, copied after every `every`-th step. "ema": a moving average of the student's.
        every: training steps from copy to copy; with `refresh: copy` only.
        decay: share of the average that stays at each step, in (0, 1); with `refresh: ema` only.
        template: name in `verl_egrsd.teacher.templates.TEMPLATES`, or a label where a text is given.
        template_text: the text of a template of one's own; a template that is a file is read into it.
        without_sibling: name of the template that takes over where a correct rollout of the same prompt would
            be shown and there is none.
        steering: how strongly its logits are moved by what a correct and a wrong rollout of the prompt change
            in them (`verl_egrsd.teacher.steering`); None does not move them.
        steering_steps: training steps over which `steering` grows from 0; 1 has it from the first step on.
            With `steering` only.
        max_rollout_tokens: most tokens of a rollout that the template shows; a longer one loses its middle.
            None takes `data.max_response_length` and 64 more.
        placebo_seed: seed of the templates `wrong_solution` and `shuffled_solution`.
        enable_thinking: thinking flag of the teacher's chat template; None takes the student's flag.
        max_prompt_length: longest privileged prompt, in tokens.
        overlong: what happens to a row whose privileged prompt is longer: "error" or "drop" (listed).
        header: generation header after the privileged prompt: the teacher's "own", or the "student"'s.
        temperature: None or `rollout.temperature`; the two sides are always scored at one temperature.
        max_token_len_per_gpu: tokens per scoring micro-batch; None takes the engine's own value, raised to
            the longest possible teacher sequence.
    """

    refresh: Refresh = "frozen"
    every: int | None = None
    decay: float | None = None
    template: str = "reference_solution"
    template_text: str | None = None
    without_sibling: str = "none"
    steering: float | None = None
    steering_steps: int | None = None
    max_rollout_tokens: int | None = None
    placebo_seed: int = 0
    enable_thinking: bool | None = None
    max_prompt_length: int = 8192
    overlong: _Overlong = "error"
    header: Header = "own"
    temperature: float | None = None
    max_token_len_per_gpu: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = Checker("actor_rollout_ref.teacher", self)
        check.one_of("refresh", get_args(Refresh))
        if self.refresh == "copy":
            check.integer("every", minimum=1)
        if self.refresh == "ema":
            check.number("decay", lambda x: 0 < x < 1, "in (0, 1); refresh=current has 0, refresh=frozen 1")
        for refresh, (key, _) in PACE.items():
            value = getattr(self, key)
            if value is not None and self.refresh != refresh:
                raise ValueError(
                    f"actor_rollout_ref.teacher.{key}={value} is read with refresh={refresh} only, and "
                    f"refresh={self.refresh}: leave {key} unset, or set refresh={refresh}."
                )
        check.integer("max_prompt_length", minimum=1)
        check.integer("placebo_seed", minimum=0)
        if not isinstance(self.template_text, str | None):
            check.one_of("template_text", (None,), "or the text of a template")
        if self.steering is not None:
            check.number("steering", lambda x: x > 0, "positive; 0 in a configuration switches it off")
            check.integer("steering_steps", minimum=1)
        elif self.steering_steps is not None:
            raise ValueError(
                f"actor_rollout_ref.teacher.steering_steps={self.steering_steps} is read with steering only, "
                "which is off: leave steering_steps unset, or set steering."
            )
        if self.max_rollout_tokens is not None:
            check.integer("max_rollout_tokens", minimum=64)
        check.one_of("overlong", get_args(_Overlong))
        check.one_of("header", get_args(Header))
        if not isinstance(self.enable_thinking, bool | None):
            check.one_of("enable_thinking", (None, True, False))
        if self.temperature is not None:
            check.number("temperature", lambda x: x > 0, "positive")
        if self.max_token_len_per_gpu is not None:
            check.integer("max_token_len_per_gpu", minimum=1)

    @property
    def moves(self) -> bool:
        """Whether the teacher has weights of its own that change during the training."""
        return self.refresh in PACE

    def has_own_weights(self, lora_adapter_path: str | None) -> bool:
        """Whether its weights are held: they move, or hold an adapter that training started from."""
        return self.moves or (self.refresh == "frozen" and bool(lora_adapter_path))


@dataclass(frozen=True)
class DataChecks:
    """What becomes of doubtful rows of the data before the first rollout (`data.checks`).

    Attributes:
        control_tokens: what happens to a row whose prompt holds control tokens, such as `<|im_end|>`:
            "error", "drop" (listed), or "keep" where they are meant.
        solution_rows: training rows whose solution's answer is compared with the ground truth; 0 for none.
        solution_seconds: time after which no further row is compared.
    """

    control_tokens: OnControlTokens = "error"
    solution_rows: int = 256
    solution_seconds: float = 20.0

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = Checker("data.checks", self)
        check.one_of("control_tokens", get_args(OnControlTokens))
        check.integer("solution_rows", minimum=0)
        check.number("solution_seconds", lambda x: x > 0, "positive, in seconds")


def resolve_teacher(
    given: Mapping[str, Any] | None, implied: Mapping[str, Any] | None = None
) -> TeacherConfig:
    """Complete `actor_rollout_ref.teacher` with what the method implies, and then with the defaults.

    Args:
        given: the keys that the user set; a null value counts as not set, and `steering` 0 switches it off.
        implied: keys that the method sets. Its `every` and `decay` belong to its `refresh`: they are left out
            where the user chose another one.

    Raises:
        ValueError: for an unknown key, a value out of range, or two that contradict each other.
    """
    values = {key: value for key, value in (given or {}).items() if value is not None}
    method = dict(implied or {})
    if values.get("refresh", method.get("refresh")) != method.get("refresh"):
        method = {key: value for key, value in method.items() if key not in ("every", "decay")}
    values = method | values
    if values.get("steering") == 0:
        del values["steering"]
    if "steering" in values:
        values.setdefault("steering_steps", STEERING_STEPS)
    if values.get("refresh") in PACE:
        values.setdefault(*PACE[values["refresh"]])
    return build(TeacherConfig, values, "actor_rollout_ref.teacher")


_Settings = TypeVar("_Settings", bound="DataclassInstance")


def build(cls: type[_Settings], values: Mapping[str, Any] | None, namespace: str) -> _Settings:
    """Build a settings dataclass from a mapping, refusing unknown keys.

    Raises:
        ValueError: for an unknown key (lists the known ones), a missing one, or a value out of range.
    """
    given = {key: value for key, value in (values or {}).items() if value is not None}
    known = {field.name: field for field in fields(cls)}
    for key in given:
        if key not in known:
            raise ValueError(f"unknown key {namespace}.{key}={given[key]!r}; known keys: {', '.join(known)}.")
    for name, field in known.items():
        if field.default is field.default_factory is MISSING and name not in given:
            raise ValueError(f"{namespace}.{name} is missing: set it.")
    return cls(**given)


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


class Checker:
    """Range checks with one wording: key, value, what is allowed."""

    def __init__(self, namespace: str, settings: Any) -> None:
        self.namespace, self.settings = namespace, settings

    def integer(self, name: str, *, minimum: int, also: str = "") -> None:
        """Refuse a value that is not a whole number of at least `minimum`, and True and False.

        `also` ends the message.
        """
        value = getattr(self.settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            self._refuse(name, value, f"a whole number of {minimum} or more{also}")

    def number(self, name: str, allowed: Any, wording: str) -> None:
        """Refuse what is not a number, or one that `allowed` says no to; `wording` says what it must be."""
        value = getattr(self.settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not allowed(value):
            self._refuse(name, value, wording)

    def one_of(self, name: str, choices: tuple, also: str = "") -> None:
        """Refuse a value that is not one of the choices; `also` ends the message."""
        value = getattr(self.settings, name)
        if value not in choices:
            self._refuse(name, value, f"one of {', '.join(map(str, choices))} {also}".strip())

    def _refuse(self, name: str, value: Any, wording: str) -> None:
        raise ValueError(f"{self.namespace}.{name}={value!r} is not allowed: it must be {wording}.")
