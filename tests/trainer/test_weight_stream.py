"""The stream of weights to the rollout engine, on models that are not sharded (tests/stack has FSDP)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from verl_egrsd.trainer import weight_stream
from verl_egrsd.trainer.rounding import UpdateShare

SMALL: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LINEAR = ["q_proj", "v_proj", "down_proj"]
MODELS = {
    "tied": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, **HEADS, tie_word_embeddings=True)),
    "untied": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, **HEADS, tie_word_embeddings=False)),
    "transposed weights": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4)),
}


def adapted(name: str, size: float = 1e-4, **lora: Any) -> Any:
    """Return a peft model over bf16 weights in float32, its update of about this size per weight."""
    torch.manual_seed(0)
    base = MODELS[name]().to(torch.bfloat16).float()
    targets = ["c_attn", "c_proj"] if name == "transposed weights" else LINEAR
    config = LoraConfig(r=4, lora_alpha=8, **({"target_modules": targets} | lora))
    model = get_peft_model(base, config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=size)
    return model


def stream(model: Any, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], UpdateShare]:
    """Return what `merged_weights` yields, and its share."""
    share = UpdateShare()
    return {name: w.clone() for name, w in weight_stream.merged_weights(model, dtype, share)}, share


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_merged_in_float32_and_have_the_checkpoints_names(name):
    model = adapted(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights, share = stream(model, torch.float32)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])  # only read
    expected = model.merge_and_unload().state_dict()
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-7)
    assert share.metrics()["egrsd/sync/update_share"] == pytest.approx(1, abs=1e-4)
    assert share.metrics()["egrsd/sync/update_error"] < 1e-3


def test_bf16_weights_are_rounded_once_and_the_rest_keeps_its_dtype():
    model = adapted("tied")
    exact, _ = stream(model, torch.float32)
    rounded, _ = stream(model, torch.bfloat16)
    for key, value in rounded.items():
        touched = key.endswith(tuple(f"{target}.weight" for target in LINEAR))
        assert value.dtype == (torch.bfloat16 if touched else torch.float32), key
        assert torch.equal(value, exact[key].to(value.dtype)), key


def test_a_small_update_vanishes_in_bf16_weights_and_survives_in_bf16_factors():
    model = adapted("tied", size=2e-6)
    _, merged = stream(model, torch.bfloat16)
    factors = UpdateShare()
    for _, layer in weight_stream.adapted_layers(model):
        down, up = (side["default"].weight.detach() for side in (layer.lora_A, layer.lora_B))
        factors.add_factors(down, up, torch.bfloat16)
    assert merged.metrics()["egrsd/sync/update_share"] < 0.3
    assert merged.metrics()["egrsd/sync/update_error"] > 0.7
    assert factors.metrics()["egrsd/sync/update_share"] == pytest.approx(1, abs=2e-3)
    assert factors.metrics()["egrsd/sync/update_error"] < 5e-3


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**31))
def test_the_share_of_factors_is_that_of_their_product(rank, rows, columns, seed):
    draw = torch.Generator().manual_seed(seed)
    up, down = torch.randn(rows, rank, generator=draw), torch.randn(rank, columns, generator=draw)
    factors, product = UpdateShare(), UpdateShare()
    factors.add_factors(down, up, torch.bfloat16)
    true = up.double() @ down.double()
    seen = up.bfloat16().double() @ down.bfloat16().double()
    product._add((seen * true).sum(), ((seen - true) ** 2).sum(), (true**2).sum())
    for name, value in product.metrics().items():
        assert factors.metrics()[name] == pytest.approx(value, abs=1e-6), name


def test_an_adapter_that_was_not_trained_yet_has_no_share():
    _, share = stream(adapted("tied", size=0), torch.bfloat16)
    assert share.metrics() == {}


@pytest.mark.parametrize(("name", "copies"), [("tied", {"lm_head.weight"}), ("untied", set())])
def test_a_tied_head_is_a_copy_with_and_without_an_adapter(name, copies):
    assert weight_stream.tied_copies(MODELS[name]()) == copies
    assert weight_stream.tied_copies(adapted(name)) == copies


def test_a_bucket_smaller_than_the_largest_weight_is_refused_with_the_size_to_set():
    model = MODELS["tied"]()
    model.resize_token_embeddings(2**14)  # 2 MiB in float32
    weight_stream.refuse_small_bucket(model, torch.float32, 2)
    with pytest.raises(ValueError, match=r"model.embed_tokens.weight takes 2 MiB.*=2 or more \(it is 1\)"):
        weight_stream.refuse_small_bucket(model, torch.float32, 1)


def test_an_adapter_that_is_no_product_of_two_matrices_is_refused_with_the_layer():
    weight_stream.refuse_unmergeable(adapted("untied"))
    for lora in ({"use_dora": True}, {"target_modules": ["embed_tokens"]}):
        with pytest.raises(
            ValueError, match=r"lora.merge=True cannot merge the adapter of base_model.*lora.merge=False"
        ):
            weight_stream.refuse_unmergeable(adapted("untied", **lora))


@pytest.mark.parametrize(
    ("name", "checkpoint", "expected"),
    [
        ("float32", torch.bfloat16, torch.float32),
        ("bfloat16", torch.float32, torch.bfloat16),
        ("half", torch.float32, torch.float16),
        ("auto", torch.float16, torch.float16),
        ("auto", torch.float32, torch.bfloat16),
        ("auto", None, torch.bfloat16),
    ],
)
def test_the_rollouts_dtype_is_the_one_that_vllm_will_take(name, checkpoint, expected):
    assert weight_stream.rollout_dtype(name, checkpoint) == expected
