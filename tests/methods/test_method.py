import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import credit as benchmark
from tests.credit.strategies import Batch, batches, examples, windows
from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import Columns, EntropyGate, Method, Ratio, methods

CONTROLS = st.sampled_from(["none", "mean_preserving", "shuffled"])


def credit_of(batch: Batch, **options):
    gate = EntropyGate(**{"gamma": 0.7, **options})
    return Method("example", "", (Ratio(), gate)).credit(batch.columns(), batch.advantages)


def arrays(found):
    return [found.credit, found.advantages, *found.weights.values()]


def small_batch() -> Batch:
    return Batch(
        advantages=torch.tensor([[1.0], [-0.5]]),
        teacher_log_prob=torch.tensor([[-0.5, -1.0, -2.0], [-0.25, -1.5, -1.0]]),
        student_log_prob=torch.tensor([[-0.75, -1.0, -1.0], [-0.5, -1.25, -1.0]]),
        teacher_entropy=torch.tensor([[0.5, 2.0, 1.0], [3.0, 0.25, 0.0]]),
        response_mask=torch.tensor([[1, 1, 1], [1, 1, 0]]).bool(),
    )


@examples
@given(
    batches(),
    windows,
    CONTROLS,
    st.sampled_from(["raw", "filtered", 2.0]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30, -7.0]),
)
def test_nothing_in_the_padding_changes_the_credit(batch, window, control, denominator, junk):
    options = {"window": window, "gate_control": control, "denominator": denominator}
    clean = credit_of(batch, **options)
    dirty = credit_of(batch.with_padding(junk), **options)
    for one, other in zip(arrays(clean), arrays(dirty), strict=True):
        assert torch.equal(one, other)
        assert other.isfinite().all()
        assert (other[~batch.response_mask] == 0).all()


@examples
@given(batches(), windows)
def test_the_credit_never_turns_the_advantage_around(batch, window):
    mask = batch.response_mask
    credit = credit_of(batch, window=window).credit
    assert torch.equal(credit.sign()[mask], batch.advantages.sign().expand_as(credit)[mask])


def test_the_result_is_detached_float32_even_from_inputs_with_gradients():
    batch = small_batch()
    for value in (batch.advantages, batch.teacher_log_prob, batch.student_log_prob, batch.teacher_entropy):
        value.requires_grad_()
    for value in arrays(credit_of(batch)):
        assert not value.requires_grad
        assert value.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_give_the_same_credit(dtype):
    batch = small_batch()
    expected = credit_of(batch, window=1)
    values = {name: value.to(dtype) for name, value in vars(batch).items()}
    result = credit_of(Batch(**values | {"response_mask": batch.response_mask}), window=1)
    assert result.credit.dtype == torch.float32
    torch.testing.assert_close(result.credit, expected.credit)


def test_each_column_may_have_a_precision_of_its_own():
    batch = small_batch()
    expected = credit_of(batch, window=1)
    batch.teacher_log_prob = batch.teacher_log_prob.double()
    batch.student_log_prob = batch.student_log_prob.bfloat16()
    batch.advantages = batch.advantages.double()
    result = credit_of(batch, window=1)
    assert {value.dtype for value in arrays(result)} == {torch.float32}
    torch.testing.assert_close(result.credit, expected.credit)


def test_a_row_without_response_tokens_leaves_the_other_rows_alone():
    batch = small_batch()
    expected = credit_of(batch.rows(0, 1)).credit
    batch.response_mask[1] = False
    credit = credit_of(batch).credit
    assert torch.equal(credit[:1], expected)
    assert not credit[1].any()


def test_one_position_and_a_window_beyond_it_work():
    batch = small_batch()
    single = Batch(**{name: value[:, :1] for name, value in vars(batch).items()})
    result = credit_of(single, window=50)
    torch.testing.assert_close(result.weights["entropy_gate"], torch.tensor([[1 - 0.7 * 0.5 / 3], [1 - 0.7]]))


def test_advantages_per_token_equal_advantages_per_row():
    batch = small_batch()
    expected = credit_of(batch).credit
    batch.advantages = batch.advantages.repeat(1, 3)
    batch.advantages[1, 2] = float("nan")
    assert torch.equal(credit_of(batch).credit, expected)


@pytest.mark.parametrize("name", ["advantages", "teacher_log_prob", "student_log_prob", "teacher_entropy"])
def test_a_value_that_is_not_finite_on_a_response_token_is_refused_with_its_place(name):
    batch = small_batch()
    getattr(batch, name)[1, 0] = float("nan")
    with pytest.raises(ValueError, match=rf"^{name} is nan at row 1, position 0"):
        credit_of(batch)


def test_a_tensor_of_another_shape_is_refused_by_name():
    batch = small_batch()
    batch.student_log_prob = batch.student_log_prob[:, :2]
    with pytest.raises(ValueError, match=r"student_log_prob has shape \(2, 2\)|student_log_prob .* \(2, 2\)"):
        credit_of(batch)


def test_the_gradient_flows_through_the_log_probability_only():
    batch = small_batch()
    credit = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]], requires_grad=True)
    log_prob = batch.student_log_prob.clone().requires_grad_()
    policy_loss(log_prob, credit, batch.response_mask).backward()
    assert credit.grad is None
    torch.testing.assert_close(log_prob.grad, torch.tensor([[-0.2, -0.4, -0.6], [0.2, 0.4, 0.0]]))


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), -float("inf")])
def test_padding_reaches_neither_loss_nor_gradient(junk):
    batch = small_batch()
    log_prob, credit = batch.student_log_prob.clone(), torch.ones(2, 3)
    expected = policy_loss(log_prob, credit, batch.response_mask)
    log_prob[1, 2] = credit[1, 2] = junk
    log_prob.requires_grad_()
    loss = policy_loss(log_prob, credit, batch.response_mask)
    loss.backward()
    assert torch.equal(loss.detach(), expected)
    assert log_prob.grad.isfinite().all()
    assert log_prob.grad[1, 2] == 0


def test_half_precision_log_probabilities_give_a_float32_loss():
    batch = small_batch()
    log_prob = batch.student_log_prob.bfloat16()
    loss = policy_loss(log_prob, torch.ones(2, 3), batch.response_mask)
    torch.testing.assert_close(loss, torch.tensor(0.9))


def test_a_loss_without_response_tokens_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) marks no response token: drop empty batches"):
        policy_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))


def test_importing_the_mathematics_imports_neither_verl_nor_ray():
    code = "import sys, verl_egrsd.methods; print({'verl', 'ray', 'vllm', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_advantages_of_another_shape_are_refused_with_both_shapes():
    batch = small_batch()
    with pytest.raises(ValueError, match=r"advantages has shape \(2,\): .* \(2, 1\) or per token \(2, 3\)"):
        Method("example", "").credit(batch.columns(), torch.ones(2))


def test_a_method_reads_what_its_factors_that_are_on_read():
    method = Method("example", "", (Ratio(), EntropyGate()))
    assert method.reads == {"student_log_prob", "teacher_log_prob", "teacher_entropy"}
    assert method.uses_teacher
    without_gate = Method("example", "", (Ratio(), EntropyGate(gamma=0.0)))
    assert without_gate.reads == {"student_log_prob", "teacher_log_prob"}
    nothing = Method("example", "", (Ratio(0.0), EntropyGate(gamma=0.0)))
    assert not nothing.reads
    assert not nothing.uses_teacher
    assert nothing.active == ()


def test_a_column_that_a_factor_does_not_name_is_not_there():
    columns = Columns.of(torch.ones(1, 2), teacher_entropy=torch.ones(1, 2))
    with pytest.raises(KeyError, match="student_entropy was not fetched: name it in the factor's `reads`"):
        columns.column("student_entropy")


def test_the_benchmark_of_the_credit_measures_every_method():
    assert benchmark.measure(rows=benchmark.GROUP * 2, tokens=8, rounds=1).keys() == {"copy", *methods()}
