"""Trainer `egrsd_sync`: verl's synchronous step, with a teacher and token credit before the update."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.debug import marked_timer
from verl.utils.device import get_device_name
from verl.workers.utils.padding import response_to_nested

from verl_egrsd.checkpoints.resume import STATE_FILE, read_state, settle_start
from verl_egrsd.compat import assert_registered, check_verl
from verl_egrsd.config import ESTIMATORS
from verl_egrsd.credit import RunningAdvantage, TokenCredit, is_correct, token_credit
from verl_egrsd.metrics import (
    RunningQuantiles,
    credit_metrics,
    denominator_settings,
    rollout_metrics,
    verdict_metrics,
)
from verl_egrsd.preflight import TRAINER, check_files, plain, preflight, scoring_role
from verl_egrsd.preflight.reading import VERIFIER
from verl_egrsd.reward import self_test, warn_of_hidden_marks
from verl_egrsd.rollouts.outcome import Caps, OutcomeWarnings, end_token_ids, truncated_rows
from verl_egrsd.rollouts.wording import wording_metrics
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.balance import balanced_order, ranks_of
from verl_egrsd.trainer.dataset import use_privileged_dataset
from verl_egrsd.trainer.dump import dump_rollouts
from verl_egrsd.trainer.estimators import completed_by_trainer
from verl_egrsd.trainer.moving_teacher import MovingTeacher
from verl_egrsd.trainer.prompts import may_think_less, teacher_prompts
from verl_egrsd.trainer.reported import Reported
from verl_egrsd.trainer.rollout_match import RolloutMatch
from verl_egrsd.trainer.worker import TEACHER_FIELDS, TeacherWorker

logger = logging.getLogger(__name__)

CPU_POLL_SECONDS = 0.1
"""verl looks for finished rollouts every 2 s; those of a small model take less."""


@register_trainer(TRAINER)
class EgrsdTrainer(MovingTeacher, Reported, RolloutMatch, PPOTrainerSync):
    """Adds three things to a step of verl: teacher scores, the running baseline, and credit per token.

    The order is verl's: rollout, reward, balance, the student's log-probs; then, in `_compute_advantage`, the
    teacher scores the same response ids, verl's estimator gives the reward (or another estimator of verl the
    direction), and A * ratio * gate is written in place of the advantages. The update is verl's.
    """

    def __init__(self, config: DictConfig) -> None:
        check_verl()
        assert_registered()
        self.egrsd, self.teacher_config = preflight(config)
        check_files(config)
        self.start = settle_start(config)
        if config.reward.custom_reward_function.path == VERIFIER:
            self_test()
        with open_dict(config):
            # verl treats every mode other than "sync" as asynchronous.
            config.trainer.v1.trainer_mode = "sync"
            if config.trainer.resume_mode == "resume_path":
                # verl reads the step from the end of the name, where a slash may stand.
                config.trainer.resume_from_path = str(self.start.checkpoint)
            config.data.egrsd_teacher = (
                plain(config.actor_rollout_ref.teacher) if self.egrsd.uses_teacher else None
            )
            config.data.egrsd_verifier = config.reward.custom_reward_function.path == VERIFIER
        use_privileged_dataset(config)
        super().__init__(config)
        if get_device_name() == "cpu":
            self.replay_buffer.poll_interval = CPU_POLL_SECONDS
        self.running_advantage = RunningAdvantage(self.egrsd.warmup_steps, self.egrsd.warmup_baseline)
        self.quantiles = RunningQuantiles()

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        student_kwargs = plain(self.config.data.get("apply_chat_template_kwargs"))
        self.context = PrivilegedContext.from_config(self.tokenizer, self.teacher_config, student_kwargs)
        student, teacher = self.context.headers()
        if student != teacher:
            logger.warning("generation headers differ: student %r, teacher %r", student, teacher)
        if self.config.reward.custom_reward_function.path == VERIFIER:
            warn_of_hidden_marks(self.tokenizer)
        model = omega_conf_to_dataclass(self.config.actor_rollout_ref.model)
        self.end_token_ids = end_token_ids(self.tokenizer, model.generation_config)
        data, estimator = self.config.data, self.config.algorithm.adv_estimator
        self.outcomes = OutcomeWarnings(
            Caps(
                data.max_response_length,
                data.max_prompt_length,
                self.config.actor_rollout_ref.rollout.max_model_len,
            ),
            self.egrsd.correct_above,
            None if estimator in ESTIMATORS else estimator,
            may_think_less=may_think_less(self.context),
        )

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        batch = self.config.data.train_batch_size
        if len(self.train_dataset) < batch:
            raise ValueError(
                f"{len(self.train_dataset)} training rows are left, less than one batch "
                f"(data.train_batch_size={batch}): add data or lower the batch size."
            )
        self._let_steps_decide()
        if self.train_dataset.dropped:
            path = Path(self.config.trainer.default_local_dir) / "dropped_prompts.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row._asdict()) + "\n" for row in self.train_dataset.dropped))
            logger.warning("%d training rows left out, listed in %s", len(self.train_dataset.dropped), path)

    def _let_steps_decide(self) -> None:
        """Set the epochs that the steps need, where verl would stop at the end of the data, and say so."""
        trainer, batch = self.config.trainer, self.config.data.train_batch_size
        trainer.total_epochs = -(-self.total_training_steps // self.steps_per_epoch)
        saved = (
            f"every {trainer.save_freq} steps and after the last one" if trainer.save_freq > 0 else "never"
        )
        print(
            f"verl_egrsd: {len(self.train_dataset)} training rows in batches of {batch} give "
            f"{self.steps_per_epoch} steps per epoch; the {self.total_training_steps} steps of this run go "
            f"through the data {self.total_training_steps / self.steps_per_epoch:.3g} times; checkpoints are "
            f"written {saved} (trainer.save_freq={trainer.save_freq})."
        )

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        reference = self.egrsd.uses_teacher and scoring_role(self.config, self.teacher_config) == "ref"
        if reference and Role.ActorRollout in self.mapping:
            self.mapping[Role.ActorRolloutRef] = self.mapping.pop(Role.ActorRollout)
            self.role_worker_mapping[Role.ActorRolloutRef] = self.role_worker_mapping.pop(Role.ActorRollout)
        for role in (Role.ActorRollout, Role.ActorRolloutRef):
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(TeacherWorker)

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> KVBatchMeta:
        expected = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        if len(batch) != expected:
            raise RuntimeError(
                f"{expected - len(batch)} of {expected} rollouts are missing: their agent loop or reward "
                "function failed (search the log for 'Error in _run_prompt'). verl would train on padding "
                "in their place."
            )
        return super()._balance_batch(batch, metrics, *args, **kwargs)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        self._look_at_scores(batch)
        if self.egrsd.uses_teacher:
            with marked_timer("teacher", self.timing_raw, color="olive"):
                self._compute_teacher_log_prob(batch, metrics)
        with completed_by_trainer():
            batch = super()._compute_advantage(batch, metrics)
        self._credit_tokens(batch, metrics)
        return batch

    def _look_at_scores(self, batch: KVBatchMeta) -> None:
        scores = queue.read(batch, ("rm_scores",))["rm_scores"]
        column = scores.to_padded_tensor(0.0)[queue.real_rows(batch)]
        everywhere = torch.ones_like(column, dtype=torch.bool)
        self._require_finite((column,), everywhere, batch, names=("the reward function's score",))
        self.outcomes.look_at_scores(column.sum(dim=1))

    def _compute_teacher_log_prob(self, batch: KVBatchMeta, metrics: dict) -> None:
        """Write `teacher_prompts`, then have the workers write `teacher_log_prob` and `teacher_entropy`."""
        prompts = teacher_prompts(batch, self.context)
        real = queue.real_rows(batch).tolist()
        own = [len(ids) for ids, counts in zip(prompts, real, strict=True) if counts]
        queue.write(batch, {"teacher_prompts": queue.jagged(prompts)})
        lengths = [len(ids) + tag["response_len"] for ids, tag in zip(prompts, batch.tags, strict=True)]
        order = balanced_order(lengths, ranks_of(self.actor_rollout_wg, "teacher"))
        longest = max(own) + self.config.data.max_response_length
        per_gpu = self.teacher_config.max_token_len_per_gpu or self._engine_tokens_per_gpu()
        self.actor_rollout_wg.compute_teacher_log_prob(
            queue.view(
                batch,
                TEACHER_FIELDS,
                order=order,
                temperature=self.config.actor_rollout_ref.rollout.temperature,
                max_token_len_per_gpu=max(per_gpu, longest),
            )
        )
        metrics["egrsd/teacher_prompt/longest"] = max(own)
        metrics["egrsd/teacher_prompt/mean"] = sum(own) / len(own)
        metrics["egrsd/dropped_prompts"] = len(self.train_dataset.dropped)

    def _engine_tokens_per_gpu(self) -> int:
        section, role = self.config.actor_rollout_ref, scoring_role(self.config, self.teacher_config)
        return (section.ref if role == "ref" else section.rollout).log_prob_max_token_len_per_gpu

    def _credit_tokens(self, batch: KVBatchMeta, metrics: dict) -> None:
        """Write A * ratio * gate in place of the advantages; padding rows get zeros."""
        teacher_fields = ("teacher_log_prob", "teacher_entropy") if self.egrsd.uses_teacher else ()
        fields = ("advantages", "response_mask", "old_log_probs", "responses", "rm_scores", *teacher_fields)
        data = queue.read(batch, fields)
        nested_mask, real = data["response_mask"], queue.real_rows(batch)
        lengths = data["responses"].offsets().diff()[real]
        columns = {name: column[real] for name, column in data.to_padded_tensor().items()}
        mask = columns["response_mask"].bool()
        rewards, direction = self._direction(columns)
        result = self._token_credit(direction, columns, mask, batch, metrics)
        credit = torch.zeros(len(batch), mask.shape[1])
        credit[real] = result.credit
        queue.write(batch, {"advantages": response_to_nested(credit, nested_mask)})
        self._step_rewards = rewards
        truncated = truncated_rows(columns["responses"], lengths, self.end_token_ids)
        self.outcomes.look_at_cuts(truncated, lengths, queue.prompt_lengths(batch)[real])
        scores = columns["rm_scores"].sum(dim=1)
        correct = is_correct(scores, self.egrsd.correct_above)
        self._report_verdicts(batch, scores, correct, metrics)
        metrics.update(
            rollout_metrics(
                credit=result.credit,
                advantages=direction.sum(dim=1),
                rewards=rewards,
                correct=correct,
                truncated=truncated,
                response_mask=mask,
            )
        )
        words, ngram = self.report.config.hesitation_words, self.report.config.ngram
        wording = wording_metrics(columns["responses"], mask, self.tokenizer, words=words, ngram=ngram)
        metrics.update(wording)
        if self.config.trainer.get("rollout_data_dir") and self.egrsd.uses_teacher:
            columns |= {"advantages": direction.expand_as(result.credit), **result._asdict()}
            rows = {"reward": rewards, "truncated": truncated, "length": lengths}
            self._dump_rollouts(batch, columns, rows)

    def _dump_rollouts(self, batch: KVBatchMeta, columns: dict[str, Tensor], rows: dict[str, Tensor]) -> None:
        """Write what this step knows about each token, for `verl-egrsd inspect`."""
        facts = {
            "step": self.global_steps,
            "model": self.config.actor_rollout_ref.model.path,
            "settings": asdict(self.egrsd),
            "low": self.quantiles.quantile(self.egrsd.lock_quantile),
            "high": self.quantiles.quantile(self.egrsd.fork_quantile),
        }
        dump_rollouts(self.config.trainer.rollout_data_dir, batch, self.tokenizer, columns, rows, facts)

    def _report_verdicts(self, batch: KVBatchMeta, scores: Tensor, correct: Tensor, metrics: dict) -> None:
        """Report why answers were right or wrong; a step without a right one is a warning."""
        extra = queue.rows(queue.read(batch, ("extra_fields",))["extra_fields"])
        rows = queue.real_rows(batch).nonzero().flatten().tolist()
        verdicts = verdict_metrics([extra[row].get("reward_extra_info", {}) for row in rows], correct)
        metrics.update(verdicts)
        if not correct.any():
            shares = {name.rpartition("/")[2]: round(share, 2) for name, share in verdicts.items() if share}
            logger.warning(
                "none of the %d answers of this step is correct (highest score %g, "
                "algorithm.egrsd.correct_above=%g): %s. With error alone the verifier fails; with no_answer "
                "alone the prompt asks for no box, or every answer is cut.",
                *(len(rows), scores.max(), self.egrsd.correct_above, shares),
            )

    def _direction(self, columns: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return rewards (batch,) and A, (batch, 1) for our estimators and (batch, time) for verl's own."""
        advantages = columns["advantages"]
        if self.config.algorithm.adv_estimator not in ESTIMATORS:
            return columns["rm_scores"].sum(dim=1), advantages
        # The estimator put the reward, never negative, on every response token.
        rewards = advantages.amax(dim=1)
        return rewards, self.running_advantage.advantages(rewards).unsqueeze(1)

    def _token_credit(
        self, direction: Tensor, columns: dict[str, Tensor], mask: Tensor, batch: KVBatchMeta, metrics: dict
    ) -> TokenCredit:
        if not self.egrsd.uses_teacher:
            ones = mask.float()
            return TokenCredit(credit=direction * ones, ratio=ones, gate=ones)
        scores = (columns["teacher_log_prob"], columns["old_log_probs"], columns["teacher_entropy"])
        self._require_finite(scores, mask, batch)
        result = token_credit(
            direction,
            *scores,
            mask,
            gamma=self.egrsd.gamma,
            window=self.egrsd.window,
            clip=self.egrsd.clip,
            floor=self.egrsd.floor,
            gate_control=self.egrsd.gate_control,
            seed=self.egrsd.seed + self.global_steps,
            **denominator_settings(self.egrsd),
        )
        metrics.update(credit_metrics(result, *scores, mask, self.egrsd, self.quantiles))
        return result

    def _require_finite(
        self,
        scores: tuple[Tensor, ...],
        mask: Tensor,
        batch: KVBatchMeta,
        names: tuple[str, ...] = ("teacher_log_prob", "old_log_probs", "teacher_entropy"),
    ) -> None:
        for name, values in zip(names, scores, strict=True):
            bad = mask & ~values.isfinite()
            rows = bad.any(dim=1)
            if rows.any():
                row = int(queue.real_rows(batch).nonzero()[int(rows.nonzero()[0])])
                prompt = queue.rows(queue.read(batch, ("raw_prompt",))["raw_prompt"])[row][-1]["content"]
                raise RuntimeError(
                    f"{name} is not finite for {int(rows.sum())} rollouts, first {values[bad][0].item()} for "
                    f"prompt {prompt[:200]!r}."
                )

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        self.running_advantage.update(self._step_rewards)
        return batch

    def _save_checkpoint(self) -> None:
        # Before verl's own files: its last one marks the checkpoint as complete.
        path = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}" / STATE_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        model = self.config.actor_rollout_ref.model.path
        state = {
            "base_model": str(Path(model).resolve()) if Path(model).is_dir() else model,
            "advantage": self.running_advantage.state_dict(),
            "quantiles": self.quantiles.state_dict(),
            "fingerprint": self.start.fingerprint,
            "breaks": self.start.breaks,
        }
        path.write_text(json.dumps(state))
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        # A position among other rows means nothing.
        beginning = self.train_dataloader.state_dict() if self.start.data_starts_anew else None
        super()._load_checkpoint()
        if self.start.checkpoint is None:
            return
        if beginning is not None:
            self.train_dataloader.load_state_dict(beginning)
        state = read_state(self.start.checkpoint)
        self.running_advantage.load_state_dict(state["advantage"])
        self.quantiles.load_state_dict(state["quantiles"])
