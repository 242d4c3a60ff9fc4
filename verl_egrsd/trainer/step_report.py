"""The report of a step: metrics, warnings in the log, and the rollouts for `verl-egrsd inspect`."""

from __future__ import annotations

import logging
from typing import Any

from verl_egrsd.methods import Method
from verl_egrsd.metrics import method_metrics, rollout_metrics, verdict_metrics
from verl_egrsd.report.settings import ReportConfig
from verl_egrsd.rollouts.outcome import OutcomeWarnings
from verl_egrsd.rollouts.wording import wording_metrics
from verl_egrsd.trainer.advantage_step import AdvantageStep, CreditedStep

logger = logging.getLogger(__name__)


class StepReport:
    """Reports the steps of a run.

    Args:
        tokenizer: tokenizer of the model.
        outcomes: warns of unusual scores and truncated responses.
    """

    def __init__(self, tokenizer: Any, outcomes: OutcomeWarnings) -> None:
        self.tokenizer, self.outcomes = tokenizer, outcomes

    def metrics(self, step: CreditedStep, source: AdvantageStep, report: ReportConfig) -> dict[str, float]:
        """Return the metrics of a step, and log its warnings."""
        rollouts, columns, credited = step
        self.outcomes.look_at_scores(rollouts.scores)
        self.outcomes.look_at_cuts(rollouts.truncated, rollouts.lengths, rollouts.prompt_lengths)
        verdicts = verdict_metrics(rollouts.verdicts, columns.correct)
        if not columns.correct.any():
            _warn_of_no_correct_answer(step, source.method, verdicts)
        return {
            **method_metrics(source.method, columns, credited, source.trackers),
            **rollout_metrics(columns, credited.advantages.sum(dim=1), rollouts.truncated),
            **verdicts,
            **wording_metrics(
                rollouts.response_ids,
                columns.response_mask,
                self.tokenizer,
                words=report.hesitation_words,
                ngram=report.ngram,
            ),
        }


def _warn_of_no_correct_answer(step: CreditedStep, method: Method, verdicts: dict[str, float]) -> None:
    shares = {name.rpartition("/")[2]: round(share, 2) for name, share in verdicts.items() if share}
    logger.warning(
        "none of the %d answers of this step is correct (highest score %g, "
        "algorithm.egrsd.correct_above=%g): %s. If all are error, the verifier fails; if all are "
        "no_answer, the prompt asks for no box, or every answer is truncated.",
        *(len(step.rollouts.scores), step.rollouts.scores.max(), method.reward.correct_above, shares),
    )
