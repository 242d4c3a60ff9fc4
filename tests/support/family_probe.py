"""Score tokens of many model families with the teacher's worker, without Ray, and write down the errors.

Usage: python family_probe.py TOKENIZER OUTPUT, with the checkout on PYTHONPATH (see worker_probe.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.support.worker_probe import TEMPERATURE, Rows, _stock, _teacher, _worker, rendezvous

GROUPED = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 512}
GROUPED |= {"num_attention_heads": 4, "num_key_value_heads": 2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
LINEAR |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_hidden_layers": 4}
"""Three of the four layers have linear attention."""
FAMILIES: dict[str, Callable[[], Any]] = {
    "qwen3": lambda: hf.Qwen3Config(**GROUPED, head_dim=8, tie_word_embeddings=True),
    "qwen3 untied": lambda: hf.Qwen3Config(**GROUPED, head_dim=8, tie_word_embeddings=False),
    "qwen3 moe": lambda: hf.Qwen3MoeConfig(**GROUPED, **EXPERTS, head_dim=8),
    "qwen3.5": lambda: hf.Qwen3_5TextConfig(**GROUPED | LINEAR, head_dim=8, tie_word_embeddings=False),
    "qwen3 next": lambda: hf.Qwen3NextConfig(
        **GROUPED | LINEAR, **EXPERTS, shared_expert_intermediate_size=16, head_dim=8
    ),
    "llama": lambda: hf.LlamaConfig(**GROUPED),
    "mistral": lambda: hf.MistralConfig(**GROUPED),
    "phi": lambda: hf.PhiConfig(**GROUPED),
    "gemma 2": lambda: hf.Gemma2Config(**GROUPED, head_dim=8, query_pre_attn_scalar=8),
    "gemma 3 text": lambda: hf.Gemma3TextConfig(**GROUPED, head_dim=8, query_pre_attn_scalar=8),
    "granite": lambda: hf.GraniteConfig(**GROUPED, logits_scaling=8.0),
    "cohere": lambda: hf.CohereConfig(**GROUPED, logit_scale=0.0625),
    "cohere 2": lambda: hf.Cohere2Config(**GROUPED, logit_scale=0.25),
}


def main(tokenizer: str, output: str) -> None:
    """Score each family with verl's fused head asked for, and without."""
    rendezvous(output)
    prompts, responses = _rows((9, 14)), _rows((12, 7))
    folders = {name: f"{output}.{name}".replace(" ", "_") for name in FAMILIES}
    # All of them before verl replaces the forward pass of a class.
    exact = {
        name: _exact(_saved(config(), tokenizer, folders[name]), prompts, responses)
        for name, config in FAMILIES.items()
    }
    results = {
        f"{name}, {head}": _scored(
            folder,
            (prompts, responses, exact[name]),
            f"actor_rollout_ref.model.use_fused_kernels={head == 'fused'}",
        )
        for name, folder in folders.items()
        for head in ("fused", "plain")
    }
    torch.save(results, output)


def _rows(lengths: tuple[int, ...]) -> Rows:
    draw = torch.Generator().manual_seed(lengths[0])
    return [torch.randint(0, 400, (length,), generator=draw) for length in lengths]


def _saved(config: Any, tokenizer: str, folder: str) -> Any:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases, too
    model.save_pretrained(folder)
    hf.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return model.eval()


@torch.no_grad()
def _exact(model: Any, prompts: Rows, responses: Rows) -> list[torch.Tensor]:
    rows = zip(prompts, responses, strict=True)
    return [
        (model(torch.cat(row)[None]).logits[0, len(row[0]) - 1 : -1].double() / TEMPERATURE).log_softmax(-1)
        for row in rows
    ]


def _scored(folder: str, rows: tuple[Rows, Rows, Rows], *overrides: str) -> dict[str, Any]:
    """Return the largest errors against the logits of plain transformers, nats; or the refusal."""
    prompts, responses, exact = rows
    try:
        worker = _worker(
            folder, "actor", 4, "actor_rollout_ref.model.target_modules=[q_proj,v_proj]", *overrides
        )
    except ValueError as refusal:
        return {"refusal": str(refusal)}
    student = _stock(worker.compute_log_prob, prompts, responses)
    teacher = _teacher(worker, prompts, responses, 2048)
    sampled = [row.gather(1, ids[:, None])[:, 0] for row, ids in zip(exact, responses, strict=True)]
    entropy = [-(row.exp() * row).sum(dim=-1) for row in exact]
    return {
        "response rows": worker.kernel is not None,
        "student": _error(student, sampled),
        "teacher": _error(teacher["teacher_log_prob"], sampled),
        "entropy": _error(teacher["teacher_entropy"], entropy),
    }


def _error(found: Rows, exact: Rows) -> float:
    return float((torch.cat(found).double() - torch.cat(exact)).abs().max())


if __name__ == "__main__":
    main(*(str(Path(argument)) for argument in sys.argv[1:]))
