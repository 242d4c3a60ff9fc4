"""What is compared: the methods, the controls, and the questions that they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

UNTRAINED = "untrained"
WRONG, SHUFFLED = "wrong_solution", "shuffled"
STRONG_GATE = "algorithm.egrsd.gamma=1.0"
"""The small teacher's entropies are lower than a large one's: at the usual 0.3 its gate stays near 1."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: in folders and on the command line.
        title: in tables and pictures.
        overrides: Hydra overrides; empty for the model that is not trained.
        wrong_solutions: the reference solutions of the training rows are wrong ones.
    """

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    wrong_solutions: bool = False

    @property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.overrides)


_EGRSD = ("+preset=egrsd", STRONG_GATE)
ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(UNTRAINED, "no training"),
        Arm("direction", "direction only", ("+preset=direction",)),
        Arm("grpo", "GRPO", ("+preset=grpo",)),
        Arm("rlsd", "RLSD (gate off)", ("+preset=rlsd",)),
        Arm("egrsd", "EGRSD", _EGRSD),
        Arm("cl_egrsd", "CL-EGRSD", ("+preset=cl_egrsd", STRONG_GATE)),
        Arm("no_reference", "EGRSD, no reference", (*_EGRSD, "actor_rollout_ref.teacher.template=none")),
        Arm(WRONG, "EGRSD, wrong solution", _EGRSD, wrong_solutions=True),
        Arm("answer_only", "EGRSD, answer only", (*_EGRSD, "actor_rollout_ref.teacher.template=answer_only")),
        Arm(
            "mean_preserving",
            "EGRSD, gate / mean gate",
            (*_EGRSD, "algorithm.egrsd.gate_control=mean_preserving"),
        ),
        Arm(SHUFFLED, "EGRSD, gate shuffled", (*_EGRSD, "algorithm.egrsd.gate_control=shuffled")),
    )
}
"""Arms by name, in the order of the tables. The controls change one thing about EGRSD each."""


class Question(NamedTuple):
    """A comparison of two arms, and the question that it answers."""

    arm: str
    other: str
    asks: str


QUESTIONS = (
    Question("direction", UNTRAINED, "Does the outcome reward alone train anything?"),
    Question("grpo", "direction", "Does a baseline per prompt do better than the running one?"),
    Question("rlsd", "direction", "What does the likelihood ratio add to the direction?"),
    Question("egrsd", "rlsd", "What does the gate change?"),
    Question("cl_egrsd", "egrsd", "What does the lookahead give back?"),
    Question("cl_egrsd", "grpo", "Is the whole method better than GRPO?"),
    Question("no_reference", "egrsd", "Is it the reference that matters?"),
    Question(WRONG, "egrsd", "Must the reference be right?"),
    Question("answer_only", "egrsd", "Would the final answer do in place of the solution?"),
    Question("mean_preserving", "egrsd", "Is it the gate's shape, or that it shrinks the update?"),
    Question(SHUFFLED, "egrsd", "Does it matter where the gate is low?"),
)
"""The questions of the page, in order."""


class Run(NamedTuple):
    """One training: an arm and a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arm.name}-{self.seed}"


def find_arms(names: list[str]) -> list[Arm]:
    """Look arms up, in the order of the tables; no name means all.

    Raises:
        ValueError: for an unknown name, or when none of the arms is trained.
    """
    if unknown := set(names) - ARMS.keys():
        raise ValueError(f"arm {min(unknown)!r} is unknown; known arms: {', '.join(ARMS)}.")
    found = [arm for arm in ARMS.values() if not names or arm.name in names]
    if not any(arm.trained for arm in found):
        raise ValueError(f"{' '.join(names)}: there is nothing to train; name another arm too.")
    return found
