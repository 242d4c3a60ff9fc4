"""How answers are sampled: settings, presets, and the seed of each sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

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

    def samples_for(self, benchmark: str) -> int:
        """Return K of a benchmark."""
        return self.samples_of.get(benchmark, self.samples)

    def seed_for(self, benchmark: str, problem: str, sample: int) -> int:
        """Return the seed of one sample, from 0 to 2^31 - 1; a function of the arguments and `seed` alone."""
        digest = hashlib.sha256(f"{self.seed}/{benchmark}/{problem}/{sample}".encode()).digest()
        return int.from_bytes(digest[:4]) >> 1


PRESETS: dict[str, Settings] = {
    # Five runs of 4 samples: the mean of five avg@4 is avg@20.
    "paper": Settings(samples_of={"aime24": 20}),
    "precise": Settings(samples_of={"aime24": 16, "aime25": 16, "hmmt_feb_2025": 16}),
    "rehearsal": Settings(top_p=1.0, max_new_tokens=256, dtype="float32"),
}
"""`paper`: the paper's protocol. `precise`: 16 samples where a benchmark has 30 problems. `rehearsal`: for
the small model of the CPU rehearsal."""
DEFAULT_PRESET = "paper"
