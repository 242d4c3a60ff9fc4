"""What is compared: the methods and the controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

UNTRAINED = "untrained"
WRONG, SHUFFLED = "wrong_solution", "shuffled"
STRONG_GATE = "algorithm.egrsd.gamma=1.0"
"""The small teacher's entropies are lower than a large one's: at the usual 0.3 its gate stays near 1."""
NO_CLIP = "algorithm.egrsd.divergence.clip=1e9"
"""In the small vocabulary OPSD's clip removes most of the divergence (docs/evidence)."""
LOW_RATE = "actor_rollout_ref.actor.optim.lr=5e-6"
"""A tenth of the rate of the other arms, and near those of the sources."""
SHARED, CLIPPED, CURRENT, SUPERVISED = "shared", "clipped loss", "current teacher", "supervised"
SLOW = "low rate"
"""Starts: what the processes of a run are started with. Runs of one start can follow one another on it."""
ALL = "all"
"""Stands for all arms on the command line."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: in folders and on the command line.
        title: in tables and pictures.
        overrides: Hydra overrides; empty for the model that is not trained.
        wrong_solutions: the reference solutions of the training rows are wrong ones.
        start: which start its runs need; `SUPERVISED` is another trainer, which has a start for each run.
        by_name: it is measured when it is named, and not when no arm is.
    """

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    wrong_solutions: bool = False
    start: str = SHARED
    by_name: bool = False

    @property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.overrides)


def _preset(
    name: str, title: str, *keys: str, preset: str = "", start: str = SHARED, by_name: bool = False
) -> Arm:
    return Arm(name, title, (f"+preset={preset or name}", *keys), start=start, by_name=by_name)


def _egrsd(name: str, title: str, *keys: str, wrong_solutions: bool = False, by_name: bool = False) -> Arm:
    """Return EGRSD with one thing changed."""
    return Arm(name, title, ("+preset=egrsd", STRONG_GATE, *keys), wrong_solutions, by_name=by_name)


_TEACHER = "actor_rollout_ref.teacher"
_PAPER = (
    Arm(UNTRAINED, "no training"),
    _preset("sft", "SFT, rate 2e-3", "optim.lr=2e-3", start=SUPERVISED),
    _preset("grpo", "GRPO"),
    _preset("opsd", "OPSD"),
    _preset("crisp", "CRISP"),
    _preset("direction", "direction only"),
    _preset("rlsd", "RLSD (gate off)"),
    _egrsd("egrsd", "EGRSD"),
    _preset("cl_egrsd", "CL-EGRSD", STRONG_GATE),
)
"""The table of the paper, with the two arms between GRPO and EGRSD."""
_DIVERGENCES = (
    _preset("opsd_unclipped", "OPSD, no clip", NO_CLIP, preset="opsd"),
    _preset("opsd_unclipped_gated", "OPSD, no clip, x gate", NO_CLIP, STRONG_GATE, preset="opsd_gated"),
    _preset(
        "opsd_unclipped_cl_gated",
        "OPSD, no clip, x gate with lookahead",
        *(NO_CLIP, STRONG_GATE),
        preset="opsd_cl_gated",
    ),
    _preset("opsd_unclipped_position", "OPSD, no clip, x position", NO_CLIP, preset="pw_opsd"),
    _preset("opsd_gated", "OPSD x gate", STRONG_GATE, by_name=True),
    _preset("opsd_cl_gated", "OPSD x gate with lookahead", STRONG_GATE, by_name=True),
    _preset("pw_opsd", "PW-OPSD"),
    _preset("sdpo", "SDPO"),
    _preset("eopd", "EOPD"),
    _preset("ssopd", "SSOPD"),
)
_TOKEN_WEIGHTS = (
    _preset("position", "RLSD x position"),
    _preset("tip", "RLSD x TIP"),
    _preset("student_entropy", "EGRSD, student's entropy", "algorithm.egrsd.student_entropy_gate.gamma=1.0"),
    _preset("dash", "DASH"),
)
_ROLLOUTS = (
    _preset("correct_only", "EGRSD, correct only", STRONG_GATE),
    _preset("wrong_only", "EGRSD, wrong only", STRONG_GATE),
    _preset("constant_negative", "constant negative advantage"),
)
_CONTROLS = (
    _egrsd("no_reference", "EGRSD, no reference", f"{_TEACHER}.template=none"),
    _egrsd(WRONG, "EGRSD, wrong solution", wrong_solutions=True),
    _egrsd("answer_only", "EGRSD, answer only", f"{_TEACHER}.template=answer_only"),
    _egrsd("reflection", "EGRSD, reflection", f"{_TEACHER}.template=reflection"),
    _egrsd("ema", "EGRSD, moving average", f"{_TEACHER}.refresh=ema"),
    _egrsd("copy", "EGRSD, copy", f"{_TEACHER}.refresh=copy"),
    _egrsd("mean_preserving", "EGRSD, gate / mean gate", "algorithm.egrsd.gate_control=mean_preserving"),
    _egrsd(SHUFFLED, "EGRSD, gate shuffled", "algorithm.egrsd.gate_control=shuffled"),
)
"""These change one thing about EGRSD each."""
_BY_NAME = (
    _preset("sft_low", "SFT, rate 5e-5", "optim.lr=5e-5", preset="sft", start=SUPERVISED, by_name=True),
    _preset("sft_middle", "SFT, rate 5e-4", "optim.lr=5e-4", preset="sft", start=SUPERVISED, by_name=True),
    _preset("sft_high", "SFT, rate 8e-3", "optim.lr=8e-3", preset="sft", start=SUPERVISED, by_name=True),
    _preset("crisp_low", "CRISP, rate 5e-6", LOW_RATE, preset="crisp", start=SLOW, by_name=True),
    _preset("opsd_low", "OPSD, rate 5e-6", LOW_RATE, preset="opsd", start=SLOW, by_name=True),
    _preset("sdpo_low", "SDPO, rate 5e-6", LOW_RATE, preset="sdpo", start=SLOW, by_name=True),
    _preset("pw_opsd_low", "PW-OPSD, rate 5e-6", LOW_RATE, preset="pw_opsd", start=SLOW, by_name=True),
    _preset(
        "sdpo_solution",
        "SDPO with the solution",
        *(f"{_TEACHER}.template=reference_solution", "algorithm.egrsd.factors=[]"),
        preset="sdpo",
        by_name=True,
    ),
    _egrsd("egrsd_concise", "EGRSD, concise teacher", f"{_TEACHER}.template=concise", by_name=True),
    _egrsd(
        "egrsd_other_solution",
        "EGRSD, solution of another problem",
        f"{_TEACHER}.template=wrong_solution",
        by_name=True,
    ),
    _preset("rlsd_published", "RLSD as published", start=CLIPPED, by_name=True),
    _preset("sdar", "SDAR", start=CURRENT, by_name=True),
    _preset("opsd_first_release", "OPSD, first release", by_name=True),
    _preset("paced_divergence", "PACED", by_name=True),
    _preset("tip_divergence", "TIP", by_name=True),
    _preset("ogls_sd", "OGLS-SD", by_name=True),
    _preset("opsd_sampled", "OPSD, sampled token", by_name=True),
    _preset("reopold_floor", "OPSD, sampled token, floor", by_name=True),
    _preset("paced", "OPSD, sampled token x pass rate", by_name=True),
    _preset("gates", "OPSD, sampled token x consensus", by_name=True),
    _preset("srpo_gate", "RLSD x SRPO's weight", by_name=True),
    _preset("fire_gate", "RLSD x FiRe-OPD's weight", by_name=True),
)
ARMS: dict[str, Arm] = {
    arm.name: arm for arm in (*_PAPER, *_DIVERGENCES, *_TOKEN_WEIGHTS, *_ROLLOUTS, *_CONTROLS, *_BY_NAME)
}
"""Arms by name, in the order of tables and trainings."""


class Run(NamedTuple):
    """One training: an arm and a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arm.name}-{self.seed}"


def find_arms(names: list[str]) -> list[Arm]:
    """Look arms up, in the order of the tables.

    Args:
        names: none takes those that are not `by_name`, `all` takes every arm.

    Raises:
        ValueError: for an unknown name, or when none of the arms is trained.
    """
    if unknown := {*names} - {*ARMS, ALL}:
        raise ValueError(f"arm {min(unknown)!r} is unknown; known arms: {', '.join(ARMS)}, or {ALL}.")
    wanted = {*names} or {name for name, arm in ARMS.items() if not arm.by_name}
    found = [arm for arm in ARMS.values() if arm.name in wanted or ALL in wanted]
    if not any(arm.trained for arm in found):
        raise ValueError(f"{' '.join(names)}: there is nothing to train; name another arm too.")
    return found
