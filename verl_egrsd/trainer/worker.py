"""The teacher scores the student's responses, in the training engine."""

from __future__ import annotations

import os

import torch
from tensordict import TensorDict
from verl.single_controller.base.decorator import Dispatch, make_nd_compute_dataproto_dispatch_fn, register
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_name, is_support_ipc
from verl.utils.distributed import initialize_global_process_group_ray
from verl.utils.profiler import DistProfiler
from verl.workers.utils.padding import response_from_nested

from verl_egrsd.compat import assert_registered
from verl_egrsd.methods.columns import DIVERGENCE, STUDENT_HIDDEN, TEACHER_HIDDEN
from verl_egrsd.preflight.reading import plain
from verl_egrsd.teacher.steering import STEERING_PROMPTS, steered
from verl_egrsd.trainer.distilling_worker import DistillingWorker
from verl_egrsd.trainer.engine import VENDOR, EgrsdFSDPEngine
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.rendezvous import meet_on_loopback
from verl_egrsd.trainer.response_head import find_kernel, score_responses
from verl_egrsd.trainer.weight_stream import refuse_small_bucket, refuse_unmergeable, rollout_dtype

TEACHER_FIELDS = ("responses", "response_mask")
"""Columns that the teacher reads, beside its prompts."""
ENGINE_NAMES = {"teacher_log_prob": "log_probs", "teacher_entropy": "entropy"}
"""What verl's engine calls the teacher's scores."""


class TeacherWorker(DistillingWorker):
    """verl's actor-rollout-reference worker, with a teacher.

    verl's reference engine scores for the teacher where the role has one (full fine-tuning), else the actor
    does: with its LoRA adapter switched off (`refresh: frozen`, which takes no memory), as it is (`current`),
    or with other weights in it (`held_teacher`). Under FSDP the head sees response rows only
    (`response_head`); any other engine does the work in its own way.
    """

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self) -> None:
        """Build the engines, and the mesh through which teacher batches are dispatched."""
        assert_registered("policy loss")
        meet_on_loopback()
        if get_device_name() == "cpu":
            # verl would ask torch for "cpu:gloo,cpu:gloo", which torch refuses.
            initialize_global_process_group_ray(backend="gloo")
        os.environ["VERL_ENGINE_VENDOR"] = VENDOR
        super().init_model()
        self._prepare_stream()
        self.teacher = self.actor if self.ref is None else self.ref
        self.set_dispatch_collect(mesh_name="teacher", **self.teacher.get_dispatch_collect())
        self.kernel = find_kernel(self.teacher)
        if self.ref is not None:
            find_kernel(self.actor)  # refuses an actor whose fused head is wrong, whatever the reference runs
        self.hold_teacher(plain(self.config.get("teacher")))

    def _prepare_stream(self) -> None:
        """Tell the engine in what the rollout computes; refuse what would fail at the first weight sync."""
        engine, rollout = self.actor.engine, self.config.rollout
        if not isinstance(engine, EgrsdFSDPEngine):
            return
        checkpoint = self.actor.model_config.hf_config.dtype
        engine.rollout_dtype = rollout_dtype(rollout.dtype, checkpoint)
        if (self.config.model.get("lora") or {}).get("merge"):
            refuse_unmergeable(engine.module)
        if not is_support_ipc():
            bucket = rollout.checkpoint_engine.update_weights_bucket_megabytes
            refuse_small_bucket(engine.module, engine.rollout_dtype, bucket)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def sync_metrics(self) -> dict[str, float]:
        """Return how much of the update the last weight sync carried; other engines than FSDP do not tell."""
        engine = self.actor.engine
        return engine.update_share.metrics() if isinstance(engine, EgrsdFSDPEngine) else {}

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="teacher"))
    def compute_teacher_log_prob(self, data: TensorDict) -> TensorDict | None:
        """Score the response tokens after the privileged prompt.

        Args:
            data: jagged `teacher_prompts` (batch, prompt), `responses` and `response_mask` (batch, response),
                for `divergence` `student_hidden` (batch, response, width), and for a steered teacher
                `STEERING_PROMPTS` (batch, prompt); non-tensor `columns` (those that the method reads, with
                commas), `temperature`, `max_token_len_per_gpu` and `steering`, its strength.

        Returns:
            jagged float32 `teacher_log_prob`, `teacher_entropy` and `divergence` (batch, response), in nats,
            and `teacher_hidden` (batch, distilled tokens, width), in the engine's precision: those that are
            read; None on ranks that hold no outputs.

        Raises:
            TypeError: when the engine returns anything but float32, naming the setting that mends it.
        """
        read = data["columns"].split(",")
        batch = self._teacher_batch(data)
        with self.teacher_in_engine():
            if self.kernel is None:
                output = self.teacher.infer_batch(batch)
            else:
                kernel = self.kernel if ENGINE_NAMES.keys() & {*read} else None
                output = score_responses(self.teacher, batch, kernel, hidden=TEACHER_HIDDEN in read)
            if strength := tu.get(data, "steering", 0.0):
                output["hidden"] = self._steered(output["hidden"], data, strength)
        if output is None:
            return None
        found = {
            name: response_from_nested(_require_float32(output[key], name), data["response_mask"])
            for name, key in ENGINE_NAMES.items()
            if name in read
        }
        if TEACHER_HIDDEN in read:
            found[TEACHER_HIDDEN] = self.distilled(output["hidden"])
        if DIVERGENCE in read:
            found[DIVERGENCE] = self.divergence_of(data[STUDENT_HIDDEN], output["hidden"])
        return TensorDict(found, batch_size=len(data)).cpu()

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
    @DistProfiler.annotate(color="blue", role="actor_compute_log_prob")
    def compute_log_prob(self, data: TensorDict) -> TensorDict | None:
        """Score the student by the teacher's arithmetic, so that equal contexts give a ratio of exactly 1."""
        if self.kernel is None or self.enable_routing_replay or tu.get(data, "calculate_sum_pi_squared"):
            return super().compute_log_prob(data)
        scores = score_responses(self.actor, data, self.kernel, hidden=self.keeps_student)
        if self.keeps_student:
            scores[STUDENT_HIDDEN] = scores.pop("hidden")
        return scores

    def _steered(self, own: torch.Tensor, data: TensorDict, strength: float) -> torch.Tensor:
        """Return the hidden states of a steered teacher, jagged; the prompts that steer it are read first."""
        right, wrong = (
            score_responses(self.teacher, self._teacher_batch(data, name), None, hidden=True)["hidden"]
            for name in STEERING_PROMPTS
        )
        # Without both sides there is a prompt of one token, and the row keeps its own states exactly.
        sides = [len(prompt) > 1 for prompt in data[STEERING_PROMPTS[0]].unbind()]
        rows = zip(sides, own.unbind(), right.unbind(), wrong.unbind(), strict=True)
        return jagged([steered(one, yes, no, strength) if both else one for both, one, yes, no in rows])

    def _teacher_batch(self, data: TensorDict, prompts: str = "teacher_prompts") -> TensorDict:
        """Privileged prompt + the student's response ids, byte for byte."""
        responses, mask = data["responses"], data["response_mask"]
        if data["columns"] == TEACHER_HIDDEN:
            responses, mask = self.distilled(responses), self.distilled(mask)
        pairs = zip(data[prompts].unbind(), responses.unbind(), strict=True)
        input_ids = [torch.cat(pair) for pair in pairs]
        return tu.get_tensordict(
            {
                "input_ids": jagged(input_ids),
                "position_ids": jagged([torch.arange(len(ids)) for ids in input_ids]),
                "loss_mask": mask,
            },
            non_tensor_dict={
                "temperature": data["temperature"],
                "calculate_entropy": "teacher_entropy" in data["columns"].split(","),
                "compute_loss": False,
                "no_lora_adapter": self.adapter_off,
                "use_dynamic_bsz": True,
                "max_token_len_per_gpu": data["max_token_len_per_gpu"],
            },
        )


def _require_float32(values: torch.Tensor, name: str) -> torch.Tensor:
    if values.dtype != torch.float32:
        raise TypeError(
            f"{name} came back in {values.dtype}, whose grid is too coarse for the gate (bfloat16: 1/16 nat "
            "near 10). Set entropy_from_logits_with_chunking=True under actor_rollout_ref.actor (LoRA) or "
            "actor_rollout_ref.ref (full fine-tuning), with use_remove_padding=True and "
            "use_fused_kernels=False under actor_rollout_ref.model; or run the engine in fp32 "
            "(fsdp_config.mixed_precision.param_dtype=fp32)."
        )
    return values
