"""The interfaces of verl and TransferQueue that this package uses, checked at start."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from verl_egrsd.methods.table import TABLE

VERL = SpecifierSet(">=0.9.1,<0.9.2")
"""Tested versions of verl; widened after a tested release."""

INSTALL = 'pip install "verl==0.9.1" "TransferQueue==0.1.11" "tensordict==0.10.0"'

PROBES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._init_resource_pool_mgr", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._init_tokenizer", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._init_dataloader", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._balance_batch", ("self", "batch", "metrics")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_advantage", ("self", "batch", "metrics")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._update_actor", ("self", "batch", "metrics")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._save_checkpoint", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._load_checkpoint", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._validate", ("self",)),
    (
        "verl.trainer.ppo.v1.trainer_base",
        "PPOTrainer._val_metrics_update",
        ("self", "data_sources", "sample_uids", "reward_extra_infos_dict"),
    ),
    ("verl.experimental.reward_loop.reward_manager", "get_reward_manager_cls", ("name",)),
    (
        "verl.experimental.reward_loop.reward_manager.naive",
        "NaiveRewardManager",
        ("config", "tokenizer", "compute_score"),
    ),
    (
        "verl.experimental.reward_loop.reward_manager.dapo",
        "DAPORewardManager",
        ("config", "tokenizer", "compute_score"),
    ),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.init", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._setup", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.on_step_begin", ("self",)),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.get_reward_handles", ("self",)),
    ("verl.trainer.ppo.v1", "AgentLoopManagerTQ", ("args", "kwargs")),
    (
        "verl.trainer.ppo.v1.agent_loop_tq",
        "AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__.generate_sequences",
        ("self", "batch"),
    ),
    (
        "verl.experimental.agent_loop",
        "AgentLoopWorker._run_agent_loop",
        ("self", "sampling_params", "trajectory"),
    ),
    ("verl.trainer.ppo.v1.agent_loop_tq", "AgentLoopWorkerTQ", ()),
    ("transfer_queue.interface", "_TQ_STORAGE", ()),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.fit", ("self", "agent_loop_manager")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_metrics", ("batch", "metrics", "global_steps")),
    ("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync", ("config",)),
    ("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync.on_init_end", ("self",)),
    ("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync.on_step_end", ("self",)),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.init_model", ("self",)),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.compute_log_prob", ("self", "data")),
    ("verl.workers.engine_workers", "TrainingWorker.infer_batch", ("self", "data")),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.update_actor", ("self", "data")),
    ("verl.workers.engine_workers", "TrainingWorker.set_loss_fn", ("self", "loss_fn")),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.update_weights", ("self", "global_steps")),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead.get_per_tensor_param",
        ("self", "layered_summon", "base_sync_done"),
    ),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead._merged_lora_per_tensor_param",
        ("self",),
    ),
    ("verl.workers.engine.fsdp.transformer_impl", "FSDPEngineWithLMHead._build_module", ("self",)),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead._build_fsdp_module",
        ("self", "module"),
    ),
    ("verl.workers.engine.fsdp.utils", "unfuse_moe_params", ("weights", "model_type")),
    ("verl.utils.fsdp_utils", "normalize_peft_param_name", ("params",)),
    ("verl.utils.fsdp_utils", "offload_fsdp_model_to_cpu", ("model",)),
    ("verl.utils.model", "convert_weight_keys", ("state_dict", "model")),
    ("verl.utils.device", "is_support_ipc", ()),
    ("verl.workers.engine.base", "EngineRegistry.register", ("model_type", "backend", "device", "vendor")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_old_log_prob", ("self", "batch", "metrics")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._consume_sync_metrics", ("self",)),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead.prepare_model_inputs",
        ("self", "micro_batch"),
    ),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead.forward_step",
        ("self", "micro_batch", "loss_function", "forward_only"),
    ),
    ("verl.utils.metric", "Metric", ("aggregation", "value")),
    ("verl.utils.metric", "AggregationType.SUM", ()),
    ("verl.workers.engine.utils", "prepare_micro_batches", ("data", "dp_group")),
    ("verl.workers.engine.utils", "postprocess_batch_func", ("output_lst", "indices", "data")),
    ("verl.utils.seqlen_balancing", "calculate_workload", ("seqlen_list",)),
    (
        "verl.utils.seqlen_balancing",
        "get_seqlen_balanced_partitions",
        ("seqlen_list", "k_partitions", "equal_size"),
    ),
    ("verl.trainer.ppo.core_algos", "register_adv_est", ("name_or_enum",)),
    ("verl.trainer.ppo.core_algos", "agg_loss", ("loss_mat", "loss_mask", "loss_agg_mode")),
    (
        "verl.trainer.ppo.core_algos",
        "compute_policy_loss_vanilla",
        ("old_log_prob", "log_prob", "advantages"),
    ),
    ("verl.utils.import_utils", "load_extern_object", ("module_path", "object_name")),
    ("verl.utils.dataset.rl_dataset", "RLHFDataset.maybe_filter_out_long_prompts", ("self", "dataframe")),
    ("verl.utils.dataset.rl_dataset", "RLHFDataset.__getitem__", ("self", "item")),
    ("verl.workers.utils.padding", "response_from_nested", ("tensor", "response_mask")),
    ("verl.workers.utils.padding", "response_to_nested", ("tensor", "response_mask")),
    ("transfer_queue", "kv_batch_get", ("keys", "partition_id", "select_fields")),
    ("transfer_queue", "kv_batch_put", ("keys", "partition_id", "fields")),
    ("transfer_queue", "kv_clear", ("keys", "partition_id")),
    ("transfer_queue", "KVBatchMeta.select_keys", ("self", "keys_to_select")),
    ("transfer_queue", "init", ("conf",)),
    ("transfer_queue", "close", ()),
    ("transfer_queue", "KVBatchMeta", ("keys", "tags", "partition_id", "extra_info")),
    ("verl.trainer.main_ppo", "TaskRunnerV1", ()),
    ("verl.trainer.main_ppo", "run_ppo", ("config", "task_runner_class")),
    ("verl.trainer.ppo.utils", "need_critic", ("config",)),
    ("verl.trainer.ppo.utils", "need_reference_policy", ("config",)),
    ("verl.trainer.ppo.utils", "Role.ActorRollout", ()),
    ("verl.trainer.ppo.utils", "Role.ActorRolloutRef", ()),
    ("verl.trainer.ppo.v1", "register_trainer", ("name",)),
    ("verl.trainer.ppo.core_algos", "ADV_ESTIMATOR_REGISTRY", ()),
    ("verl.trainer.ppo.core_algos", "register_policy_loss", ("name",)),
    ("verl.utils.config", "omega_conf_to_dataclass", ("config",)),
    ("verl.utils.config", "validate_config", ("config", "use_reference_policy", "use_critic")),
    ("verl.utils.dataset.rl_dataset", "get_dataset_class", ("data_config",)),
    ("verl.utils.debug", "marked_timer", ("name", "timing_raw", "color")),
    ("verl.utils.device", "auto_set_device", ("config",)),
    ("verl.utils.device", "get_device_id", ()),
    ("verl.utils.device", "get_device_name", ()),
    ("verl.utils.distributed", "initialize_global_process_group_ray", ("backend",)),
    ("verl.utils.profiler", "DistProfiler.annotate", ("color",)),
    ("verl.utils.tensordict_utils", "assign_non_tensor", ("kwargs",)),
    ("verl.utils.tensordict_utils", "get", ("tensordict", "key", "default")),
    ("verl.utils.tensordict_utils", "get_tensordict", ("tensor_dict", "non_tensor_dict")),
    ("verl.utils.tensordict_utils", "pop", ("tensordict", "key", "default")),
    ("verl.utils.tracking", "Tracking.supported_backend", ()),
    ("verl.single_controller.base.decorator", "register", ("dispatch_mode",)),
    ("verl.single_controller.base.decorator", "Dispatch.ONE_TO_ALL", ()),
    ("verl.single_controller.base.decorator", "make_nd_compute_dataproto_dispatch_fn", ("mesh_name",)),
    (
        "verl.models.transformers.monkey_patch",
        "patch_forward_with_backends",
        ("model", "use_fused_kernels", "fused_kernels_backend"),
    ),
    ("verl.workers.rollout.base", "_ROLLOUT_REGISTRY", ()),
    ("verl.plugin.platform.platform_base", "PlatformBase", ()),
    (
        "verl.plugin.platform.platform_base",
        "PlatformBase.is_platform_available",
        ("self", "use_smi_check"),
    ),
    ("verl.plugin.platform.platform_manager", "PlatformRegistry.register", ("platform",)),
)
"""Module, attribute and the parameters that we pass or override; none for constants and whole classes."""

SFT_PROBES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("verl.trainer.sft_trainer", "SFTTrainer", ("config",)),
    ("verl.trainer.sft_trainer", "SFTTrainer._build_dataset", ("self",)),
    ("verl.trainer.sft_trainer", "SFTTrainer._build_dataloader", ("self",)),
    ("verl.trainer.sft_trainer", "SFTTrainer._build_ckpt_handler", ("self",)),
    ("verl.trainer.sft_trainer", "SFTTrainer._init_engine", ("self",)),
    ("verl.trainer.sft_trainer", "SFTTrainer._get_batch_seqlens", ("self", "data")),
    ("verl.trainer.sft_trainer", "SFTTrainer._get_lora_train_meta", ("self",)),
    ("verl.trainer.sft_trainer", "SFTTrainer.fit", ("self",)),
    (
        "verl.utils.checkpoint",
        "CheckpointHandler",
        (
            *("engine", "train_dataloader", "default_local_dir", "max_ckpt_to_keep", "default_hdfs_dir"),
            *("resume_mode", "resume_from_path", "lora_train_meta"),
        ),
    ),
    ("verl.utils.checkpoint", "CheckpointHandler.save_checkpoint", ("self", "step")),
    ("verl.utils.checkpoint", "CheckpointHandler._load_dataloader_state", ("self", "checkpoint_path")),
    ("verl.utils.distributed", "initialize_global_process_group", ()),
)
"""The same of supervised training, whose module sets variables of the process when it is imported."""

OPTIONAL = {"verl.utils.kernel.linear_cross_entropy"}
"""Modules whose absence is no error: verl's fused head on a GPU, which competes with ours at start."""

ADDED: tuple[tuple[str, str, str], ...] = (
    (
        "verl.workers.engine_workers",
        "ActorRolloutRefWorker",
        "compute_teacher_log_prob refresh_teacher save_teacher load_teacher sync_metrics hold_teacher "
        "restart_teacher teacher_in_engine teacher teacher_weights adapter_off kernel use_divergence "
        "distillation distilled divergence_of keeps_student _held _prepare_stream _require_plain_logits "
        "_steered _teacher_batch _teacher_head _whole_head",
    ),
    (
        "verl.trainer.ppo.v1.trainer_base",
        "PPOTrainer",
        "method start held advantage_step context step_report end_token_ids report teacher_config "
        "hidden_bytes watchdog processes agent_loop_workers _know_width _count_hidden "
        "_compute_teacher_log_prob _ending _save_last _give_up _without_refused _all_scores _alone "
        "_dump_rollouts _engine_tokens_per_gpu _last_line _let_steps_decide _save_and_mark _score_some "
        "_warn_of _what_died",
    ),
    (
        "verl.workers.engine.fsdp.transformer_impl",
        "FSDPEngineWithLMHead",
        "divergence teacher_head own_forward rollout_dtype update_share _causal_model _own_forward _rows_of",
    ),
    (
        "verl.utils.dataset.rl_dataset",
        "RLHFDataset",
        "context checks dropped all_rows _fields _keeps _kept_tokens _lengths _longest _marked _overlong "
        "_read _report _spelled _with_other_solution _with_partners",
    ),
    (
        "verl.trainer.ppo.v1.agent_loop_tq",
        "AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__",
        "failed failures",
    ),
)
"""Module, class, and the names that this package adds to it: in verl they would mean something else."""

SFT_ADDED: tuple[tuple[str, str, str], ...] = (
    ("verl.trainer.sft_trainer", "SFTTrainer", "start report seen _end _list_left_out _read_log"),
    ("verl.utils.checkpoint", "CheckpointHandler", "config start _write_state"),
)
"""The same of supervised training."""

SECTION = ("actor_rollout_ref", "teacher")
"""Section of this package inside one of verl's."""

REGISTRIES = {
    "estimator": (
        "verl.trainer.ppo.core_algos",
        "ADV_ESTIMATOR_REGISTRY",
        tuple(method.name for method in TABLE),
    ),
    "policy loss": ("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY", ("egrsd", "egrsd_ppo_clip")),
    "trainer": ("verl.trainer.ppo.v1.trainer_base", "TRAINER_REGISTRY", ("egrsd_sync",)),
}
"""By kind: verl's registry, and our names in it."""


def check_version() -> str:
    """Return the version of verl.

    Raises:
        ImportError: when this package was not tested with that version; the message says what to install.
    """
    installed = version("verl")
    if Version(installed) not in VERL:
        raise ImportError(f"verl {installed} is outside the tested window {VERL}: {INSTALL}")
    return installed


def check_verl(*, supervised: bool = False) -> None:
    """Check the version of verl, every interface, and that our names in verl's classes are free.

    Args:
        supervised: whether `SFT_PROBES` and `SFT_ADDED` are checked in place of `PROBES` and `ADDED`.

    Raises:
        ImportError: naming the version, interface or name that differs, and what to install.
    """
    installed = check_version()
    for module, attribute, parameters in SFT_PROBES if supervised else PROBES:
        target = _found(installed, module, attribute)
        found = inspect.signature(target).parameters if parameters else {}
        missing = [name for name in parameters if name not in found]
        if missing:
            raise ImportError(
                f"{module}.{attribute} of verl {installed} lacks {', '.join(missing)}: {INSTALL}"
            )
    for module, name, added in SFT_ADDED if supervised else ADDED:
        taken = sorted(names_of(_found(installed, module, name)) & {*added.split()})
        if taken:
            raise ImportError(f"{module}.{name} of verl {installed} has {', '.join(taken)} itself: {INSTALL}")
    parent, section = SECTION
    if section in verl_settings()[parent]:
        raise ImportError(f"verl {installed} has a section {parent}.{section} itself: {INSTALL}")


def _found(installed: str, module: str, attribute: str) -> Any:
    try:
        return attrgetter(attribute)(import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise ImportError(f"verl {installed} has no {module}.{attribute}: {INSTALL}") from error


def names_of(cls: type) -> set[str]:
    """Return the names that a class defines, and those that its methods read or set."""
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        functions = [inspect.unwrap(value) for value in vars(base).values() if callable(value)]
        codes = [function.__code__ for function in functions if inspect.isfunction(function)]
        names |= vars(base).keys() | {name for code in codes for name in code.co_names}
    return names


@cache
def verl_settings() -> dict[str, Any]:
    """Return verl's whole configuration, which its wheel holds as one file."""
    spec = find_spec("verl")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "trainer" / "config" / "_generated_ppo_trainer.yaml"
    return yaml.safe_load(file.read_text())


def assert_registered(*kinds: str) -> None:
    """Check that verl knows the plug-in's names in this process.

    verl reports a plug-in that fails to import at DEBUG level only, and an unknown loss at the first update
    only.

    Args:
        kinds: keys of `REGISTRIES`; empty means all. Each one imports verl's module with that registry, so a
            process names the ones that it uses.

    Raises:
        ImportError: listing the missing names and the import that shows the cause.
    """
    missing = []
    for kind in kinds or REGISTRIES:
        module, registry, names = REGISTRIES[kind]
        known = getattr(import_module(module), registry)
        missing += [f"{kind} {name}" for name in names if name not in known]
    if missing:
        raise ImportError(
            f"verl does not know {', '.join(missing)}: the plug-in verl_egrsd was not loaded in this "
            "process. VERL_USE_EXTERNAL_PLUGINS must be auto or name verl_egrsd; `python -c 'import "
            "verl_egrsd.plugin'` shows an import that fails."
        )
