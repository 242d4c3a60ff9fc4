"""Values that are refused name their key, themselves and what is allowed."""

import pytest
import torch

from verl_egrsd.divergences import Divergence, RowLoss


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("kind", "kl", "one of forward, reverse, jsd"),
        ("beta", 0, r"in \(0, 1\): the ends are the kinds forward and reverse"),
        ("beta", True, r"in \(0, 1\)"),
        ("clip", 0, "positive, or none"),
        ("clip", -0.05, "positive, or none"),
        ("clip", float("inf"), "positive, or none"),
        ("clip_sides", "lower", "one of upper, both"),
        ("temperature", 0, "positive and finite"),
        ("temperature", float("inf"), "positive and finite"),
        ("top_k", 0, "a whole number of 1 or more, or none for the whole vocabulary"),
        ("top_k", 2.5, "a whole number of 1 or more"),
        ("support", "both", "one of teacher, student"),
        ("tail", True, "one of bucket, dropped, renormalised, teacher_renormalised"),
    ],
)
def test_a_value_outside_its_range_is_refused(key, value, allowed):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.divergence\.{key}=.* it must be {allowed}"):
        Divergence(**{key: value})


def test_a_ratio_needs_the_log_probs_that_it_is_taken_to():
    with pytest.raises(ValueError, match=r"ratio_cap=2\.0 needs old_log_probs"):
        RowLoss(ratio_cap=2.0)


def test_weights_of_a_policy_term_need_its_advantages():
    with pytest.raises(ValueError, match="policy_weights belong to a policy term"):
        RowLoss(policy_weights=torch.ones(3))
