"""TIP's selection against values made apart from this package (numpy, float64, from the paper's formulas)."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.strategies import examples, raw_columns
from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.tip import Tip

ENTROPY = [0.1, 1.2, 0.02, 0.6, 0.05, 0.9]
DIVERGENCE = [0.3, 0.02, 0.5, 0.1, 0.01, 0.2]
UNION = [0.6195088205, 1.0, 1.0, 0.5849187132, 0.0254237288, 0.8443445175]
CONFIDENTLY_WRONG = [0.2796610169, 0.0, 0.5, 0.0508474576, 0.0097457627, 0.0508474576]


def columns(entropy, divergence, lengths=(4, 2)):
    """The tokens in rows of these lengths; the teacher's log-prob is lower by the divergence."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    def rows(values):
        return torch.zeros(mask.shape).masked_scatter(mask, torch.tensor(values))

    student = torch.full(mask.shape, -1.0)
    return Columns.of(
        mask,
        student_entropy=rows(entropy),
        student_log_prob=student,
        teacher_log_prob=student - rows(divergence),
    )


GOLDEN = columns(ENTROPY, DIVERGENCE)


def kept(tip, columns=GOLDEN):
    weights = tip.weights(columns, torch.ones(2, 1))[columns.response_mask]
    return weights.nonzero().flatten().tolist()


def test_over_the_vocabulary_scores_tokens_and_loss_are_the_golden_ones():
    """What the paper defines: D is the divergence itself, and the loss is its mean over the kept tokens."""
    tip, method = Tip(measure="vocabulary"), methods()["tip_divergence"]
    values = (GOLDEN.column("student_log_prob") - GOLDEN.column("teacher_log_prob")) * GOLDEN.response_mask
    full = Columns.of(
        GOLDEN.response_mask, student_entropy=GOLDEN.column("student_entropy"), divergence=values
    )
    torch.testing.assert_close(tip.scores(full), torch.tensor(UNION).double(), rtol=0, atol=1e-6)
    assert kept(tip, full) == [1, 2, 5]
    credit = method.credit(full, torch.ones(2, 1)).credit
    assert float((credit * values)[full.response_mask].mean()) == pytest.approx(0.24, abs=1e-6)
    assert method.reads == {"student_entropy", "divergence", "teacher_hidden"}
    assert method.divergence == methods()["crisp"].divergence


def test_a_divergence_that_does_not_exist_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"tip reads the divergence .* tip has none: .*measure `sampled`"):
        resolve("tip", {"tip": {"measure": "vocabulary"}}, max_response_length=4)
    with pytest.raises(ValueError, match=r"first_tokens=2 leaves tokens .* leave it unset"):
        resolve("tip_divergence", {"divergence": {"first_tokens": 2}}, max_response_length=4)
    entropy_alone = {"tip": {"score": "entropy"}, "divergence": {"first_tokens": 2}}
    assert not resolve("tip_divergence", entropy_alone, max_response_length=4).reads_divergence


def test_the_union_score_is_the_golden_one():
    torch.testing.assert_close(Tip().scores(GOLDEN), torch.tensor(UNION).double(), rtol=0, atol=1e-6)


def test_the_score_of_the_confidently_wrong_is_the_golden_one():
    scores = Tip(score="confidently_wrong").scores(GOLDEN)
    torch.testing.assert_close(scores, torch.tensor(CONFIDENTLY_WRONG).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("tip", "expected"),
    [(Tip(), [1, 2, 5]), (Tip(share=0.2), [1]), (Tip(score="entropy"), [1, 3, 5])],
    ids=["union 50 %", "union 20 %", "entropy 50 %"],
)
def test_the_golden_tokens_are_kept(tip, expected):
    assert kept(tip) == expected


def test_the_mean_loss_is_that_over_the_kept_tokens():
    weights = Tip().weights(GOLDEN, torch.ones(2, 1))[GOLDEN.response_mask]
    assert float((weights * torch.tensor(DIVERGENCE)).mean()) == pytest.approx(0.24, abs=1e-6)


def test_entropy_alone_needs_no_teacher():
    assert Tip(score="entropy").reads == {"student_entropy"}
    assert methods()["tip"].uses_teacher


def test_it_joins_the_lookahead_gate_in_the_configuration_without_any_code():
    keys = {"factors": ["ratio", "entropy_gate", "tip"], "tip": {"share": 0.2}}
    method = resolve("cl_egrsd", keys, max_response_length=8)
    columns = replace(GOLDEN, teacher_entropy=GOLDEN.student_entropy)
    advantages = torch.tensor([[0.8], [-0.5]])
    ratio, gate, tip = (factor.weights(columns, advantages) for factor in method.factors)
    assert method.keys()["window"] == 3
    assert (tip > 0).sum() == 1
    torch.testing.assert_close(method.credit(columns, advantages).credit, advantages * ratio * gate * tip)


def test_the_divergence_counts_in_both_directions():
    flipped = columns(ENTROPY, [-value for value in DIVERGENCE])
    torch.testing.assert_close(Tip().scores(flipped), Tip().scores(GOLDEN), rtol=0, atol=1e-6)


def test_among_equal_scores_the_larger_entropy_is_kept():
    """Token 0 has the largest entropy, token 1 the largest divergence: both score 1."""
    assert kept(Tip(share=0.25), columns([2.0, 0.0, 0.5, 0.5], [0.0, 3.0, 0.5, 0.5], (3, 1))) == [0]


def test_tokens_that_nothing_tells_apart_are_kept_or_dropped_together():
    assert kept(Tip(share=0.5), columns([1.0] * 4, [0.2] * 4, (3, 1))) == [0, 1, 2, 3]
    assert kept(Tip(share=0.5), columns([2.0, 1.0, 1.0, 0.0], [0.0] * 4, (3, 1))) == [0, 1, 2]


@examples
@given(st.lists(st.floats(0, 6, width=16), min_size=2, max_size=30, unique=True), st.floats(0.01, 0.99))
def test_the_share_is_kept_to_the_nearest_token_and_the_mean_weight_is_one(entropy, share):
    batch = columns(entropy, [0.0] * len(entropy), (len(entropy) - 1, 1))
    weights = Tip(share=share, score="entropy").weights(batch, torch.ones(2, 1))[batch.response_mask]
    assert int((weights > 0).sum()) == max(1, round(share * len(entropy)))
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)


@examples
@given(raw_columns(), st.sampled_from(["union", "entropy", "confidently_wrong"]))
def test_the_mean_weight_is_one_whatever_the_score(raw, score):
    columns = Columns.of(**raw)
    weights = Tip(score=score).weights(columns, torch.ones(len(columns.rewards), 1))[columns.response_mask]
    assert (weights >= 0).all()
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, True, "half"])
def test_a_share_out_of_range_names_the_key(share):
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.tip\.share=.*in \(0, 1\]"):
        Tip(share=share)


def test_an_unknown_score_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"egrsd\.tip\.score='jsd'.*union, entropy, confidently_wrong"):
        Tip(score="jsd")
