"""Responses in packed sequences, and batches that are cut to their first tokens."""

from __future__ import annotations

import pytest
import torch
from verl.utils import tensordict_utils as tu

from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.response_rows import cut_responses, first_tokens, packed, response_rows

PROMPTS, RESPONSES = (3, 1, 2), (5, 2, 1)


def rows(lengths, start=0):
    return [torch.arange(start, start + n) for n in lengths]


def batch():
    sequences = [torch.cat(pair) for pair in zip(rows(PROMPTS), rows(RESPONSES, 100), strict=True)]
    columns = {
        "input_ids": jagged(sequences),
        "position_ids": jagged([torch.arange(len(row)) for row in sequences]),
        "response_mask": jagged([torch.ones(n) for n in RESPONSES]),
        "advantages": jagged([torch.rand(n) for n in RESPONSES]),
        "teacher_hidden": jagged([torch.rand(min(n, 2), 4) for n in RESPONSES]),
    }
    return tu.get_tensordict(columns, non_tensor_dict={"temperature": 1.3})


def test_the_rows_of_a_response_are_those_before_its_tokens():
    sequences = batch()["input_ids"]
    found = response_rows(sequences.offsets(), torch.tensor(RESPONSES))
    assert sequences.values()[found + 1].tolist() == torch.cat(rows(RESPONSES, 100)).tolist()


def test_padded_and_packed_hidden_states_give_the_same_rows():
    hidden, mask = torch.rand(2, 3, 4), torch.tensor([[0, 1, 1], [1, 1, 1]])
    found = packed(hidden, {"attention_mask": mask})
    assert torch.equal(found, torch.cat([hidden[0, 1:], hidden[1]]))
    assert torch.equal(packed(found[None], {"attention_mask": None}), found)


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_a_cut_batch_ends_after_the_first_tokens_of_each_response(count):
    whole = batch()
    cut = cut_responses(whole, ("response_mask", "advantages", "teacher_hidden"), count)
    kept = [min(n, count) for n in RESPONSES]
    for i, length in enumerate(kept):
        assert cut["input_ids"].unbind()[i].tolist() == [*range(PROMPTS[i]), *range(100, 100 + length)]
        assert cut["position_ids"].unbind()[i].tolist() == [*range(PROMPTS[i] + length)]
        for name in ("response_mask", "advantages"):
            assert torch.equal(cut[name].unbind()[i], whole[name].unbind()[i][:length])
    assert [len(row) for row in cut["teacher_hidden"].unbind()] == [min(n, 2, count) for n in RESPONSES]
    assert cut["temperature"] == 1.3
    assert [len(row) for row in whole["advantages"].unbind()] == [*RESPONSES], "the batch itself stays"


def test_without_a_count_nothing_is_cut():
    whole = batch()
    assert cut_responses(whole, ("response_mask",), None) is whole
    assert first_tokens(whole["advantages"], None) is whole["advantages"]
