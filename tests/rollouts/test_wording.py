"""Repetition and hesitation: against the plain definition, and blind to padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.rollouts.wording import hesitation_rate, repeated_share, wording_metrics

# Few token ids, so that n-grams come back; the largest is Qwen3's.
rollouts = st.lists(st.lists(st.sampled_from([0, 1, 2, 151_935]), max_size=30), min_size=1, max_size=5)


def padded(rows, fill=0, width=0):
    """Ids and mask of rows of different lengths."""
    width = max([width, *map(len, rows)])
    ids = torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.int64)
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    return ids.reshape(len(rows), width), mask


def by_definition(row, n):
    ngrams = [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


@settings(deadline=None)
@given(rollouts, st.integers(1, 9))
def test_repetition_is_one_minus_distinct_over_all_ngrams(rows, n):
    assert repeated_share(*padded(rows), n).tolist() == pytest.approx([by_definition(row, n) for row in rows])


@settings(deadline=None)
@given(rollouts, st.integers(1, 9), st.integers(0, 40))
def test_what_lies_in_the_padding_does_not_repeat(rows, n, extra):
    plain = repeated_share(*padded(rows), n)
    torch.testing.assert_close(repeated_share(*padded(rows, fill=2, width=30 + extra), n), plain)


def test_a_loop_repeats_nearly_everything_and_a_count_nothing():
    shares = repeated_share(*padded([[7, 8, 9] * 100, list(range(300))]))
    assert shares[0] == pytest.approx(1 - 3 / 293)
    assert shares[1] == 0


def test_hesitation_counts_whole_words_in_any_case_and_phrases_once():
    text = "Wait, 3+4 is 7. Let me\ncheck: 7 - 4 = 3. But waiting butterflies await nothing, hmm."
    words = ["wait", "but", "hmm", "let me check", "let me"]
    assert hesitation_rate([text], words) == pytest.approx(100 * 4 / len(text.split()))


def test_the_rate_is_over_all_texts_together():
    assert hesitation_rate(["wait", "a b c d e f g", ""], ["wait"]) == pytest.approx(100 / 8)
    assert hesitation_rate([""], ["wait"]) == 0


def test_a_word_with_special_characters_is_no_pattern():
    assert hesitation_rate(["a.b axb"], ["a.b"]) == pytest.approx(50)


def test_the_metrics_of_a_step_decode_real_tokens_only(tmp_path):
    tokenizer = build_small_tokenizer(tmp_path)
    texts = ["hmm 8+5=13 ok.", "12 " * 40]
    *rows, (hmm, *_) = tokenizer([*texts, "hmm"], add_special_tokens=False)["input_ids"]
    rows = [[*row, tokenizer.eos_token_id] for row in rows]
    ids, mask = padded(rows, fill=hmm)
    metrics = wording_metrics(ids, mask, tokenizer, words=["hmm"], ngram=4)
    words = sum(len(tokenizer.decode(row, skip_special_tokens=True).split()) for row in rows)
    assert metrics["egrsd/hesitation_rate"] == pytest.approx(100 / words)
    shares = [by_definition(row, 4) for row in rows]
    assert metrics["egrsd/repetition/mean"] == pytest.approx(sum(shares) / 2)
    assert metrics["egrsd/repetition/max"] == pytest.approx(max(shares))
