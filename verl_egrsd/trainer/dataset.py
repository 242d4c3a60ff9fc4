"""The training data, every row checked before the first rollout: nothing is truncated, nothing is empty."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import datasets
from omegaconf import DictConfig
from tqdm import tqdm
from verl.utils.dataset.rl_dataset import RLHFDataset, get_dataset_class

from verl_egrsd.config import DataChecks, TeacherConfig, build
from verl_egrsd.methods.columns import PASS_RATE
from verl_egrsd.preflight import plain
from verl_egrsd.preflight.reading import file_list
from verl_egrsd.reward import PROMPT_OPENS_REASONING
from verl_egrsd.reward.reasoning import REASONING_MARK
from verl_egrsd.rows import GROUND_TRUTH, Field, Row, conversation, row_name, share_of, structure, text_of
from verl_egrsd.teacher.attempts import EMPTY_ATTEMPTS
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.marks import ANSWER, SOLUTION
from verl_egrsd.teacher.placebo import partners_of, with_solution_of
from verl_egrsd.trainer.columns import refuse_media, refuse_overriding, require_columns
from verl_egrsd.trainer.contradictions import warn_of_contradictions

logger = logging.getLogger(__name__)

_ROWS_PER_CALL = 256
PARTNER = "egrsd_partner"
"""Column with the position of the row whose solution replaces the row's own."""


class Overlong(NamedTuple):
    """A dropped row: the prompt that was too long, its length and its limit, in tokens."""

    index: Any
    prompt: str
    length: int
    limit: int


class Marked(NamedTuple):
    """A dropped row: the control tokens in the text of its prompt."""

    index: Any
    prompt: str
    control_tokens: str


class Prompts(NamedTuple):
    """Both prompts of a row as text, and the control tokens in its messages.

    The teacher may have several possible prompts, depending on the rollouts. Without a teacher there is none.
    """

    index: Any
    name: str
    student: str
    teacher: list[str]
    control_tokens: list[str]


class PrivilegedDataset(RLHFDataset):
    """verl's data set, with all checks made before the first row is sampled.

    The student's prompt must be a conversation in plain text, fit `data.max_prompt_length` (verl would cut it
    on the left; with `data.filter_overlong_prompts` such rows are dropped), and hold no control tokens that
    open or close a turn (`data.checks.control_tokens`). Marks of reasoning have no effect in a prompt; they
    are counted. The ground truth must be text. In the training files the fields of the privileged prompt must
    exist and not be empty, the prompt must fit `actor_rollout_ref.teacher.max_prompt_length`, and some
    solutions are compared with the ground truth. `dropped` lists the dropped rows. Under the template
    `wrong_solution` each row carries the solution of another row (`extra_info.solution_of_another_row`),
    chosen among all rows of the files.

    The trainer passes the teacher's settings as `data.egrsd_teacher` (null without a teacher), as
    `data.egrsd_verifier` whether our verifier reads the ground truths, and as `data.egrsd_pass_rate` whether
    the method reads the pass rates of the training files.
    """

    def maybe_filter_out_long_prompts(self, dataframe: datasets.Dataset = None) -> datasets.Dataset:
        """Check every row; return the kept rows.

        Raises:
            ValueError: for a missing column, a column that overrides the configuration, an image, or a field
                that is not text; for control tokens or an overlong prompt, unless the user chose to drop such
                rows.
        """
        self.dropped: list[Overlong | Marked] = []
        self._spelled, self._kept_tokens = Counter[str](), Counter[str]()
        self.checks = build(DataChecks, plain(self.config.get("checks")), "data.checks")
        refuse_media(dataframe, (self.image_key, self.video_key, self.audio_key))
        refuse_overriding(dataframe)
        is_training = list(self.original_data_files) == file_list(self.config.train_files)
        settings = self.config.get("egrsd_teacher") if is_training else None
        teacher = None if settings is None else build(TeacherConfig, settings, "actor_rollout_ref.teacher")
        context = PrivilegedContext.from_config(
            self.tokenizer,
            teacher or TeacherConfig(template="none"),
            plain(self.apply_chat_template_kwargs),
        )
        self.context, fields = context, self._fields(context)
        self._shares = [PASS_RATE] if is_training and self.config.get("egrsd_pass_rate") else []
        require_columns(dataframe, ("data_source", self.prompt_key), [*fields, *self._shares])
        if any("wrong_solution" in other.template.marks for other in context.alternatives):
            dataframe = self._with_partners(dataframe, context.placebo_seed)
        keeps = self._keeps(dataframe, context, teacher, fields)
        kept = dataframe.select([index for index, keep in enumerate(keeps) if keep])
        self._report(len(dataframe))
        if SOLUTION in fields and GROUND_TRUTH in fields:
            warn_of_contradictions(kept, self.checks)
        return kept

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return verl's row, whose `extra_info` now says whether the prompt opens the reasoning."""
        row = self._with_other_solution(super().__getitem__(item))
        row["extra_info"][PROMPT_OPENS_REASONING] = self.context.opens_reasoning(row["raw_prompt"])
        return row

    def _fields(self, context: PrivilegedContext) -> list[Field]:
        """Return the fields that must be text in every row."""
        shown = [field for context in context.alternatives for field in context.template.fields]
        judged = [GROUND_TRUTH] if self.config.get("egrsd_verifier", True) else []
        return list(dict.fromkeys([*shown, *judged]))

    def _with_partners(self, dataframe: datasets.Dataset, seed: int) -> datasets.Dataset:
        """Give each row the position of its partner, whose solution replaces the row's own."""
        self.all_rows = dataframe
        answered = dataframe.select_columns([ANSWER.column])
        return dataframe.add_column(PARTNER, partners_of(answered, seed))

    def _with_other_solution(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with the solution of its partner, if rows have partners."""
        if PARTNER not in row:
            return row
        others = {key: value for key, value in row.items() if key != PARTNER}
        return dict(with_solution_of(self.all_rows[row[PARTNER]], others))

    def _keeps(
        self,
        dataframe: datasets.Dataset,
        context: PrivilegedContext,
        teacher: TeacherConfig | None,
        fields: list[Field],
    ) -> Iterator[bool]:
        """Yield for each row whether it is kept."""
        asked = [] if teacher is None else context.alternatives
        progress = tqdm(total=len(dataframe), desc="Checking prompts", unit="row")
        for start in range(0, len(dataframe), _ROWS_PER_CALL):
            positions = range(start, min(start + _ROWS_PER_CALL, len(dataframe)))
            read = [self._read(dataframe[position], position, asked, fields) for position in positions]
            students = self._lengths([prompts.student for prompts in read])
            teachers = self._longest(read, asked)
            for prompts, student, privileged in zip(read, students, teachers, strict=True):
                left_out = self._marked(prompts) or self._overlong(prompts, student, privileged, teacher)
                if left_out:
                    self.dropped.append(left_out)
                yield left_out is None
            progress.update(len(read))
        progress.close()

    def _read(self, row: Row, position: int, asked: list[PrivilegedContext], fields: list[Field]) -> Prompts:
        """Return the prompts of a row; an error of the rendering names the row."""
        name = row_name(row, position)
        index = structure(row, "extra_info", name).get("index")
        messages = conversation(row, self.prompt_key, name)
        texts = {field: text_of(row, field, name) for field in fields}
        for field in self._shares:
            share_of(row, field, name)
        row = self._with_other_solution(dict(row))
        try:
            student = self.context.student_prompt_text(messages)
            teacher = [context.teacher_prompt_text(messages, row, EMPTY_ATTEMPTS) for context in asked]
        except ValueError as error:
            raise ValueError(f"{self.prompt_key} of {name}: {error}") from error
        find = self.context.control_tokens.found
        shown = dict.fromkeys(field for context in asked for field in context.template.fields)
        self._spelled.update(find("\n".join(texts[field] for field in shown)))
        found = find("\n".join(message["content"] for message in messages))
        return Prompts(position if index is None else index, name, student, teacher, found)

    def _longest(self, read: list[Prompts], asked: list[PrivilegedContext]) -> list[int]:
        """Return the length of each row's longest privileged prompt, tokens for rollouts included."""
        lengths = [[0] * len(read)]
        for i, context in enumerate(asked):
            bare = self._lengths([prompts.teacher[i] for prompts in read])
            lengths.append([length + context.reserved for length in bare])
        return [max(row) for row in zip(*lengths, strict=True)]

    def _marked(self, prompts: Prompts) -> Marked | None:
        turns = self.checks.control_tokens != "keep"
        tokens = " ".join(
            token for token in prompts.control_tokens if turns and not REASONING_MARK.fullmatch(token)
        )
        if not tokens:
            self._kept_tokens.update(prompts.control_tokens)
            return None
        if self.checks.control_tokens == "error":
            raise ValueError(
                f"{self.prompt_key} of {prompts.name} has {tokens} in its text, which the tokenizer reads as "
                "control tokens: the student would see a turn that nobody wrote. Rewrite the row, or set "
                "data.checks.control_tokens=drop to leave such rows out, or keep if they are intended."
            )
        return Marked(prompts.index, "student", tokens)

    def _overlong(
        self, prompts: Prompts, student: int, privileged: int, teacher: TeacherConfig | None
    ) -> Overlong | None:
        if student > self.max_prompt_length:
            if not self.filter_overlong_prompts:
                raise ValueError(
                    f"the student's prompt of row {prompts.index} has {student} tokens, "
                    f"data.max_prompt_length={self.max_prompt_length}: raise it, or set "
                    "data.filter_overlong_prompts=True to leave such rows out."
                )
            return Overlong(prompts.index, "student", student, self.max_prompt_length)
        if teacher is not None and privileged > teacher.max_prompt_length:
            if teacher.overlong == "error":
                reserved = max(context.reserved for context in self.context.alternatives)
                room = f" ({reserved} for rollouts, by teacher.max_rollout_tokens)" if reserved else ""
                raise ValueError(
                    f"the privileged prompt of row {prompts.index} has {privileged} tokens{room}, "
                    f"actor_rollout_ref.teacher.max_prompt_length={teacher.max_prompt_length}: raise it, or "
                    "set actor_rollout_ref.teacher.overlong=drop to leave such rows out."
                )
            return Overlong(prompts.index, "teacher", privileged, teacher.max_prompt_length)
        return None

    def _lengths(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def _report(self, total: int) -> None:
        for row in self.dropped:
            logger.warning(
                "left out: %s", ", ".join(f"{key} {value}" for key, value in row._asdict().items())
            )
        reasons = {Overlong: "a prompt is too long", Marked: "the prompt holds control tokens"}
        for kind, reason in reasons.items():
            if number := sum(isinstance(row, kind) for row in self.dropped):
                logger.warning("%d of %d rows left out because %s", number, total, reason)
        if self._kept_tokens:
            logger.warning("control tokens in kept prompts, by number of rows: %s", dict(self._kept_tokens))
        if self._spelled:
            logger.warning(
                "control tokens in references, by number of rows: %s; the teacher reads them as text "
                "(`< think>`)",
                dict(self._spelled),
            )


def use_privileged_dataset(config: DictConfig) -> None:
    """Have verl build our data set, through its setting `data.custom_cls`."""
    custom = config.data.custom_cls
    if custom.path is None:
        custom.path, custom.name = "pkg://verl_egrsd.trainer.dataset", PrivilegedDataset.__name__
        return
    if not issubclass(get_dataset_class(config.data), PrivilegedDataset):
        raise ValueError(
            f"data.custom_cls={custom.path}:{custom.name} does not check the privileged prompts: derive it "
            "from verl_egrsd.trainer.dataset.PrivilegedDataset."
        )
