"""Rollouts of a model: rows of a parquet file, answered, judged and scored as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoTokenizer

from verl_egrsd.methods import Method
from verl_egrsd.microscope.question import Question, Response, encoded, generated, rows_and_responses
from verl_egrsd.microscope.rollout import Rollout, Run, columns_of, credited, response_mask, with_arrays
from verl_egrsd.microscope.scoring import require_plain_head, score
from verl_egrsd.microscope.weights import ModelWeights, find_weights
from verl_egrsd.reward import Verdict, problem_text, verify_answer
from verl_egrsd.rollouts.outcome import end_token_ids
from verl_egrsd.rollouts.token_texts import token_texts
from verl_egrsd.rows import GROUND_TRUTH, Row, row_name, text_of
from verl_egrsd.teacher.attempts import EMPTY_ATTEMPTS, Attempt, Attempts
from verl_egrsd.teacher.context import PrivilegedContext


def run_model(source: str, question: Question, method: Method) -> Run:
    """Answer rows with a model, or take given answers, and score every token as student and as teacher.

    Args:
        source: checkpoint, adapter, model folder or hub id.
        question: rows, responses and prompts.
        method: the method with all its settings; `max_response_length` of its reward caps the answers.

    Raises:
        ValueError: for rows or responses that are missing, or a response beyond the cap.
        FileNotFoundError: naming the file that is missing.
    """
    weights = find_weights(source, question.base)
    tokenizer = AutoTokenizer.from_pretrained(weights.tokenizer)
    flags = {"enable_thinking": question.student_thinks}
    context = PrivilegedContext.from_config(tokenizer, question.teacher, flags)
    if context.without_sibling is not None:
        raise ValueError(
            f"--template {question.teacher.template} shows another rollout of the prompt, but here a row has "
            "one response: inspect rollouts that a training run dumped (trainer.rollout_data_dir)."
        )
    rows, given = rows_and_responses(question)
    answers = None if given is None else [encoded(tokenizer, *response) for response in given]
    scored = _both_sides(weights, context, rows, answers, question, method)
    correct = torch.tensor([one.correct for one in scored])
    rewards = method.reward.rewards(correct, torch.tensor([len(one.response.ids) for one in scored]))
    batch = [
        Rollout(
            name=f"row {row['extra_info'].get('index', i)}",
            problem=row["prompt"][-1]["content"],
            student_prompt=context.student_prompt_text(row["prompt"]),
            teacher_prompt=one.teacher_prompt,
            ground_truth=text_of(row, GROUND_TRUTH, row_name(row)),
            verdict=one.verdict.reason,
            answer=one.verdict.extracted,
            reward=rewards[i].item(),
            truncated=one.response.truncated,
            tokens=tuple(token_texts(tokenizer, one.response.ids)),
            arrays={name: values.numpy() for name, values in one.columns.items()},
        )
        for i, (row, one) in enumerate(zip(rows, scored, strict=True))
    ]
    rollouts, metrics = credited(_with_advantages(batch, method, weights), method)
    return Run(
        name=source,
        method=method,
        facts={
            "rollouts from": question.responses or "the student, sampled here",
            "teacher": weights.teacher_name,
            "rows": f"{len(batch)} of {question.data}",
            "temperature": f"{question.temperature:g}",
            "thinking": f"student {question.student_thinks}, teacher {question.teacher.enable_thinking}",
            "template": question.teacher.template,
        },
        rollouts=rollouts,
        metrics=metrics,
    )


def _with_advantages(batch: Sequence[Rollout], method: Method, weights: ModelWeights) -> list[Rollout]:
    """Add the advantages, from the running baseline of the checkpoint if the weights come from one."""
    source = method.advantage.start()
    if "advantage" in weights.state:  # supervised training has none
        source.load_state_dict(weights.state["advantage"])
    advantages = source.advantages(columns_of(batch))
    return with_arrays(batch, {"advantage": advantages.unsqueeze(1).expand(response_mask(batch).shape)})


class Scored(NamedTuple):
    """A response, its verdict, its privileged prompt, and the columns of both sides, each (T,), nats."""

    response: Response
    verdict: Verdict
    correct: bool
    teacher_prompt: str
    columns: dict[str, Tensor]


def _both_sides(
    weights: ModelWeights,
    context: PrivilegedContext,
    rows: Sequence[Row],
    answers: Sequence[Response] | None,
    question: Question,
    method: Method,
) -> list[Scored]:
    """Let the student answer, unless answers are given, and score the answers after both prompts."""
    for row in rows:  # a row without a reference is refused before a model computes for minutes
        context.teacher_prompt(row["prompt"], row, EMPTY_ATTEMPTS)
    prompts = [context.student_prompt_ids(row["prompt"]) for row in rows]
    model = weights.student().to(question.device)
    ends = end_token_ids(context.tokenizer, model.generation_config)
    cap = method.reward.max_response_length
    assert cap is not None
    responses = generated(model, prompts, question, cap, ends) if answers is None else answers
    verdicts = [_verdict(context, response, row) for response, row in zip(responses, rows, strict=True)]
    correct = method.reward.correct(torch.tensor([float(verdict.correct) for verdict in verdicts])).tolist()
    attempts = [
        Attempt(_text(context, response).strip(), right, response.truncated)
        for response, right in zip(responses, correct, strict=True)
    ]
    privileged = [
        context.teacher_prompt_text(row["prompt"], row, Attempts(attempt))
        for row, attempt in zip(rows, attempts, strict=True)
    ]
    student = _scores(model, prompts, responses, question.temperature, "Scoring as student")
    if weights.teacher is not None:
        del model  # before the next model is loaded
        model = weights.teacher().to(question.device)
    teacher_prompts = [context.ids(text) for text in privileged]
    teacher = _scores(model, teacher_prompts, responses, question.temperature, "Scoring as teacher")
    columns = zip(responses, verdicts, correct, privileged, student, teacher, strict=True)
    return [
        Scored(
            response, verdict, right, prompt, _named("student", of_student) | _named("teacher", of_teacher)
        )
        for response, verdict, right, prompt, of_student, of_teacher in columns
    ]


def _scores(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[Response], temperature: float, label: str
) -> list[tuple[Tensor, Tensor]]:
    require_plain_head(model)
    pairs = list(zip(prompts, responses, strict=True))
    return [
        score(model, prompt, response.ids, temperature)
        for prompt, response in tqdm(pairs, desc=label, unit="row")
    ]


def _named(side: str, scores: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    log_prob, entropy = scores
    return {f"{side}_log_prob": log_prob, f"{side}_entropy": entropy}


def _text(context: PrivilegedContext, response: Response) -> str:
    return context.tokenizer.decode(response.ids, skip_special_tokens=True)


def _verdict(context: PrivilegedContext, response: Response, row: Row) -> Verdict:
    return verify_answer(
        _text(context, response),
        text_of(row, GROUND_TRUTH, row_name(row)),
        problem=problem_text(row.get("extra_info")),
        inside_reasoning=context.opens_reasoning(row["prompt"]),
    )
