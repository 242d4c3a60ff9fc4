"""Trainer `egrsd_sync`: verl's synchronous step, with a teacher and token credit before the update."""

from __future__ import annotations

import json
import logging
from itertools import compress
from pathlib import Path

import ray
from omegaconf import DictConfig, open_dict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.debug import marked_timer
from verl.utils.device import get_device_name

from verl_egrsd.checkpoints.resume import settle_start
from verl_egrsd.compat import assert_registered, check_verl
from verl_egrsd.methods.columns import PASS_RATE, POLICY_CREDIT, STUDENT_HIDDEN, TEACHER_COLUMNS
from verl_egrsd.network import warn_if_reachable
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.run_folders import TRAINER_LOCK, hold_output
from verl_egrsd.preflight import TRAINER, check_files, plain, preflight, scoring_role
from verl_egrsd.preflight.model_code import code_of_model
from verl_egrsd.preflight.reading import VERIFIER
from verl_egrsd.reward import self_test, warn_of_hidden_marks
from verl_egrsd.rollouts.outcome import Caps, OutcomeWarnings, end_token_ids
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.steering import strength
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.advantage_step import AdvantageStep, CreditedStep
from verl_egrsd.trainer.balance import balanced_order, ranks_of
from verl_egrsd.trainer.checked_scores import CheckedScores
from verl_egrsd.trainer.dataset import use_privileged_dataset
from verl_egrsd.trainer.distilled import Distilled
from verl_egrsd.trainer.dump import dump_rollouts
from verl_egrsd.trainer.failed_rollouts import MANAGER
from verl_egrsd.trainer.guarded_rewards import guard_rewards
from verl_egrsd.trainer.moving_teacher import MovingTeacher
from verl_egrsd.trainer.prompts import may_think_less, teacher_prompts
from verl_egrsd.trainer.reported import Reported
from verl_egrsd.trainer.rollout_match import RolloutMatch
from verl_egrsd.trainer.rollouts import read_rollouts
from verl_egrsd.trainer.saved_state import SavedState
from verl_egrsd.trainer.step_report import StepReport
from verl_egrsd.trainer.watched import Watched
from verl_egrsd.trainer.weight_sync import SyncsAlone
from verl_egrsd.trainer.worker import TEACHER_FIELDS, TeacherWorker

logger = logging.getLogger(__name__)

CPU_POLL_SECONDS = 0.1
"""verl looks for finished rollouts every 2 s; those of a small model take less."""


@register_trainer(TRAINER)
class EgrsdTrainer(
    SavedState,
    MovingTeacher,
    Distilled,
    Reported,
    Watched,
    CheckedScores,
    RolloutMatch,
    SyncsAlone,
    PPOTrainerSync,
):
    """Adds three things to a step of verl: teacher scores, the running baseline, and credit per token.

    The order is verl's: rollout, reward, balance, the student's log-probs; then, in `_compute_advantage`, the
    teacher scores the same response ids, and advantage x factors is written in place of the advantages. The
    update is verl's.
    """

    def __init__(self, config: DictConfig) -> None:
        check_verl()
        assert_registered()
        warn_if_reachable()
        self.method, self.teacher_config = preflight(config)
        check_files(config)
        self.start = settle_start(config)
        self.resume_mode = config.trainer.resume_mode
        self.held = hold_output(config, TRAINER_LOCK)
        if config.reward.custom_reward_function.path == VERIFIER:
            self_test()
        with open_dict(config):
            # verl treats every mode other than "sync" as asynchronous.
            config.trainer.v1.trainer_mode = "sync"
            # verl would look for the checkpoint itself, and start anew where it finds none.
            config.trainer.resume_mode = "resume_path" if self.start.checkpoint else "disable"
            config.trainer.resume_from_path = self.start.checkpoint and str(self.start.checkpoint)
            agent = config.actor_rollout_ref.rollout.agent
            agent.agent_loop_manager_class = agent.get("agent_loop_manager_class") or MANAGER
            config.data.egrsd_teacher = (
                plain(config.actor_rollout_ref.teacher) if self.method.uses_teacher else None
            )
            config.data.egrsd_pass_rate = PASS_RATE.key in self.method.reads
            config.data.egrsd_verifier = config.reward.custom_reward_function.path == VERIFIER
        use_privileged_dataset(config)
        guard_rewards(config)
        super().__init__(config)
        if get_device_name() == "cpu":
            self.replay_buffer.poll_interval = CPU_POLL_SECONDS
        self.advantage_step = AdvantageStep(self.method)

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        # Once more: a model of the hub may be here only now, and the reward workers start later.
        for brought in code_of_model(self.config):
            raise ValueError(brought)
        student_kwargs = plain(self.config.data.get("apply_chat_template_kwargs"))
        self.context = PrivilegedContext.from_config(self.tokenizer, self.teacher_config, student_kwargs)
        student, teacher = self.context.headers()
        if student != teacher:
            logger.warning("generation headers differ: student %r, teacher %r", student, teacher)
        if self.config.reward.custom_reward_function.path == VERIFIER:
            warn_of_hidden_marks(self.tokenizer)
        model = omega_conf_to_dataclass(self.config.actor_rollout_ref.model)
        self._know_width(model.hf_config.get_text_config().hidden_size)
        data, rollout = self.config.data, self.config.actor_rollout_ref.rollout
        outcomes = OutcomeWarnings(
            Caps(data.max_response_length, data.max_prompt_length, rollout.max_model_len),
            self.method.reward.correct_above,
            self.method.name if self.method.is_verls else None,
            may_think_less=may_think_less(self.context),
        )
        self.step_report = StepReport(self.tokenizer, outcomes)
        self.end_token_ids = end_token_ids(self.tokenizer, model.generation_config)

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
            lines = (json.dumps(row._asdict()) + "\n" for row in self.train_dataset.dropped)
            write_completed(path, "".join(lines))
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
        reference = self.method.uses_teacher and scoring_role(self.config, self.teacher_config) == "ref"
        if reference and Role.ActorRollout in self.mapping:
            self.mapping[Role.ActorRolloutRef] = self.mapping.pop(Role.ActorRollout)
            self.role_worker_mapping[Role.ActorRolloutRef] = self.role_worker_mapping.pop(Role.ActorRollout)
        for role in (Role.ActorRollout, Role.ActorRolloutRef):
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(TeacherWorker)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        """Write the credit of every token in place of verl's advantages."""
        if self.method.uses_teacher:
            with marked_timer("teacher", self.timing_raw, color="olive"):
                self._compute_teacher_log_prob(batch, metrics)
        if self.method.is_verls:
            batch = super()._compute_advantage(batch, metrics)
        rollouts = read_rollouts(batch, self.method, self.end_token_ids)
        step = self.advantage_step.credit(rollouts, self.global_steps)
        written = {"advantages": step.credited.credit}
        if not self.method.is_verls:
            written["returns"] = step.columns.rewards.unsqueeze(1) * step.columns.response_mask
        if step.credited.policy_credit is not None:
            written[POLICY_CREDIT] = step.credited.policy_credit
        batch = queue.write(
            batch, {name: step.rollouts.as_column(values) for name, values in written.items()}
        )
        metrics.update(self.step_report.metrics(step, self.advantage_step, self.report.config))
        if self.config.trainer.get("rollout_data_dir") and self.method.uses_teacher:
            self._dump_rollouts(batch, step)
        return batch

    def _compute_teacher_log_prob(self, batch: KVBatchMeta, metrics: dict) -> None:
        """Write `teacher_prompts`, then have the workers write what the method reads of the teacher."""
        columns, shown = teacher_prompts(
            batch,
            self.context,
            ends=self.end_token_ids,
            correct_above=self.method.reward.correct_above,
        )
        metrics.update(shown)
        queue.write(batch, {name: queue.jagged(rows) for name, rows in columns.items()})
        prompts = [[len(ids) for ids in row] for row in zip(*columns.values(), strict=True)]
        pairs = zip(prompts, batch.tags, strict=True)
        whole = [sum(lengths) + len(lengths) * tag["response_len"] for lengths, tag in pairs]
        order = balanced_order(whole, ranks_of(self.actor_rollout_wg, "teacher"))
        longest = max(map(max, prompts))
        per_gpu = self.teacher_config.max_token_len_per_gpu or self._engine_tokens_per_gpu()
        self.actor_rollout_wg.compute_teacher_log_prob(
            queue.view(
                batch,
                (*TEACHER_FIELDS, *columns, *([STUDENT_HIDDEN] if self.method.reads_divergence else [])),
                order=order,
                columns=",".join(sorted(self.method.reads & TEACHER_COLUMNS)),
                temperature=self.config.actor_rollout_ref.rollout.temperature,
                steering=strength(self.teacher_config, self.global_steps),
                max_token_len_per_gpu=max(per_gpu, longest + self.config.data.max_response_length),
            )
        )
        read = [sum(lengths) for lengths in compress(prompts, queue.valid_rows(batch).tolist())]
        metrics["egrsd/teacher_prompt/longest"] = longest
        metrics["egrsd/teacher_prompt/mean"] = sum(read) / len(read)
        metrics["egrsd/dropped_prompts"] = len(self.train_dataset.dropped)
        self._count_hidden(batch, metrics)

    def _engine_tokens_per_gpu(self) -> int:
        section, role = self.config.actor_rollout_ref, scoring_role(self.config, self.teacher_config)
        return (section.ref if role == "ref" else section.rollout).log_prob_max_token_len_per_gpu

    def _dump_rollouts(self, batch: KVBatchMeta, step: CreditedStep) -> None:
        """Write what this step knows about each token, for `verl-egrsd inspect`."""
        dump_rollouts(
            self.config.trainer.rollout_data_dir,
            batch,
            self.tokenizer,
            step,
            self.advantage_step,
            model=self.config.actor_rollout_ref.model.path,
        )

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        self.advantage_step.updated()
        return batch
