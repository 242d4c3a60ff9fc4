"""How answers are sampled: settings, presets, the seed of each sample, and the use of the machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from verl_egrsd.teacher.templates import Template, get_template

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Settings:
    """Everything but model and problems that affects the answers; runs with equal settings are comparable.

    Attributes:
        samples: K, answers per problem.
        samples_of: benchmarks with another number of answers per problem, by name.
        seed: the seeds of all samples are derived from it.
        thinking: thinking flag of the chat template (`enable_thinking`).
        temperature: sampling temperature; 0 is greedy.
        top_p: probability mass to sample from.
        top_k: number of tokens to sample from; 0 for all.
        max_new_tokens: longest answer, in tokens.
        dtype: type of weights and activations.
        template: template of the teacher's prompt, which is answered in place of the student's; None answers
            the student's.
        template_text: its text, if it is not one of the package's.
    """

    samples: int = 4
    samples_of: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    thinking: bool = True
    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int = 0
    max_new_tokens: int = 32_768
    dtype: str = "bfloat16"
    template: str | None = None
    template_text: str | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, naming key, value and remedy."""
        counts = {"samples": self.samples} | {f"samples of {name}": k for name, k in self.samples_of.items()}
        for key, value in (counts | {"max_new_tokens": self.max_new_tokens}).items():
            if value < 1:
                raise ValueError(f"{key}={value} is not allowed: it must be at least 1.")
        for key, allowed, remedy in (
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
        ):
            if not allowed:
                raise ValueError(f"{key}={getattr(self, key)!r} is not allowed: it must be {remedy}.")
        if self.temperature == 0 and max(counts.values()) > 1:
            raise ValueError(
                f"temperature=0 gives {max(counts.values())} equal samples: take 1 sample, or a temperature."
            )
        if self.teacher_template is not None and self.teacher_template.reads_rollouts:
            raise ValueError(
                f"template={self.template!r} is not allowed: it shows rollouts of a training step. Show one "
                "of the data in a template of your own, such as <<extra_info.sibling>> of verl-egrsd sample."
            )

    @property
    def teacher_template(self) -> Template | None:
        """The template of the teacher's prompt; None for the student's prompt."""
        return None if self.template is None else get_template(self.template, self.template_text)

    def samples_for(self, benchmark: str) -> int:
        """Return K of a benchmark."""
        return self.samples_of.get(benchmark, self.samples)

    def seed_for(self, benchmark: str, problem: str, sample: int) -> int:
        """Return the seed of one sample, from 0 to 2^31 - 1; a function of the arguments and `seed` alone."""
        digest = hashlib.sha256(f"{self.seed}/{benchmark}/{problem}/{sample}".encode()).digest()
        return int.from_bytes(digest[:4]) >> 1


@dataclass(frozen=True)
class EngineOptions:
    """How vLLM uses the machine; this changes the answers only by rounding.

    Attributes:
        replicas: engines that share the samples; None for one per GPU.
        tensor_parallel_size: GPUs that share the model.
        gpu_memory_utilization: share of the GPU's memory that vLLM takes.
        max_num_seqs: most answers that an engine generates at once; None takes vLLM's default.
        enforce_eager: no compilation and no CUDA graphs: starts faster, generates more slowly.
        no_progress: a replica counts as one that died if its start takes so many seconds, or if its answers
            do not grow for so long.
    """

    replicas: int | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    max_num_seqs: int | None = None
    enforce_eager: bool = False
    no_progress: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse counts below 1, and a limit that is not positive."""
        for key in ("replicas", "tensor_parallel_size", "max_num_seqs"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}={value} is not allowed: it must be at least 1.")
        if not self.no_progress > 0:
            raise ValueError(
                f"no_progress={self.no_progress} is not allowed: it must be positive, in seconds."
            )

    def needs_ray(self) -> bool:
        """Return whether replicas draw the samples: Ray starts them, on this machine or on a cluster."""
        if self.replicas is not None:
            return self.replicas > 1
        if os.environ.get("RAY_ADDRESS"):
            return True
        import torch

        return torch.cuda.device_count() // self.tensor_parallel_size > 1


PRESETS: dict[str, Settings] = {
    # Five runs of 4 samples: the mean of five avg@4 is avg@20.
    "paper": Settings(samples_of={"aime24": 20}),
    "precise": Settings(samples_of={"aime24": 16, "aime25": 16, "hmmt_feb_2025": 16}),
    "rehearsal": Settings(top_p=1.0, max_new_tokens=256, dtype="float32"),
}
"""`paper`: the paper's protocol. `precise`: 16 samples where a benchmark has 30 problems. `rehearsal`: for
the small model of the CPU rehearsal."""
DEFAULT_PRESET = "paper"
