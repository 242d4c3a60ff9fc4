"""What is learned from a row (`data.examples`), and the settings of verl's trainer that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.config import Checker, OnControlTokens, build
from verl_egrsd.cost.seconds import GPUS
from verl_egrsd.preflight.reading import plain
from verl_egrsd.preflight.values import (
    FSDP,
    NOT_NEGATIVE,
    POSITIVE,
    RESUME_MODES,
    SWITCH,
    Check,
    any_of,
    at_least,
    or_null,
    refuse_values,
)
from verl_egrsd.rows import Field
from verl_egrsd.teacher.marks import COLUMNS

EACH_EPOCH = "after_each_epoch"
_OnOverlong = Literal["error", "drop"]


@dataclass(frozen=True)
class ExampleConfig:
    """What is learned from a row.

    Attributes:
        solution: field that holds the text of the response, `COLUMN.KEY`.
        overlong: what happens to a row with more tokens than `data.max_length`: "error" or "drop" (counted).
        control_tokens: the same for a row whose prompt or response holds tokens that open or close a turn;
            "keep" learns them as they are.
    """

    solution: str = "extra_info.solution"
    overlong: _OnOverlong = "error"
    control_tokens: OnControlTokens = "error"

    def __post_init__(self) -> None:
        """Refuse a field that no row has, and choices that do not exist."""
        column, _, key = str(self.solution).partition(".")
        if column not in COLUMNS or not key:
            raise ValueError(
                f"data.examples.solution={self.solution!r} is not allowed: it must be a field of "
                f"{' or '.join(COLUMNS)}, such as extra_info.solution."
            )
        check = Checker("data.examples", self)
        check.one_of("overlong", get_args(_OnOverlong))
        check.one_of("control_tokens", get_args(OnControlTokens))

    @property
    def field(self) -> Field:
        """The field that is learned."""
        column, _, key = self.solution.partition(".")
        return Field(column, key, "it is learned", "drop the row, or name another data.examples.solution")


def _frequency() -> Check:
    allowed, wording = at_least(-1)
    return lambda x: x == EACH_EPOCH or allowed(x), f"{wording}, or {EACH_EPOCH}"


SFT_VALUES: dict[str, Check] = {
    "check.gpu": any_of(*GPUS),
    "data.train_batch_size": at_least(1),
    "data.max_length": at_least(2),
    "data.max_token_len_per_gpu": at_least(1),
    "data.micro_batch_size_per_gpu": at_least(1),
    "data.num_workers": at_least(0),
    "data.use_dynamic_bsz": SWITCH,
    "data.pad_mode": any_of("no_padding"),
    "data.truncation": any_of("error"),
    "engine.strategy": any_of(*FSDP),
    "model.lora_rank": at_least(0),
    "model.lora_alpha": POSITIVE,
    "model.use_remove_padding": SWITCH,
    "optim.lr": NOT_NEGATIVE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.clip_grad": POSITIVE,
    "optim.lr_scheduler_type": any_of("constant", "cosine"),
    "trainer.device": any_of("cuda", "cpu", "npu"),
    "trainer.n_gpus_per_node": at_least(1),
    "trainer.nnodes": at_least(1),
    "trainer.resume_mode": any_of(*RESUME_MODES),
    "trainer.save_freq": _frequency(),
    "trainer.seed": at_least(0),
    "trainer.test_freq": _frequency(),
    "trainer.total_epochs": at_least(1),
    "trainer.total_training_steps": or_null(at_least(1)),
}
"""What each key of verl's may be."""

SFT_REFUSALS: tuple[tuple[Callable[[DictConfig], bool], str], ...] = (
    (
        lambda c: c.data.train_batch_size % (c.trainer.nnodes * c.trainer.n_gpus_per_node) != 0,
        "data.train_batch_size={data.train_batch_size} does not divide among trainer.nnodes="
        "{trainer.nnodes} times trainer.n_gpus_per_node={trainer.n_gpus_per_node} ranks, and verl would "
        "train on fewer rows: change one of them.",
    ),
    (
        lambda c: c.data.use_dynamic_bsz and c.data.max_token_len_per_gpu < c.data.max_length,
        "data.max_token_len_per_gpu={data.max_token_len_per_gpu} is below data.max_length={data.max_length}: "
        "the longest row does not fit a micro-batch. Raise the first, or lower the second.",
    ),
    (
        lambda c: not c.data.val_files and c.trainer.test_freq not in (-1, 0),
        "trainer.test_freq={trainer.test_freq} validates, but data.val_files does not name a file: "
        "set trainer.test_freq=-1, or name a file.",
    ),
    (
        lambda c: c.trainer.resume_from_path is not None and c.trainer.resume_mode != "resume_path",
        "trainer.resume_from_path={trainer.resume_from_path} is given, but trainer.resume_mode="
        "{trainer.resume_mode}: set trainer.resume_mode=resume_path, or leave the path out.",
    ),
    (
        lambda c: "file" not in c.trainer.logger,
        "trainer.logger={trainer.logger} lacks file, from which the run report takes the steps: add it.",
    ),
    (
        lambda c: c.model.lora.rank != 0,
        "model.lora.rank={model.lora.rank} is verl's key for Megatron: set model.lora_rank.",
    ),
    (
        lambda c: c.engine.ulysses_sequence_parallel_size != 1,
        "engine.ulysses_sequence_parallel_size={engine.ulysses_sequence_parallel_size} is not "
        "supported: sequence parallelism was never tried with these rows. Set it to 1.",
    ),
)
"""Settings that contradict each other: when, and the message."""


def check_sft(config: DictConfig) -> ExampleConfig:
    """Refuse what cannot work, name the run, and return what is learned from a row.

    Raises:
        ValueError: naming key, value and remedy of the first thing that cannot work.
    """
    examples = build(ExampleConfig, plain(config.data.get("examples")), "data.examples")
    refuse_values(config, SFT_VALUES)
    for refuses, message in SFT_REFUSALS:
        if refuses(config):
            raise ValueError(_filled(message, config))
    if config.trainer.experiment_name is None:
        config.trainer.experiment_name = _run_name(config)
    return examples


def _filled(message: str, config: DictConfig) -> str:
    """Return a message in which the value of a key stands for `{key}`."""
    for key in {part.partition("}")[0] for part in message.split("{")[1:]}:
        message = message.replace(f"{{{key}}}", str(OmegaConf.select(config, key)))
    return message


def _run_name(config: DictConfig) -> str:
    """Return sft, model, thinking and seed, for instance `sft_Qwen3-4B_nonthinking_seed0`."""
    thinks = plain(config.data.apply_chat_template_kwargs).get("enable_thinking")
    thinking = [] if thinks is None else ["thinking" if thinks else "nonthinking"]
    return "_".join(["sft", Path(config.model.path).name, *thinking, f"seed{config.trainer.seed}"])
