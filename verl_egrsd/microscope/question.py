"""The questions for a model: rows of a parquet file, and responses to them, given or sampled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from verl_egrsd.config import TeacherConfig
from verl_egrsd.credit.checks import require
from verl_egrsd.evaluation.problems import problem_id
from verl_egrsd.rows import GROUND_TRUTH, Row, conversation, row_name, structure, text_of
from verl_egrsd.teacher.placebo import with_other_solutions
from verl_egrsd.teacher.templates import get_template


@dataclass(frozen=True)
class Question:
    """The rows and responses to score with a model, and how.

    Attributes:
        data: parquet file in the schema of training rows.
        rows: number of its rows to use.
        responses: column with responses (a dotted path), or a `samples.jsonl`; None lets the student answer.
        base: folder or hub id of the initial weights, which are the teacher's.
        teacher: template, thinking flag and header of the privileged prompt.
        student_thinks: thinking flag of the student's chat template.
        temperature: of sampling, and of both sides' scores.
        top_p: sample from the smallest set of tokens with at least this probability.
        top_k: sample from at most this many tokens.
        seed: of sampling.
        device: torch device.
    """

    data: Path
    rows: int = 8
    responses: str | None = None
    base: str | None = None
    teacher: TeacherConfig = field(default_factory=lambda: TeacherConfig(enable_thinking=True))
    student_thinks: bool = False
    temperature: float = 1.1
    top_p: float = 0.95
    top_k: int = 20
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: naming the first such value.
        """
        require(self.temperature > 0, "temperature", self.temperature, "positive")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(self.top_k >= 1, "top_k", self.top_k, "1 token or more")


class Response(NamedTuple):
    """Ids of a response, and whether it was cut: it does not end in an end token."""

    ids: list[int]
    truncated: bool


def rows_and_responses(question: Question) -> tuple[list[Row], list[tuple[str, bool]] | None]:
    """Return the rows to use and, if responses are given, text and truncation of each."""
    if question.responses is None:
        rows = list(islice(_stream(question), question.rows))
        given = None
    elif question.responses.endswith(".jsonl"):
        samples = _samples(Path(question.responses))
        answered = ((row, _sample_of(row, samples)) for row in _stream(question))
        found = list(islice(((row, sample) for row, sample in answered if sample), question.rows))
        rows = [row for row, _ in found]
        given = [sample for _, sample in found]
    else:
        rows = list(islice(_stream(question), question.rows))
        given = [(_cell(row, question.responses), False) for row in rows]
    if not rows:
        raise ValueError(
            f"{question.data} has no usable row: with a samples.jsonl the rows need the prompts that it "
            "answers, or the extra_info.hash that its lines name as problem."
        )
    return rows, given


def _stream(question: Question) -> Iterator[Row]:
    """Yield the rows of the data, each with another row's solution if the template shows one."""
    template = get_template(question.teacher.template, question.teacher.template_text)
    if "wrong_solution" not in template.marks:
        yield from _checked(question.data)
        return
    yield from with_other_solutions(list(_checked(question.data)), question.teacher.placebo_seed)


def _checked(data: Path) -> Iterator[Row]:
    rows = (row for group in pq.ParquetFile(data).iter_batches() for row in group.to_pylist())
    for position, row in enumerate(rows):
        name = row_name(row, position)
        text_of(row, GROUND_TRUTH, name)
        yield {
            **row,
            "prompt": conversation(row, "prompt", name),
            "extra_info": structure(row, "extra_info", name),
        }


def _sample_of(row: Row, samples: Mapping[str, tuple[str, bool]]) -> tuple[str, bool] | None:
    """Return the sample of a row's problem, named by its conversation or, in older files, by its hash."""
    return samples.get(problem_id(row["prompt"])) or samples.get(row["extra_info"].get("hash"))


def _samples(path: Path) -> dict[str, tuple[str, bool]]:
    """Return the first sample of each problem: its text, and whether it was cut."""
    samples: dict[str, tuple[str, bool]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                sample = json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"line {number} of {path} is not a whole sample: run eval again, which drops it."
                ) from error
            samples.setdefault(sample["problem"], (sample["text"], sample["finish_reason"] == "length"))
    return samples


def _cell(row: Row, path: str) -> str:
    value: Any = row
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(
                f"--responses {path} is not a column of the data: name one of {', '.join(row)} (a dotted "
                "path looks inside), or a samples.jsonl."
            )
        value = value[key]
    return str(value)


def encoded(tokenizer: Any, text: str, truncated: bool) -> Response:
    """Encode a given response. One that was not truncated gets an end token, as sampled responses have."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Response(ids if truncated else [*ids, tokenizer.eos_token_id], truncated)


@torch.no_grad()
def generated(
    model: Any, prompts: Sequence[list[int]], question: Question, cap: int, ends: Sequence[int]
) -> list[Response]:
    """Sample one answer to each prompt: at most `cap` tokens, up to one of the tokens `ends`."""
    responses = []
    with torch.random.fork_rng():
        torch.manual_seed(question.seed)
        for prompt in tqdm(prompts, desc="Answering", unit="row"):
            ids = torch.tensor([prompt], device=model.device)
            answer = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=cap,
                do_sample=True,
                temperature=question.temperature,
                top_p=question.top_p,
                top_k=question.top_k,
                eos_token_id=list(ends),
            )[0, len(prompt) :].tolist()
            responses.append(Response(answer, truncated=answer[-1] not in ends))
    return responses
