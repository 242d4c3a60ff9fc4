"""The entropy gate on the student's entropy, to test whether the gate needs the teacher's entropy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from verl_egrsd.methods.entropy_gate import EntropyGate
from verl_egrsd.methods.part import HealthCheck, Panel

SATURATION, OPEN = EntropyGate.health_checks


@dataclass(frozen=True)
class StudentEntropyGate(EntropyGate):
    """omega[i,t] = clip(1 - gamma * H_S[i,t] / max(max H_S, 1 nat), floor, 1), H_S the student's entropy.

    A control of this package for EGRSD, which reads the teacher's entropy. The keys are those of
    :class:`~verl_egrsd.methods.entropy_gate.EntropyGate`, in a section of their own.
    """

    name: ClassVar[str] = "student_entropy_gate"
    column: ClassVar[str] = "student_entropy"
    prefix: ClassVar[str] = "student_"
    panels: ClassVar[tuple[Panel, ...]] = tuple(
        Panel(f"{panel.title}, by the student's entropy", [f"student_{metric}" for metric in panel.metrics])
        for panel in EntropyGate.panels
    )
    health_checks: ClassVar[tuple[HealthCheck, ...]] = (
        replace(
            SATURATION,
            name="gate saturation, student's entropy",
            threshold="student_gate_at_floor",
            metric="student_entropy_gate/share_at_floor",
            advice=(
                "Lower algorithm.egrsd.student_entropy_gate.gamma, or raise a fixed "
                "algorithm.egrsd.student_entropy_gate.denominator."
            ),
        ),
        replace(
            OPEN,
            name="open gate, student's entropy",
            threshold="student_gate_open",
            metric="student_entropy_gate/mean",
            advice=(
                "The gate hardly acts, so this is close to rlsd: raise "
                "algorithm.egrsd.student_entropy_gate.gamma, or look whether the student is certain "
                "everywhere (egrsd/student_entropy/mean)."
            ),
        ),
    )
