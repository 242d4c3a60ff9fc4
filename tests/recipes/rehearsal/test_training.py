"""Models and their supervised training, in seconds instead of minutes."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.rehearsal import measure, task
from recipes.rehearsal.model import new_model, random_qwen3_config, save_model, small_qwen3_config
from recipes.rehearsal.tokenizer import build_small_tokenizer
from recipes.rehearsal.training import (
    IGNORED,
    Example,
    ExampleMaker,
    TrainingBudget,
    collate,
    privileged_context,
    response_loss,
    train,
)

pytestmark = pytest.mark.stack

ROLES = task.ROLES["rehearsal"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_the_small_model_is_small():
    model = new_model(small_qwen3_config(450), seed=0)
    assert 300_000 < model.num_parameters() < 3_000_000
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_random_model_has_the_embedding_of_qwen3():
    config = random_qwen3_config()
    assert (config.vocab_size, config.tie_word_embeddings, config.model_type) == (151_936, True, "qwen3")


def test_only_response_tokens_carry_a_label():
    ids, labels = collate([Example([1, 2, 3], [4, 5]), Example([6], [7])], pad_id=0)
    assert ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert labels.tolist() == [[IGNORED, IGNORED, IGNORED, 4, 5], [IGNORED, 7, IGNORED, IGNORED, IGNORED]]


def test_padding_does_not_change_the_loss(small):
    model = new_model(small_qwen3_config(len(small)), seed=0)
    maker = ExampleMaker(small, ROLES, seed=0)
    examples = [maker.student(), maker.teacher()]
    counts = torch.tensor([float(len(example.response_ids)) for example in examples])
    single = torch.stack([response_loss(model, [example], small.pad_token_id) for example in examples])
    joint = response_loss(model, examples, small.pad_token_id)
    assert joint.item() == pytest.approx(((single * counts).sum() / counts.sum()).item(), rel=1e-5)


def test_the_prompts_are_those_of_the_later_run(small):
    maker = ExampleMaker(small, ROLES, seed=0)
    student, teacher = maker.student(), maker.teacher()
    header = small("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    assert student.prompt_ids[-len(header) :] == teacher.prompt_ids[-len(header) :] == header
    assert small.decode(student.response_ids).startswith("<think>\n")
    assert student.response_ids[-1] == teacher.response_ids[-1] == small.eos_token_id
    problem = task.generate_problem(random.Random(0))
    row = task.to_row(problem, 0, "train")
    ids = privileged_context(small, "reference_solution").teacher_prompt_ids(row["prompt"], row)
    assert problem.solution in small.decode(ids)


def test_the_examples_are_the_same_for_the_same_seed_only(small):
    first, same, other = (ExampleMaker(small, ROLES, seed) for seed in (0, 0, 1))
    assert [first.student(), first.teacher()] == [same.student(), same.teacher()]
    assert first.student() != other.student()


def test_the_weights_are_the_same_for_the_same_seed_and_steps(small):
    budget = TrainingBudget(steps=2, students=2, teachers=1)
    runs = [
        train(new_model(small_qwen3_config(len(small)), 0), small, ROLES, budget, seed=0) for _ in range(2)
    ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert len(runs[0]) == 2


def test_a_short_training_lowers_the_loss_and_leaves_a_loadable_model(small, tmp_path):
    model = new_model(small_qwen3_config(len(small)), seed=0)
    losses = train(model, small, ROLES, TrainingBudget(steps=15, students=4, teachers=2), seed=0)
    assert losses[-1] < 0.9 * losses[0]
    save_model(model, small, tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.generation_config.eos_token_id == AutoTokenizer.from_pretrained(tmp_path).eos_token_id
    ids = torch.tensor([small("What is 7+5?")["input_ids"]])
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


def test_a_budget_without_a_step_is_refused():
    with pytest.raises(ValueError, match="steps"):
        TrainingBudget(steps=0)


def test_the_sampler_is_the_same_for_the_same_seed_and_honours_the_cap(small):
    model = new_model(small_qwen3_config(len(small)), seed=0).eval()
    prompts = [[5, 6, 7], [8, 9]]
    first, same, other = (
        measure.sample(model, small, prompts, max_new_tokens=12, seed=seed) for seed in (0, 0, 1)
    )
    assert first == same != other
    assert all(len(response) <= 12 for response in first)


def test_the_last_boxed_number_is_judged(small):
    responses = [
        small(text)["input_ids"]
        for text in ("\\boxed{1} \\boxed{23}<|im_end|>", "\\boxed{23}4\\boxed{2}", "23")
    ]
    judged = measure.judge(small, responses, ["23", "23", "23"])
    assert judged.accuracy == pytest.approx(1 / 3)
    assert judged.finished == pytest.approx(1 / 3)


def test_the_entropy_of_a_uniform_model_is_the_log_of_the_vocabulary(small):
    model = new_model(small_qwen3_config(len(small)), seed=0).eval()
    torch.nn.init.zeros_(model.lm_head.weight)
    measured = measure.entropy(model, [[1, 2]], [[3, 4, 5]])
    expected = torch.log(torch.tensor(float(len(small)))).item()
    assert measured.mean == pytest.approx(expected, rel=1e-5)
    assert measured.maximum == pytest.approx(expected, rel=1e-5)
