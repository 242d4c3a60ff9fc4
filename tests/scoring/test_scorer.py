"""The head's sums: exact over the whole vocabulary, whatever the blocks, the shards and the logits."""

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from verl_egrsd.scoring import scorer
from verl_egrsd.scoring.scorer import PartialScores, partial_scores, score_tokens

ROWS, WIDTH, VOCABULARY = 7, 24, 5_003
"""A vocabulary that is no multiple of a block."""


def inputs(scale: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, head and ids; the logits have about this scale and this shift."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(ROWS, WIDTH, generator=draw)
    weight = torch.randn(VOCABULARY, WIDTH, generator=draw) * scale / WIDTH**0.5
    hidden[:, 0], weight[:, 0] = 1.0, shift
    return hidden, weight, torch.randint(VOCABULARY, (ROWS,), generator=draw)


def expected(logits: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The textbook way, in float64."""
    log_probs = logits.double().log_softmax(dim=1)
    entropy = torch.special.entr(log_probs.exp()).sum(dim=1)
    return log_probs.gather(1, token_ids.unsqueeze(1)).squeeze(1), entropy


LOGITS = {
    "flat": (0.0, 0.0),
    "usual": (3.0, 0.0),
    "peaked": (30.0, 0.0),
    "all negative": (3.0, -60.0),
    "very large": (3.0, 2e4),
}


@pytest.mark.parametrize(("scale", "shift"), LOGITS.values(), ids=LOGITS)
@pytest.mark.parametrize("temperature", [1.0, 0.7, 3.0])
def test_scores_equal_those_of_float64_logits(scale, shift, temperature):
    hidden, weight, token_ids = inputs(scale, shift)
    logits = hidden.double() @ weight.double().T / temperature
    largest = float(logits.abs().max())
    allowed = 1e-5 if largest <= 30 else 1e-6 * largest
    found = score_tokens(hidden, weight, token_ids, temperature=temperature)
    for value, right in zip(found, expected(logits, token_ids), strict=True):
        assert value.dtype == torch.float32
        assert (value - right).abs().max() <= allowed


def test_a_flat_distribution_has_the_entropy_of_the_vocabulary_and_a_certain_one_none():
    hidden, weight, token_ids = inputs(scale=0.0)
    log_prob, entropy = score_tokens(hidden, weight, token_ids)
    assert torch.allclose(entropy, torch.tensor(VOCABULARY).log().expand(ROWS), atol=1e-5)
    assert torch.allclose(log_prob, -entropy, atol=1e-5)
    bias = torch.zeros(VOCABULARY)
    bias[4_999] = 200.0
    log_prob, entropy = score_tokens(hidden, weight, torch.full((ROWS,), 4_999), bias=bias)
    assert torch.equal(entropy, torch.zeros(ROWS))
    assert torch.equal(log_prob, torch.zeros(ROWS))


def test_a_bias_belongs_to_the_logits():
    hidden, weight, token_ids = inputs(3.0)
    bias = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(1))
    found = score_tokens(hidden, weight, token_ids, temperature=2.0, bias=bias)
    right = expected((hidden @ weight.T + bias) / 2.0, token_ids)
    assert all(torch.allclose(value.double(), r, atol=1e-5) for value, r in zip(found, right, strict=True))


def test_bfloat16_weights_differ_from_their_own_product_by_reductions_only(monkeypatch):
    monkeypatch.setattr(scorer, "_has_units", lambda kind: True)
    hidden, weight, token_ids = (t.bfloat16() if t.is_floating_point() else t for t in inputs(3.0))
    found = score_tokens(hidden, weight, token_ids)
    right = expected((hidden @ weight.T).float(), token_ids)
    for value, r in zip(found, right, strict=True):
        assert value.dtype == torch.float32
        assert torch.allclose(value.double(), r, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_processor_without_units_for_half_precision_multiplies_in_float32(monkeypatch, dtype):
    asked = []
    monkeypatch.setattr(scorer, "_has_units", lambda kind: bool(asked.append(kind)))
    hidden, weight, token_ids = (t.to(dtype) if t.is_floating_point() else t for t in inputs(3.0))
    found = score_tokens(hidden, weight, token_ids)
    assert set(asked) == {{torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]}
    right = expected(hidden.double() @ weight.double().T, token_ids)
    assert all(torch.allclose(value.double(), r, atol=1e-5) for value, r in zip(found, right, strict=True))


@pytest.mark.parametrize(
    ("capabilities", "bfloat16", "float16"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False, "f16c": True}, False, False),
        ({"avx512_bf16": True, "avx512_fp16": False, "cpu_name": "bf16"}, True, False),
        ({"avx512_bf16": False, "amx_bf16": True, "amx_fp16": True}, True, True),
        ({"bf16": True, "fp16_arith": True, "architecture": "aarch64"}, True, True),
    ],
    ids=["neither", "bf16", "amx", "arm"],
)
def test_the_product_is_in_half_precision_where_the_processor_has_units_for_it(
    monkeypatch, capabilities, bfloat16, float16
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    for dtype, has_units in ((torch.bfloat16, bfloat16), (torch.float16, float16)):
        found = scorer.product_dtype(torch.zeros(1, 1, dtype=dtype))
        assert found == (dtype if has_units else torch.float32)


def test_a_torch_that_cannot_name_the_units_multiplies_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert scorer.product_dtype(torch.zeros(1, 1, dtype=torch.bfloat16)) == torch.float32
    assert scorer.product_dtype(torch.zeros(1, 1)) == torch.float32


def test_an_enclosing_autocast_does_not_round_the_product():
    hidden, weight, token_ids = inputs(3.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = score_tokens(hidden, weight, token_ids)
    assert all(
        torch.equal(a, b) for a, b in zip(inside, score_tokens(hidden, weight, token_ids), strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 8), columns=st.integers(1, VOCABULARY + 1), scale=st.floats(0.0, 40.0))
def test_blocks_of_any_size_give_the_same(rows, columns, scale):
    hidden, weight, token_ids = inputs(scale)
    whole = score_tokens(hidden, weight, token_ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "BLOCK_ROWS", rows)
        patch.setattr(scorer, "BLOCK_COLUMNS", max(columns, 97))
        blocked = score_tokens(hidden, weight, token_ids)
    assert all(torch.allclose(a, b, atol=2e-5, rtol=2e-6) for a, b in zip(whole, blocked, strict=True))


def merged_over_ranks(rank: int, store: str, results: str) -> None:
    """One rank of two: score its shard, gather the sums of both, merge, and note the outcome."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    hidden, weight, token_ids = inputs(3.0)
    bounds = ((0, 3_000), (3_000, VOCABULARY))[rank]
    mine = partial_scores(hidden, weight[slice(*bounds)], token_ids, first_id=bounds[0])
    fields = torch.stack([mine.maximum, mine.total, mine.weighted, mine.chosen])
    gathered = [torch.empty_like(fields) for _ in range(2)]
    torch.distributed.all_gather(gathered, fields)
    first, second = (PartialScores(*part) for part in gathered)
    torch.save(first.merge(second).scores(), f"{results}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_shards_of_the_vocabulary_on_two_ranks_merge_to_the_whole(tmp_path):
    mp.spawn(merged_over_ranks, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    whole = score_tokens(*inputs(3.0))
    for rank in range(2):
        merged = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(merged, whole, strict=True))


def test_no_gradient_is_kept():
    hidden, weight, token_ids = inputs()
    assert not score_tokens(hidden.requires_grad_(), weight, token_ids)[0].requires_grad


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"token_ids": torch.full((ROWS,), VOCABULARY)}, rf"\[0, {VOCABULARY}\)"),
        ({"token_ids": torch.full((ROWS,), -1)}, "from -1"),
        ({"token_ids": torch.zeros(ROWS + 1, dtype=torch.long)}, r"token_ids \(8,\)"),
        ({"bias": torch.zeros(3)}, r"bias \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    hidden, weight, token_ids = inputs()
    arguments = {"hidden": hidden, "weight": weight, "token_ids": token_ids} | changed
    with pytest.raises(ValueError, match=message):
        score_tokens(**arguments)
