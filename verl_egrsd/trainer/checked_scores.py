"""Rollouts without a usable score: they end the run, or are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any

from transfer_queue import KVBatchMeta

from verl_egrsd.preflight.reading import score_checks
from verl_egrsd.reward.acceptance import REFUSED
from verl_egrsd.trainer import queue

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

REMEDY = (
    "Mend the reward function; or state its scale (scores.range=[LOWEST,HIGHEST]) or a longer "
    "scores.time_limit; or leave such rollouts out (scores.refused=drop), which egrsd/refused_scores counts."
)


class CheckedScores(Trainer):
    """Looks at the scores of a step, and of a validation, before anything is made of them."""

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> KVBatchMeta:
        expected = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        if len(batch) != expected:
            raise RuntimeError(
                f"{expected - len(batch)} of {expected} rollouts are missing: their agent loop or reward "
                "function failed. verl would train on padding in their place."
            )
        batch = self._without_refused(batch, metrics)
        return super()._balance_batch(batch, metrics, *args, **kwargs)

    def _without_refused(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        data = queue.read(batch, ["extra_fields", "raw_prompt", "uid"])
        verdicts, prompts, uids = (queue.rows(data[name]) for name in ("extra_fields", "raw_prompt", "uid"))
        refused = {row: why for row, fields in enumerate(verdicts) if (why := why_refused(fields))}
        named = [
            f"{why} for the rollout of prompt {last_turn(prompts[row])!r} (uid {uids[row]})"
            for row, why in refused.items()
        ]
        metrics |= refuse(named, len(batch), self.config)
        return queue.drop(batch, [batch.keys[row] for row in refused]) if refused else batch

    def _val_metrics_update(
        self,
        data_sources: list[str],
        sample_uids: list[str],
        reward_extra_infos_dict: dict[str, list],
        sample_turns: list,
        expected_acc_counts: Mapping[tuple[str, str], int],
    ) -> dict[str, float]:
        whys = reward_extra_infos_dict.pop(REFUSED, None) or [""] * len(data_sources)
        rows = list(zip(data_sources, sample_uids, whys, strict=True))
        named = [f"{why} for a validation row of {source} (uid {uid})" for source, uid, why in rows if why]
        counts = refuse(named, len(rows), self.config)
        usable = [not why for why in whys]
        lost = Counter((str(source), str(uid)) for source, uid, why in rows if why)
        metrics = super()._val_metrics_update(
            list(compress(data_sources, usable)),
            list(compress(sample_uids, usable)),
            {name: list(compress(values, usable)) for name, values in reward_extra_infos_dict.items()},
            sample_turns,
            expected_acc_counts=Counter(expected_acc_counts) - lost,
        )
        return metrics | {f"val-aux/{name}": value for name, value in counts.items()}


def why_refused(extra_fields: Mapping[str, Any] | None) -> str:
    """Return why a row has no usable score; "" if it has one, or if its reward manager is not guarded."""
    return (extra_fields or {}).get("reward_extra_info", {}).get(REFUSED, "")


def last_turn(messages: Any) -> str:
    """Return the start of the last message of a prompt."""
    return str(messages[-1]["content"])[:200]


def refuse(named: list[str], rollouts: int, config: Any) -> dict[str, float]:
    """Return the count of refused rollouts, where the user chose to drop them.

    Args:
        named: for each refused rollout, why, and which row it is.
        rollouts: how many there are in all.
        config: of the run.

    Raises:
        ValueError: naming the first one, if there are any and they end the run, or if all were refused.
    """
    drop = score_checks(config).refused == "drop"
    if named and (not drop or len(named) == rollouts):
        raise ValueError(
            f"the reward function gave no usable score for {len(named)} of {rollouts} rollouts; the first: "
            f"{named[0]}. {REMEDY}"
        )
    return {"egrsd/refused_scores": len(named)} if drop else {}
