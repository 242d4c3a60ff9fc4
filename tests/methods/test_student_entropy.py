"""The student's entropy in place of the teacher's: the same gate, another column, names of its own."""

import pytest
import torch

from verl_egrsd.methods import Columns, EntropyGate, methods, resolve
from verl_egrsd.methods.student_entropy import StudentEntropyGate

MASK = torch.arange(4) < torch.tensor([[4], [3]])
ENTROPY = torch.tensor([[0.1, 1.8, 0.05, 2.0], [2.4, 2.2, 0.3, 0.0]])
ADVANTAGES = torch.tensor([[0.8], [-0.5]])


@pytest.mark.parametrize("keys", [{}, {"gamma": 1.0, "window": 2}, {"denominator": 3.0, "floor": 0.5}])
def test_it_is_the_entropy_gate_on_another_column(keys):
    teachers = EntropyGate(**keys).weights(Columns.of(MASK, teacher_entropy=ENTROPY), ADVANTAGES)
    students = StudentEntropyGate(**keys).weights(Columns.of(MASK, student_entropy=ENTROPY), ADVANTAGES)
    assert torch.equal(students, teachers)


def test_the_golden_gates():
    """1 - 0.3 H / 2.4 in the two rows."""
    gate = StudentEntropyGate().weights(Columns.of(MASK, student_entropy=ENTROPY), ADVANTAGES)
    expected = torch.tensor([[0.9875, 0.775, 0.99375, 0.75], [0.7, 0.725, 0.9625, 0.0]])
    torch.testing.assert_close(gate, expected)


def test_its_keys_stand_in_a_section_of_their_own():
    method = resolve("student_entropy", {"student_entropy_gate": {"gamma": 0.7}}, max_response_length=8)
    (gate,) = (factor for factor in method.factors if isinstance(factor, StudentEntropyGate))
    assert gate.gamma == 0.7
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.student_entropy_gate\.gamma=2"):
        resolve("student_entropy", {"student_entropy_gate": {"gamma": 2}}, max_response_length=8)


def test_no_name_of_a_metric_or_check_is_that_of_the_teachers_gate():
    def names(gate):
        panels = [text for panel in gate.panels for text in (panel.title, *panel.metrics)]
        checks = [
            text for check in gate.health_checks for text in (check.name, check.metric, check.threshold)
        ]
        return {*panels, *checks}

    assert len(names(StudentEntropyGate())) == len(names(EntropyGate()))
    assert names(StudentEntropyGate()).isdisjoint(names(EntropyGate()))


def test_both_gates_may_be_used_together_and_report_apart():
    columns = Columns.of(MASK, student_entropy=ENTROPY, teacher_entropy=torch.ones(2, 4))
    teachers = EntropyGate().tracker().update(columns)
    students = StudentEntropyGate().tracker().update(columns)
    assert set(students) == {f"student_{name}" for name in teachers}
    assert students["student_regime/lock"] != teachers["regime/lock"]


def test_the_method_reads_the_teachers_likelihood_and_not_its_entropy():
    assert methods()["student_entropy"].reads == {"student_entropy", "student_log_prob", "teacher_log_prob"}


def test_the_views_of_both_gates_stand_side_by_side():
    columns = Columns.of(MASK, student_entropy=ENTROPY, teacher_entropy=torch.ones(2, 4))
    views = {}
    for gate in (EntropyGate(), StudentEntropyGate()):
        tracker = gate.tracker()
        tracker.update(columns)
        views |= tracker.views(columns)
    names = ("lookahead", "gate_plain", "gate_lookahead", "regime")
    assert set(views) == {f"{prefix}{name}" for prefix in ("", "student_") for name in names}
    assert not torch.equal(views["gate_plain"], views["student_gate_plain"])
