"""The memory of a GPU: what is counted against what torch and transformers say, and that a remedy is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from verl_egrsd.configs.composing import composed
from verl_egrsd.cost.memory import (
    USABLE,
    Plan,
    activation_bytes,
    host_bytes,
    misfits,
    phases,
    sequences_at_once,
)
from verl_egrsd.cost.remedy import remedied, remedy
from verl_egrsd.cost.seconds import A100, GPUS, step_seconds, update_seconds
from verl_egrsd.cost.settings import sft_plan_of
from verl_egrsd.cost.shape import KNOWN_SHAPES, QWEN3_4B, QWEN3_14B, Shape
from verl_egrsd.cost.table import fit_table, verdict
from verl_egrsd.cost.work import MeanRollout

PRODUCTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAN = Plan(
    shape=QWEN3_4B,
    memory=GPUS["a100_80gb"].memory,
    gpus=8,
    lora_rank=64,
    update_tokens=12_288,
    longest=3_072,
    score_tokens=20_000,
    rollouts=32,
    utilization=0.6,
)
plans = st.builds(
    Plan,
    shape=st.sampled_from(list(KNOWN_SHAPES.values())),
    memory=st.sampled_from([gpu.memory for gpu in GPUS.values()]),
    gpus=st.sampled_from([1, 2, 4, 8, 16]),
    lora_rank=st.sampled_from([0, 64]),
    update_tokens=st.integers(3_072, 40_000),
    longest=st.just(3_072),
    score_tokens=st.sampled_from([0, 20_000]),
    rollouts=st.just(32),
    utilization=st.sampled_from([0.3, 0.6, 0.9]),
)


def configuration(shape: Shape) -> Qwen3Config:
    return Qwen3Config(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_width,
        intermediate_size=shape.feed_forward,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
    )


@pytest.mark.parametrize("name", KNOWN_SHAPES)
def test_the_weights_of_a_known_model_are_those_that_transformers_makes(name):
    shape = KNOWN_SHAPES[name]
    with torch.device("meta"):
        model = Qwen3ForCausalLM(configuration(shape))
        whole = sum(weight.numel() for weight in model.parameters())
        adapted = get_peft_model(model, LoraConfig(r=64, target_modules=PRODUCTS))
        adapter = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert shape.weights == pytest.approx(whole, rel=1e-3)
    assert shape.adapter_weights(64) == adapter
    assert Shape.of(configuration(shape).to_dict()) == shape


@pytest.mark.parametrize(
    "facts",
    [
        {"num_experts": 8},
        {"layer_types": ["linear_attention", "full_attention"]},
        {"intermediate_size": None},
    ],
)
def test_sizes_that_are_not_counted_are_not_known(facts):
    facts = {key: value for key, value in (configuration(QWEN3_4B).to_dict() | facts).items() if value}
    assert Shape.of(facts) is None


@pytest.mark.parametrize("shape", [Shape(1, 256, 8, 2, 64, 768, 64), Shape(1, 512, 8, 4, 128, 1_024, 64)])
def test_a_layer_keeps_the_bytes_that_torch_keeps_for_its_backward_pass(shape):
    tokens, kept = 256, {}
    decoder = Qwen3ForCausalLM(configuration(shape)).to(torch.bfloat16).model
    weights = {weight.untyped_storage().data_ptr() for weight in decoder.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    hidden = torch.randn(1, tokens, shape.width, dtype=torch.bfloat16, requires_grad=True)
    turned = decoder.rotary_emb(hidden, torch.arange(tokens)[None])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = decoder.layers[0](hidden, position_embeddings=turned, attention_mask=None)
    measured = sum(storage.nbytes() for storage in kept.values()) / tokens
    assert out.shape == hidden.shape
    assert activation_bytes(shape) == pytest.approx(measured, rel=0.12)


def test_the_phases_of_the_recipe_have_the_parts_that_they_are_made_of():
    generation, scores, update = phases(PLAN)
    weights = 4 * QWEN3_4B.weights / 8
    assert generation.parts["vLLM"] == 0.6 * PLAN.memory
    assert all(phase.parts["weights"] == weights for phase in (generation, scores, update))
    assert update.parts["logits"] == 6 * QWEN3_4B.vocabulary * 12_288
    assert not misfits(PLAN)
    assert "weights" not in phases(replace(PLAN, offload=True))[0].parts
    assert [phase.name for phase in phases(replace(PLAN, score_tokens=0))] == ["generation", "update"]


@given(plans)
def test_a_remedy_makes_a_plan_fit_and_more_gpus_never_need_more(plan):
    if (found := remedied(plan)) is not None:
        words, changed = found
        assert (words == "") == (not misfits(plan))
        assert words == remedy(plan)
        assert not misfits(changed)
        assert changed.gpus % changed.tensor_parallel == 0
    doubled = replace(plan, gpus=2 * plan.gpus)
    for less, more in zip(phases(doubled), phases(plan), strict=True):
        assert less.total <= more.total


def test_what_does_not_fit_is_named_with_its_gigabytes_and_the_setting_that_mends_it():
    small = replace(PLAN, shape=QWEN3_14B, memory=GPUS["a100_40gb"].memory)
    (problem,) = misfits(small)
    assert problem == "vLLM has no room for one sequence of 3,072 tokens in its 26 GB"
    assert remedy(small) == "actor_rollout_ref.rollout.tensor_model_parallel_size=2"
    assert sequences_at_once(replace(small, tensor_parallel=2)) >= 1
    crowded = replace(PLAN, utilization=0.95)
    assert misfits(crowded)[0].startswith("generation takes 84 GB of 86")
    assert remedy(crowded) == "actor_rollout_ref.rollout.gpu_memory_utilization=0.7"
    assert remedy(replace(PLAN, shape=QWEN3_14B, gpus=1, lora_rank=0)) is None
    assert (verdict(small), verdict(crowded)) == ("t 2", "u 0.7")


def test_a_phase_may_reach_the_margin_and_no_more():
    update = phases(PLAN)[2].total
    tight = replace(PLAN, memory=update / USABLE, utilization=0.01)
    assert [problem for problem in misfits(tight) if problem.startswith("update")] == []
    assert any(p.startswith("update") for p in misfits(replace(tight, memory=0.99 * tight.memory)))


def test_host_memory_holds_sleeping_weights_or_a_reference_engine():
    assert host_bytes(PLAN, 8) == 2 * QWEN3_4B.weights * 8
    assert host_bytes(replace(PLAN, tensor_parallel=2), 8) == 2 * QWEN3_4B.weights * 4
    assert host_bytes(replace(PLAN, lora_rank=0), 8) == 4 * QWEN3_4B.weights
    assert host_bytes(replace(PLAN, hidden_bytes=5e9), 8) == host_bytes(PLAN, 8) + 5e9


def test_the_page_has_the_table_that_the_memory_model_makes():
    page = Path(__file__).parents[2] / "docs" / "hardware.md"
    assert fit_table() in page.read_text()


def supervised(*words: str) -> Plan:
    given = ["preset=sft", "base=qwen3_4b", "hardware=gpu8", *words]
    config = composed("verl_egrsd.configs.sft", "sft", given)
    return sft_plan_of(config, QWEN3_4B, GPUS["a100_80gb"].memory)


def test_supervised_training_has_an_update_alone_with_its_own_keys():
    plan = supervised("data.max_length=5000", "data.max_token_len_per_gpu=8000", "engine.fsdp_size=4")
    assert (plan.gpus, plan.lora_rank, plan.longest, plan.update_tokens) == (4, 64, 5_000, 8_000)
    (update,) = phases(plan)
    assert update.name == "update"
    assert update.parts["logits"] == 6 * QWEN3_4B.vocabulary * 8_000
    rows = supervised("data.use_dynamic_bsz=false", "data.micro_batch_size_per_gpu=3")
    assert rows.update_tokens == 60_000
    assert supervised("data.train_batch_size=8", "data.max_token_len_per_gpu=90000").update_tokens == 20_000


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ((), ""),
        (("data.max_token_len_per_gpu=80000",), "data.max_token_len_per_gpu=20000"),
        (("data.use_dynamic_bsz=false",), "data.micro_batch_size_per_gpu=1"),
        (("trainer.n_gpus_per_node=1", "model.lora_rank=0"), "model.use_fused_kernels=true"),
    ],
)
def test_a_remedy_of_supervised_training_is_one_of_its_settings_with_which_it_fits(words, change):
    assert remedy(supervised(*words)) == change
    assert misfits(supervised(*words, *change.split())) == []


def test_a_step_of_supervised_training_takes_the_update_of_its_examples():
    options = {"lora": True, "recomputed": True}
    rollout = MeanRollout(200, 0, 1_000)
    update = step_seconds(QWEN3_4B, rollout, 32, A100, lora=True)["update"]
    assert update_seconds(QWEN3_4B, [1_200, 1_200], 32, A100, **options) == pytest.approx(update)
    mixed = update_seconds(QWEN3_4B, [200, 2_200], 32, A100, **options)
    assert update < mixed < 1.1 * update  # attention is quadratic
    assert update_seconds(QWEN3_4B, [1_200], 32, A100, lora=False, recomputed=True) > 1.3 * update
