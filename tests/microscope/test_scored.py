"""Rollouts of a model: scores against float64 logits, the two prompts, given and sampled responses."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from recipes.rehearsal.model import new_model
from verl_egrsd.config import TeacherConfig
from verl_egrsd.credit import Regime
from verl_egrsd.evaluation.problems import read_benchmarks
from verl_egrsd.methods import resolve
from verl_egrsd.microscope.question import Question
from verl_egrsd.microscope.scored import run_model
from verl_egrsd.microscope.scoring import require_plain_head
from verl_egrsd.microscope.weights import find_weights
from verl_egrsd.teacher.placebo import partners_of

METHOD = resolve("cl_egrsd", {"gamma": 0.5, "window": 2}, max_response_length=64)


def earning(**keys):
    """METHOD with another reward."""
    return replace(METHOD, reward=replace(METHOD.reward, **keys))


@pytest.fixture(scope="module")
def given(data_path):
    """Questions with the reference solution as the response."""
    return Question(data_path, rows=3, responses="extra_info.solution")


@pytest.fixture(scope="module")
def run(model_path, given):
    return run_model(str(model_path), given, METHOD)


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@torch.no_grad()
def exact(model, tokenizer, prompt, response, temperature):
    """Log-probabilities and entropies from float64 logits."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, response)]
    logits = model(torch.tensor([ids[0] + ids[1]])).logits[0, len(ids[0]) - 1 : -1]
    log_probs = (logits.double() / temperature).log_softmax(dim=-1)
    return log_probs.gather(1, torch.tensor(ids[1])[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(dim=1)


def test_both_sides_agree_with_float64_logits(run, model_path, tokenizer, given):
    model = load(model_path)
    for rollout in run.rollouts:
        response = "".join(rollout.tokens)
        student, _ = exact(model, tokenizer, rollout.student_prompt, response, given.temperature)
        teacher, entropy = exact(model, tokenizer, rollout.teacher_prompt, response, given.temperature)
        for found, expected in (
            (rollout["student_log_prob"], student),
            (rollout["teacher_log_prob"], teacher),
            (rollout["teacher_entropy"], entropy),
        ):
            torch.testing.assert_close(torch.tensor(found).double(), expected, rtol=0, atol=1e-5)
        assert rollout["teacher_entropy"].std() > 0.1


def test_the_teacher_reads_the_solution_and_the_student_does_not(run, data_path):
    rows = pq.read_table(data_path).to_pylist()
    for rollout, row in zip(run.rollouts, rows, strict=False):
        assert row["extra_info"]["solution"] in rollout.teacher_prompt
        assert row["extra_info"]["solution"] not in rollout.student_prompt
        assert row["extra_info"]["problem"] in rollout.student_prompt
        assert "".join(rollout.tokens) == row["extra_info"]["solution"] + "<|im_end|>"


def test_a_given_solution_is_correct_and_its_reward_follows_its_length(run):
    for rollout in run.rollouts:
        length = len(rollout.tokens)
        assert rollout.verdict == "correct"
        assert rollout.reward == pytest.approx(1 + 0.5 * (1 - length / 64))
        assert rollout["advantage"].tolist() == pytest.approx([rollout.reward - 0.5] * length)
        assert rollout["credit"] == pytest.approx(
            rollout["advantage"] * rollout["ratio"] * rollout["entropy_gate"]
        )
        assert set(rollout["regime"].tolist()) <= {int(regime) for regime in Regime} - {int(Regime.NONE)}


def test_correct_is_what_it_is_in_training(model_path, given, tmp_path):
    strict = run_model(str(model_path), replace(given, rows=1), earning(correct_above=1.0))
    assert [(rollout.verdict, rollout.reward) for rollout in strict.rollouts] == [("correct", 0.0)]
    opening = shutil.copytree(model_path, tmp_path / "model")
    (opening / "chat_template.jinja").write_text(
        "{{ messages[-1].content }}{% if add_generation_prompt %}<think>\n{% endif %}"
    )
    inside = run_model(str(opening), replace(given, rows=1, base=str(model_path)), METHOD)
    assert [(rollout.verdict, rollout.reward) for rollout in inside.rollouts] == [("no_answer", 0.0)]


def test_a_model_that_caps_its_logits_behind_the_head_is_refused(model_path):
    sizes = dict.fromkeys(("hidden_size", "intermediate_size", "head_dim", "vocab_size"), 16)
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Gemma2Config(**sizes, **heads, final_logit_softcapping=1.0, initializer_range=1.0)
    with pytest.raises(ValueError, match="Gemma2ForCausalLM changes its logits"):
        require_plain_head(Gemma2ForCausalLM(config).eval())
    require_plain_head(load(model_path))


def test_sampled_answers_repeat_with_the_seed_and_end_at_the_cap(model_path, data_path):
    question = Question(data_path, rows=2)
    short = earning(max_response_length=12)
    one, again, other = (
        run_model(str(model_path), replace(question, seed=seed), short) for seed in (0, 0, 1)
    )
    texts = [[rollout.tokens for rollout in run.rollouts] for run in (one, again, other)]
    assert texts[0] == texts[1] != texts[2]
    for rollout in one.rollouts:
        assert len(rollout.tokens) <= 12
        assert rollout.truncated == (rollout.tokens[-1] != "<|im_end|>")
    assert any(rollout.truncated for rollout in one.rollouts)


def test_the_first_sample_of_each_problem_is_looked_at_and_a_cut_one_gets_no_end(
    model_path, data_path, tmp_path
):
    samples = [("hash 3", "\\boxed{1}", "stop"), ("hash 1", "then 1+1", "length"), ("hash 3", "x", "stop")]
    lines = [{"problem": p, "text": text, "finish_reason": reason} for p, text, reason in samples]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = run_model(str(model_path), Question(data_path, responses=str(path)), METHOD)
    found = [(rollout.name, "".join(rollout.tokens), rollout.truncated) for rollout in run.rollouts]
    assert found == [("row 1", "then 1+1", True), ("row 3", "\\boxed{1}<|im_end|>", False)]


def test_the_samples_of_an_evaluation_are_found_by_the_conversation(model_path, data_path, tmp_path):
    problem = read_benchmarks([data_path])["train"][2]
    line = {"problem": problem.id, "text": "\\boxed{1}", "finish_reason": "stop"}
    (tmp_path / "samples.jsonl").write_text(json.dumps(line))
    question = Question(data_path, responses=str(tmp_path / "samples.jsonl"))
    (rollout,) = run_model(str(model_path), question, METHOD).rollouts
    assert rollout.name == f"row {problem.index}"


def test_samples_of_other_problems_are_refused(model_path, data_path, tmp_path):
    (tmp_path / "samples.jsonl").write_text('{"problem": "?", "text": "", "finish_reason": "stop"}\n')
    question = Question(data_path, responses=str(tmp_path / "samples.jsonl"))
    with pytest.raises(ValueError, match=r"no usable row: .*extra_info.hash"):
        run_model(str(model_path), question, METHOD)


@pytest.mark.parametrize("column", ["answers", "extra_info.trace", "data_source.x"])
def test_a_column_that_is_missing_is_refused_with_those_that_exist(model_path, data_path, column):
    question = Question(data_path, responses=column)
    with pytest.raises(ValueError, match=f"--responses {column} is not a column .*data_source, prompt"):
        run_model(str(model_path), question, METHOD)


def test_a_response_beyond_the_cap_is_refused(model_path, given):
    with pytest.raises(ValueError, match=r"response_length\[0\]=.*max_response_length=4"):
        run_model(str(model_path), given, earning(max_response_length=4))


@pytest.fixture
def checkpoint(tmp_path, model_path):
    """What full fine-tuning on one rank leaves: other weights, a note of the base, a running baseline."""
    actor = tmp_path / "global_step_3" / "actor"
    shutil.copytree(model_path, actor / "huggingface", ignore=shutil.ignore_patterns("*.safetensors"))
    moved = new_model(load(model_path).config, seed=7).state_dict()
    torch.save(moved, actor / "model_world_size_1_rank_0.pt")
    (actor / "fsdp_config.json").write_text(json.dumps({"world_size": 1}))
    advantage = {"steps": 20, "count": 20, "mean": 0.25, "squares": 5.0}
    state = {"base_model": str(model_path), "advantage": advantage, "quantiles": {"counts": [1] * 1000}}
    (actor.parent / "egrsd.json").write_text(json.dumps(state))
    return actor.parent


@pytest.mark.parametrize("part", ["", "actor"])
def test_a_checkpoint_is_the_student_its_base_the_teacher_and_its_baseline_goes_on(
    checkpoint, run, given, part
):
    trained = run_model(str(checkpoint / part), given, METHOD)
    for before, after in zip(run.rollouts, trained.rollouts, strict=True):
        assert after.tokens == before.tokens
        assert after["teacher_entropy"].tolist() == before["teacher_entropy"].tolist()
        assert abs(after["student_log_prob"] - before["student_log_prob"]).max() > 0.1
        assert after["advantage"][0] == pytest.approx((after.reward - 0.25) / 0.5, rel=1e-4)
    assert dict(trained.facts)["teacher"] == json.loads((checkpoint / "egrsd.json").read_text())["base_model"]


def test_a_checkpoint_of_supervised_training_has_no_folder_of_its_own_weights_and_no_baseline(
    checkpoint, run, given
):
    note = {"base_model": json.loads((checkpoint / "egrsd.json").read_text())["base_model"]}
    supervised = checkpoint.with_name("global_step_4")
    shutil.move(checkpoint / "actor", supervised)
    (supervised / "egrsd.json").write_text(json.dumps(note))
    trained = run_model(str(supervised), given, METHOD)
    for before, after in zip(run.rollouts, trained.rollouts, strict=True):
        assert abs(after["student_log_prob"] - before["student_log_prob"]).max() > 0.1
        assert after["advantage"][0] == before["advantage"][0]


def test_a_checkpoint_whose_teacher_moved_is_scored_by_that_teacher(checkpoint, run, given):
    actor = checkpoint / "actor"
    shutil.copy(actor / "model_world_size_1_rank_0.pt", actor / "teacher_world_size_1_rank_0.pt")
    own = run_model(str(checkpoint), given, METHOD)
    assert dict(own.facts)["teacher"] == f"the teacher of {checkpoint}"
    for before, after in zip(run.rollouts, own.rollouts, strict=True):
        assert after["teacher_entropy"].tolist() != before["teacher_entropy"].tolist()


def test_a_checkpoint_whose_teacher_was_the_student_is_scored_by_the_student(checkpoint):
    note = checkpoint / "egrsd.json"
    settings = {"actor_rollout_ref.teacher.refresh": "current"}
    note.write_text(json.dumps(json.loads(note.read_text()) | {"fingerprint": settings}))
    found = find_weights(str(checkpoint), None)
    assert (found.teacher, found.teacher_name) == (None, "the student itself")


def test_an_adapter_is_the_student_and_its_base_the_teacher(tmp_path, model_path, run, given):
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(load(model_path), config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weight, 0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    for path in model_path.glob("*token*"):
        shutil.copy(path, tmp_path / "adapter")
    shutil.copy(model_path / "chat_template.jinja", tmp_path / "adapter")
    found = run_model(str(tmp_path / "adapter"), given, METHOD)
    assert found.rollouts[0]["teacher_entropy"].tolist() == run.rollouts[0]["teacher_entropy"].tolist()
    assert abs(found.rollouts[0]["student_log_prob"] - run.rollouts[0]["student_log_prob"]).max() > 0.01


def test_the_initial_weights_can_be_named(checkpoint, model_path):
    (checkpoint / "egrsd.json").unlink()
    with pytest.raises(ValueError, match=r"does not name its base model.*--base"):
        find_weights(str(checkpoint), None)
    assert find_weights(str(checkpoint), str(model_path)).teacher_name == str(model_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"fsdp_config.json, actor/ or \*.parquet"):
        find_weights(str(tmp_path), None)


def test_a_row_without_a_reference_is_refused(model_path, data_path, tmp_path):
    rows = pd.read_parquet(data_path)
    rows["extra_info"] = [{**extra, "solution": ""} for extra in rows["extra_info"]]
    rows.to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"extra_info\.solution of row 0"):
        run_model(str(model_path), Question(tmp_path / "empty.parquet", rows=1), METHOD)


def test_a_reflection_shows_the_response_and_its_verdict(model_path, given, run):
    teacher = TeacherConfig(template="reflection", enable_thinking=True)
    reflected = run_model(str(model_path), replace(given, rows=2, teacher=teacher), METHOD)
    for rollout, plain in zip(reflected.rollouts, run.rollouts, strict=False):
        response = "".join(rollout.tokens).removesuffix("<|im_end|>")
        assert f"=== begin attempt ===\n{response}\n=== end attempt ===\nIts final answer is correct." in (
            rollout.teacher_prompt
        )
        assert rollout["student_log_prob"] == pytest.approx(plain["student_log_prob"])
        assert rollout["teacher_log_prob"] != pytest.approx(plain["teacher_log_prob"])


def test_the_solution_of_another_row_is_that_of_the_training(model_path, given, data_path):
    teacher = TeacherConfig(template="wrong_solution", enable_thinking=True)
    run = run_model(str(model_path), replace(given, rows=2, teacher=teacher), METHOD)
    rows = pq.read_table(data_path).to_pylist()
    for position, (rollout, other) in enumerate(zip(run.rollouts, partners_of(rows, 0), strict=False)):
        assert other != position
        assert rows[other]["extra_info"]["solution"] in rollout.teacher_prompt


def test_a_sibling_is_refused_since_a_row_has_one_response(model_path, given):
    teacher = TeacherConfig(template="sibling")
    with pytest.raises(ValueError, match=r"--template sibling shows another rollout .* one response"):
        run_model(str(model_path), replace(given, teacher=teacher), METHOD)
