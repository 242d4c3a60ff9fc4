"""Settings of the method (`algorithm.egrsd`) and of the teacher (`actor_rollout_ref.teacher`).

One dataclass per concern, validated when built. A value that is left out (or null) takes its default,
and what a name implies (`cl_egrsd`: a lookahead) is filled in by :func:`resolve_egrsd`, so that a resolved
config shows every number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

GateControl = Literal["none", "mean_preserving", "shuffled"]
Header = Literal["own", "student"]
Overlong = Literal["error", "drop"]
OnControlTokens = Literal["error", "drop", "keep"]
Refresh = Literal["frozen", "current", "copy", "ema"]

ESTIMATORS = ("egrsd", "cl_egrsd", "rlsd")
"""Advantage estimators of this package; the other estimators of verl can serve as the direction too."""

DEFAULT_LOOKAHEAD = 3

PACE: dict[str, tuple[str, float]] = {"copy": ("every", 20), "ema": ("decay", 0.99)}
"""How fast a teacher that moves follows the student: key and default, by `refresh`."""


@dataclass(frozen=True)
class EgrsdConfig:
    """The method: direction x magnitude x confidence (docs/method.md has the equations).

    Attributes:
        max_response_length: completion cap L_max of the length-shaped reward, in tokens.
        gamma: strength of the gate, in [0, 1]; 0 switches it off.
        window: lookahead W in tokens; 0 is EGRSD, more is CL-EGRSD.
        clip: half width eps of the clip around a ratio of 1; 0 switches the magnitude off.
        floor: smallest gate, in (0, 1].
        denominator: what the entropy is divided by: "raw" (maximum of the batch), "filtered" (maximum
            after the lookahead) or a number in nats.
        min_denominator: lower bound of a measured denominator, in nats.
        denominator_group: rows per maximum; "batch" takes one maximum over the whole update batch.
        warmup_steps: training steps during which the advantage is reward - warmup_baseline.
        warmup_baseline: baseline of the warm-up.
        correct_above: an answer is correct when its score is above this.
        length_beta: weight of the length bonus in the reward of a correct answer.
        gate_control: "none", or a control: "mean_preserving" (gate / mean gate), "shuffled" (gate permuted
            within each rollout).
        seed: seed of the shuffled control.
        lock_quantile: running quantile of the normalised entropy up to which a token counts as lock.
        fork_quantile: running quantile from which a token counts as fork or pivot.
    """

    max_response_length: int
    gamma: float = 0.3
    window: int = 0
    clip: float = 0.2
    floor: float = 0.1
    denominator: str | float = "raw"
    min_denominator: float = 1.0
    denominator_group: str | int = "batch"
    warmup_steps: int = 10
    warmup_baseline: float = 0.5
    correct_above: float = 0.5
    length_beta: float = 0.5
    gate_control: GateControl = "none"
    seed: int = 0
    lock_quantile: float = 0.5
    fork_quantile: float = 0.7

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = _Checker("algorithm.egrsd", self)
        check.integer("max_response_length", minimum=1)
        check.number("gamma", lambda x: 0 <= x <= 1, "in [0, 1]; 0 switches the gate off")
        check.integer("window", minimum=0)
        check.number("clip", lambda x: 0 <= x < 1, "in [0, 1); 0 switches the magnitude off")
        check.number("floor", lambda x: 0 < x <= 1, "in (0, 1]; the gate never reaches zero")
        check.number("min_denominator", lambda x: x > 0, "positive, in nats")
        check.integer("warmup_steps", minimum=0)
        check.number("warmup_baseline", math.isfinite, "a finite number")
        check.number("correct_above", math.isfinite, "a finite number")
        check.number("length_beta", lambda x: x >= 0, "zero or more")
        check.one_of("gate_control", get_args(GateControl))
        check.integer("seed", minimum=0)
        check.number("lock_quantile", lambda x: 0 < x < 1, "in (0, 1)")
        check.number("fork_quantile", lambda x: self.lock_quantile < x < 1, "in (lock_quantile, 1)")
        if isinstance(self.denominator, str):
            check.one_of("denominator", ("raw", "filtered"), "or a positive number in nats")
        else:
            check.number(
                "denominator", lambda x: 0 < x < math.inf, 'positive, in nats, or "raw" or "filtered"'
            )
        if isinstance(self.denominator_group, str):
            check.one_of("denominator_group", ("batch",), "or a number of rows")
        else:
            check.integer("denominator_group", minimum=1)

    @property
    def uses_teacher(self) -> bool:
        """Whether ratio or gate can differ from 1; otherwise no teacher has to be scored."""
        return self.clip > 0 or self.gamma > 0


@dataclass(frozen=True)
class TeacherConfig:
    """The teacher: which weights it has, and what it is shown.

    Attributes:
        refresh: its weights. "frozen": those that training starts from. "current": the student's. "copy": the
            student's, copied after every `every`-th step. "ema": a moving average of the student's.
        every: training steps from copy to copy; with `refresh: copy` only.
        decay: share of the average that stays at each step, in (0, 1); with `refresh: ema` only.
        template: name in `verl_egrsd.teacher.templates.TEMPLATES`.
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
    enable_thinking: bool | None = None
    max_prompt_length: int = 8192
    overlong: Overlong = "error"
    header: Header = "own"
    temperature: float | None = None
    max_token_len_per_gpu: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = _Checker("actor_rollout_ref.teacher", self)
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
        check.one_of("overlong", get_args(Overlong))
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
        check = _Checker("data.checks", self)
        check.one_of("control_tokens", get_args(OnControlTokens))
        check.integer("solution_rows", minimum=0)
        check.number("solution_seconds", lambda x: x > 0, "positive, in seconds")


def resolve_egrsd(
    adv_estimator: str, given: Mapping[str, Any] | None, *, max_response_length: int
) -> EgrsdConfig:
    """Complete `algorithm.egrsd` with what the estimator's name implies.

    Args:
        adv_estimator: `algorithm.adv_estimator`; `egrsd` has window 0, `cl_egrsd` a window of at least 1
            (3 unless given), `rlsd` gamma 0. Other estimators leave all keys free.
        given: the keys that the user set; a null value counts as not set.
        max_response_length: `data.max_response_length`, in tokens.

    Raises:
        ValueError: for an unknown key, a value out of range, or one that contradicts the estimator.
    """
    values = {key: value for key, value in (given or {}).items() if value is not None}
    values.setdefault("max_response_length", max_response_length)
    if adv_estimator == "cl_egrsd":
        values.setdefault("window", DEFAULT_LOOKAHEAD)
    if adv_estimator == "rlsd":
        values.setdefault("gamma", 0.0)
    config = build(EgrsdConfig, values, "algorithm.egrsd")
    contradiction = {
        "egrsd": ("window", config.window, config.window == 0, "0; cl_egrsd is the estimator with lookahead"),
        "cl_egrsd": ("window", config.window, config.window > 0, "1 or more; egrsd has no lookahead"),
        "rlsd": ("gamma", config.gamma, config.gamma == 0, "0; egrsd is the estimator with a gate"),
    }.get(adv_estimator)
    if contradiction and not contradiction[2]:
        key, value, _, remedy = contradiction
        raise ValueError(
            f"algorithm.egrsd.{key}={value} contradicts algorithm.adv_estimator={adv_estimator}: set it to "
            f"{remedy}."
        )
    return config


def resolve_teacher(
    given: Mapping[str, Any] | None, implied: Mapping[str, Any] | None = None
) -> TeacherConfig:
    """Complete `actor_rollout_ref.teacher` with what the method implies, and then with the defaults.

    Args:
        given: the keys that the user set; a null value counts as not set.
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
    if values.get("refresh") in PACE:
        values.setdefault(*PACE[values["refresh"]])
    return build(TeacherConfig, values, "actor_rollout_ref.teacher")


Settings = TypeVar("Settings", bound="DataclassInstance")


def build(cls: type[Settings], values: Mapping[str, Any] | None, namespace: str) -> Settings:
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


class _Checker:
    """Range checks with one wording: key, value, what is allowed."""

    def __init__(self, namespace: str, settings: Any) -> None:
        self.namespace, self.settings = namespace, settings

    def integer(self, name: str, *, minimum: int) -> None:
        """Refuse what is not a whole number of at least `minimum`; True and False are none."""
        value = getattr(self.settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            self._refuse(name, value, f"a whole number of {minimum} or more")

    def number(self, name: str, allowed: Any, wording: str) -> None:
        """Refuse what is not a number, or one that `allowed` says no to; `wording` says what it must be."""
        value = getattr(self.settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not allowed(value):
            self._refuse(name, value, wording)

    def one_of(self, name: str, choices: tuple, also: str = "") -> None:
        """Refuse what is none of the choices; `also` ends the message."""
        value = getattr(self.settings, name)
        if value not in choices:
            self._refuse(name, value, f"one of {', '.join(map(str, choices))} {also}".strip())

    def _refuse(self, name: str, value: Any, wording: str) -> None:
        raise ValueError(f"{self.namespace}.{name}={value!r} is not allowed: it must be {wording}.")
