"""How samples are drawn, and which of them become rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from verl_egrsd.evaluation.settings import Settings

if TYPE_CHECKING:
    from verl_egrsd.evaluation.samples import Sample  # imports the verifier, which the console need not have


@dataclass(frozen=True)
class Filters:
    """Which samples become rows; the fields act in their order.

    Attributes:
        pass_rate: least and greatest share of correct samples of a problem, in [0, 1].
        correct_only: drop wrong samples.
        drop_truncated: drop samples that ended at the limit of new tokens.
        drop_stubs: drop samples of a single line; empty ones always go.
        drop_shortest: share of the samples left that are dropped, the shortest ones, in [0, 1).
    """

    pass_rate: tuple[float, float] = (0.0, 1.0)
    correct_only: bool = False
    drop_truncated: bool = False
    drop_stubs: bool = False
    drop_shortest: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shares out of range."""
        low, high = self.pass_rate
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"--pass-rate {low} {high} is not allowed: it must be two shares, 0 <= low <= high <= 1."
            )
        if not 0 <= self.drop_shortest < 1:
            raise ValueError(f"--drop-shortest {self.drop_shortest} is not allowed: it must be in [0, 1).")

    def keep(
        self, samples: Sequence[Sample], pass_rates: dict[str, float]
    ) -> tuple[list[Sample], dict[str, int]]:
        """Return the samples that are kept, and how many each filter dropped.

        Args:
            samples: of one data file.
            pass_rates: share of correct samples, by id of the problem.
        """
        low, high = self.pass_rate
        stages: dict[str, Callable[[Sample], bool]] = {
            "pass_rate": lambda sample: low <= pass_rates[sample.problem] <= high,
            "empty": lambda sample: bool(sample.text.strip()),
        }
        if self.correct_only:
            stages["wrong"] = lambda sample: sample.correct
        if self.drop_truncated:
            stages["truncated"] = lambda sample: not is_truncated(sample)
        if self.drop_stubs:
            stages["stubs"] = lambda sample: "\n" in sample.text.strip()
        kept, dropped = list(samples), {}
        for name, keeps in stages.items():
            before, kept = len(kept), [sample for sample in kept if keeps(sample)]
            dropped[name] = before - len(kept)
        shortest = _least_tokens(kept, self.drop_shortest)
        dropped["shortest"] = sum(sample.tokens < shortest for sample in kept)
        return [sample for sample in kept if sample.tokens >= shortest], dropped


class Protocol(NamedTuple):
    """A preset: how samples are drawn, and which are kept."""

    settings: Settings
    filters: Filters


_ROLLOUTS = Settings(samples=8, thinking=False, temperature=1.1, top_p=0.95, top_k=20, max_new_tokens=1024)
PROTOCOLS: dict[str, Protocol] = {
    "rollouts": Protocol(_ROLLOUTS, Filters()),
    "ssd": Protocol(
        Settings(samples=1, temperature=1.5, top_p=0.8, top_k=20, max_new_tokens=16_384),
        Filters(drop_truncated=True, drop_stubs=True, drop_shortest=0.1),
    ),
    "rehearsal": Protocol(Settings(top_p=1.0, max_new_tokens=256, dtype="float32"), Filters()),
}
"""`rollouts`: as training draws its rollouts. `ssd`: simple self-distillation. `rehearsal`: for the small
model of the CPU rehearsal."""
DEFAULT_PROTOCOL = "rollouts"


def is_truncated(sample: Sample) -> bool:
    """Whether a sample ended at the limit of new tokens."""
    return sample.finish_reason == "length"


def _least_tokens(samples: Sequence[Sample], share: float) -> int:
    """Return the length below which a share of the samples lies; of equal lengths all stay."""
    lengths = sorted(sample.tokens for sample in samples)
    return lengths[int(share * len(lengths))] if lengths else 0
