"""Training and evaluation judge a response by one rule, whatever the chat template puts before it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from transformers import AddedToken, AutoTokenizer
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.evaluation.prompts import PromptRenderer
from verl_egrsd.reward import (
    VerdictPool,
    compute_score,
    final_answer,
    opens_reasoning,
    warn_of_hidden_marks,
)
from verl_egrsd.reward.reasoning import PAIRS
from verl_egrsd.trainer.dataset import PrivilegedDataset

TURNS = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
)
THINKING_OFF = "'<think>\\n\\n</think>\\n\\n'"


class Header(NamedTuple):
    """A generation header in Jinja, and whether it opens the reasoning with thinking on, and with it off."""

    text: str
    on: bool
    off: bool


HEADERS = {
    "no mark (Qwen2.5)": Header("''", False, False),
    "closed when off (Qwen3)": Header(f"'' if enable_thinking else {THINKING_OFF}", False, False),
    "always open (R1 distillates, Qwen3-Thinking-2507, QwQ)": Header("'<think>\\n'", True, True),
    "open or closed (Qwen3.5, EXAONE 4)": Header(
        f"'<think>\\n' if enable_thinking else {THINKING_OFF}", True, False
    ),
    "open, or closed without an opening (DeepSeek V3.1)": Header(
        "'<think>' if enable_thinking else '</think>'", True, False
    ),
    "open and begun": Header("'<think>\\nOkay, the user asks'", True, True),
    "another mark (EXAONE Deep)": Header("'<thought>\\n'", True, True),
}
RESPONSES = {
    "so \\boxed{5}": ("no_answer", "correct"),
    "so \\boxed{5}, but wait": ("no_answer", "correct"),
    "it is 6: \\boxed{6}</think>so \\boxed{5}": ("correct", "correct"),
    "\\boxed{5}</think>so \\boxed{6}": ("wrong", "wrong"),
    "<think>so \\boxed{5}": ("no_answer", "no_answer"),
    "<think>hm</think>\\boxed{5}": ("correct", "correct"),
    "#### 5": ("no_answer", "correct"),
    "": ("no_answer", "no_answer"),
}
"""Verdicts where the prompt opens the reasoning, and where it does not; the ground truth is 5."""
TALK = "What is 2+3? Think between <think> and"
"""A problem that names an opening mark and no closing one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_small_tokenizer(folder).save_pretrained(folder)
    return folder


def use_header(folder, header: str) -> None:
    template = (
        TURNS
        + "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + ("
        + header
        + ") }}{%- endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)


def dataset(
    folder, conversations: list[list[dict]], thinking: bool, training: bool = True
) -> PrivilegedDataset:
    rows = [
        {
            "data_source": "sums",
            "prompt": messages,
            "reward_model": {"ground_truth": "5"},
            "extra_info": {"index": i, "solution": "2+3=5"},
        }
        for i, messages in enumerate(conversations)
    ]
    path = folder / "rows.parquet"
    pd.DataFrame(rows).to_parquet(path)
    config = {
        "train_files": str(path) if training else "another.parquet",
        "cache_dir": str(folder / "cache"),
        "max_prompt_length": 512,
        "apply_chat_template_kwargs": {"enable_thinking": thinking},
        "egrsd_teacher": {"template": "reference_solution", "max_prompt_length": 1024},
    }
    return PrivilegedDataset([str(path)], AutoTokenizer.from_pretrained(folder), OmegaConf.create(config))


def scored_in_training(row: dict[str, Any], response: str, tokenizer: Any, manager: str) -> dict[str, Any]:
    """Judge a response as verl's reward worker does: ids in, decoded there, the row's columns beside them."""
    ids = torch.tensor(tokenizer(response + tokenizer.eos_token, add_special_tokens=False)["input_ids"])
    batch = {"responses": ids, "attention_mask": torch.ones(4 + len(ids), dtype=torch.int64)}
    columns = {name: np.array([row[name]]) for name in ("data_source", "reward_model", "extra_info")}
    columns["tool_extra_fields"] = np.array([{}], dtype=object)
    data = DataProto(
        batch=TensorDict({name: column.unsqueeze(0) for name, column in batch.items()}, batch_size=1),
        non_tensor_batch=columns,
    )
    config = OmegaConf.create({"reward": {}, "trainer": {"experiment_name": "parity"}})
    judge = get_reward_manager_cls(manager)(config, tokenizer, compute_score)
    return judge.loop.run_until_complete(judge.run_single(data))["reward_extra_info"]


@pytest.fixture
def event_loop_of_this_thread():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("header", HEADERS)
def test_training_and_evaluation_give_one_verdict(folder, header, thinking, event_loop_of_this_thread):
    use_header(folder, HEADERS[header].text)
    opened = HEADERS[header].on if thinking else HEADERS[header].off
    messages = [{"role": "user", "content": "What is 2+3?"}]
    for training in (True, False):
        row = dataset(folder, [messages], thinking, training)[0]
        prompt = PromptRenderer(folder, thinking=thinking)(Problem("p", 0, messages, "7"))
        assert row["extra_info"]["prompt_opens_reasoning"] is prompt.inside_reasoning is opened
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with VerdictPool(1) as pool:
        for response, verdicts in RESPONSES.items():
            expected = verdicts[0] if opened else verdicts[1]
            evaluated = pool.verify_one(response, "5", inside_reasoning=prompt.inside_reasoning)
            trained = scored_in_training(row, response, tokenizer, "naive")
            assert evaluated.reason == expected, response
            assert trained[expected] == 1.0, (response, trained)
            assert trained["pred"] == evaluated.extracted


@pytest.mark.parametrize("manager", ["naive", "dapo", "gdpo"])
def test_each_reward_manager_of_verl_hands_the_flag_on(folder, manager, event_loop_of_this_thread):
    use_header(folder, HEADERS["open or closed (Qwen3.5, EXAONE 4)"].text)
    messages = [{"role": "user", "content": "What is 2+3?"}]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for thinking, reason in ((True, "no_answer"), (False, "correct")):
        row = dataset(folder, [messages], thinking)[0]
        assert scored_in_training(row, "so \\boxed{5}", tokenizer, manager)[reason] == 1.0


def test_each_row_is_rendered_for_itself(folder):
    """SmolLM3, Nemotron: `/no_think` in the system prompt closes the reasoning of that conversation alone."""
    no_think = "messages[0].role == 'system' and '/no_think' in messages[0].content"
    use_header(folder, f"{THINKING_OFF} if {no_think} else '<think>\\n'")
    question = {"role": "user", "content": "What is 2+3?"}
    conversations = [[question], [{"role": "system", "content": "Be brief. /no_think"}, question]]
    rows = dataset(folder, conversations, thinking=True)
    assert [row["extra_info"]["prompt_opens_reasoning"] for row in rows] == [True, False]


@pytest.mark.parametrize(("header", "opened"), [("''", False), (THINKING_OFF, False), ("'<think>\\n'", True)])
def test_marks_inside_a_problem_open_nothing(folder, header, opened):
    use_header(folder, header)
    system = {"role": "system", "content": "Begin with <think>."}
    messages = [system, {"role": "user", "content": TALK}]
    row = dataset(folder, [messages], thinking=True)[0]
    assert row["extra_info"]["prompt_opens_reasoning"] is opened
    prompt = PromptRenderer(folder, thinking=True)(Problem("p", 0, messages, "7"))
    assert prompt.inside_reasoning is opened


def test_a_prompt_that_the_data_writes_to_its_end_may_open_the_reasoning():
    assert opens_reasoning("User: 2+3? Assistant: <think>\n", "User: 2+3? Assistant: <think>\n")
    assert not opens_reasoning("User: 2+3? Assistant:", "User: 2+3? Assistant:")
    assert opens_reasoning("<think>", "")


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_an_answer_counts_after_the_reasoning_of_each_family(opening, closing):
    assert opens_reasoning(f"<user>2+3?<assistant>{opening}\n", "2+3?")
    assert not opens_reasoning(f"<user>2+3?<assistant>{opening}\n\n{closing}", "2+3?")
    assert final_answer(f"{opening}\\boxed{{4}}{closing}\\boxed{{5}}") == "5"
    assert final_answer(f"{opening}\\boxed{{4}}") == ""
    assert final_answer(f"\\boxed{{4}}{closing}\\boxed{{5}}", inside_reasoning=True) == "5"
    assert final_answer("\\boxed{4}", inside_reasoning=True) == ""
    assert final_answer("\\boxed{4}", inside_reasoning=True, reasoning_counts=True) == "4"


@pytest.mark.parametrize("extra_info", [None, {}, {"index": 3}, json.dumps({"index": 3})])
def test_a_row_of_another_data_set_is_judged_without_the_flag(extra_info):
    assert compute_score("any", "so \\boxed{5}", "5", extra_info)["score"] == 1.0


def test_marks_that_the_judged_text_lacks_are_named_at_the_start(folder, tmp_path, caplog):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    warn_of_hidden_marks(tokenizer)
    assert not caplog.records
    tokenizer.add_tokens([AddedToken("[THINK]", special=True), AddedToken("[/THINK]", special=True)], True)
    tokenizer.save_pretrained(tmp_path)
    PromptRenderer(tmp_path, thinking=True)
    (record,) = caplog.records
    assert record.getMessage().startswith("[THINK], [/THINK] are special tokens")
