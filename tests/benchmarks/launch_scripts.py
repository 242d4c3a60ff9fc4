"""What becomes of public launch scripts of verl when the three keys of this package are added to them.

    python -m tests.benchmarks.launch_scripts

It writes results/launch_scripts.md beside this file. `launch_scripts.json` holds the configuration and the
overrides that each script hands to `verl.trainer.main_ppo`, by path in a commit of verl's repository: the
scripts were run with an empty environment and a stand-in for Python that notes its arguments, for GPUs, with
their own defaults; names of runs, Ray's and the profiler's keys are left out. Each list is composed on the
installed verl, with the three keys in place of its own, and checked by `preflight`. What is refused is noted
and taken out, until nothing more is refused, so all reasons of a script are known. "another verl" is a script
with keys that the installed verl does not have.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import verl
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from verl_egrsd.output.tables import text_table
from verl_egrsd.preflight import preflight

HERE = Path(__file__).parent
VERLS = str(Path(verl.__file__).parent / "trainer" / "config")
THREE = {
    "algorithm.adv_estimator": "egrsd",
    "actor_rollout_ref.actor.policy_loss.loss_mode": "egrsd",
    "trainer.v1.trainer_mode": "egrsd_sync",
}
ONE_UPDATE = "actor_rollout_ref.actor.ppo_mini_batch_size"


@dataclass
class Outcome:
    """What preflight says about one script."""

    refused: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    of_another_verl: bool = False

    @property
    def verdict(self) -> str:
        """One word for the table."""
        if self.refused:
            return "refused"
        return "another verl" if self.of_another_verl else "named" if self.named else "passes"


class _Warnings(logging.Handler):
    """Keeps the keys that preflight's warning names."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the key at the beginning of each line."""
        self.keys = re.findall(r"^  - ([\w.]+)=", record.getMessage(), flags=re.MULTILINE)


def key_of(override: str) -> str:
    """The key of `+key=value`."""
    return override.partition("=")[0].lstrip("+")


def composed(name: str, overrides: dict[str, str]) -> DictConfig:
    """A configuration of verl with the overrides, by key."""
    with initialize_config_dir(VERLS, version_base=None):
        return compose(name, list(overrides.values()))


def outcome(script: dict[str, Any]) -> Outcome:
    """Add the three keys to the overrides of a script and ask preflight, until it refuses nothing more."""
    overrides = {key_of(line): line for line in script["overrides"]}
    overrides |= {key: f"{key}={name}" for key, name in THREE.items()}
    found, warnings = Outcome(), _Warnings()
    logger = logging.getLogger("verl_egrsd.preflight")
    logger.addHandler(warnings)
    logger.propagate = False
    try:
        while True:
            try:
                preflight(composed(script["config"], overrides))
                break
            except HydraException:
                found.of_another_verl = True
                break
            except ValueError as refusal:
                key, taken_out = _reason(str(refusal), overrides)
                found.refused.append(key)
                if not taken_out:
                    break
    finally:
        logger.removeHandler(warnings)
    found.named = warnings.keys
    return found


def _reason(message: str, overrides: dict[str, str]) -> tuple[str, bool]:
    """Return the key that a refusal names, and whether taking it out of the overrides mends it."""
    if "updates per batch" in message:
        batch = overrides["data.train_batch_size"].partition("=")[2]
        overrides[ONE_UPDATE] = f"{ONE_UPDATE}={batch}"
        overrides.pop("actor_rollout_ref.actor.ppo_epochs", None)
        return "more than one update per batch", True
    if "entropy would come back" in message:
        return "actor_rollout_ref.model.use_remove_padding", False
    key = message.partition("=")[0].partition(" ")[0]
    return key, overrides.pop(key, None) is not None


def main() -> None:
    """Check all scripts and write the table."""
    scripts = json.loads((HERE / "launch_scripts.json").read_text())
    outcomes = {path: outcome(script) for path, script in scripts["scripts"].items()}
    verdicts = Counter(found.verdict for found in outcomes.values())
    refused = Counter(key for found in outcomes.values() for key in dict.fromkeys(found.refused))
    named = Counter(key for found in outcomes.values() for key in found.named)
    rows = [
        (f"`{path}`", found.verdict, _quoted(found.refused), _quoted(found.named))
        for path, found in outcomes.items()
    ]
    text = [
        "# Public launch scripts of verl with the three keys of this package",
        "",
        f"{len(outcomes)} scripts of {scripts['repository']} at commit `{scripts['commit']}`, with the",
        "overrides that they hand to `verl.trainer.main_ppo`. `tests/benchmarks/launch_scripts.py` writes",
        "this page and says how.",
        "",
        text_table(("outcome", "scripts"), [(verdict, str(n)) for verdict, n in verdicts.most_common()]),
        "",
        text_table(("refused for", "scripts"), _counts(refused)),
        "",
        text_table(("named in the warning", "scripts"), _counts(named)),
        "",
        text_table(("script", "outcome", "refused for", "named"), rows, "llll"),
    ]
    (HERE / "results" / "launch_scripts.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _counts(keys: Counter[str]) -> list[tuple[str, str]]:
    return [(f"`{key}`", str(count)) for key, count in keys.most_common()]


if __name__ == "__main__":
    main()
