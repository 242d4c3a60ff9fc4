"""The verl interfaces that this package stands on, checked at start instead of met at step 40."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import version
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

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
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.fit", ("self", "agent_loop_manager")),
    ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_metrics", ("batch", "metrics", "global_steps")),
    ("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync.on_init_end", ("self",)),
    ("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync.on_step_end", ("self",)),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.init_model", ("self",)),
    ("verl.workers.engine_workers", "ActorRolloutRefWorker.compute_log_prob", ("self", "data")),
    ("verl.workers.engine_workers", "TrainingWorker.infer_batch", ("self", "data")),
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
    ("verl.workers.utils.padding", "response_from_nested", ("tensor", "response_mask")),
    ("verl.workers.utils.padding", "response_to_nested", ("tensor", "response_mask")),
    ("transfer_queue", "kv_batch_get", ("keys", "partition_id", "select_fields")),
    ("transfer_queue", "kv_batch_put", ("keys", "partition_id", "fields")),
)
"""Module, attribute and the parameters that we pass or override."""

REGISTRIES = {
    "estimator": ("verl.trainer.ppo.core_algos", "ADV_ESTIMATOR_REGISTRY", ("egrsd", "cl_egrsd", "rlsd")),
    "policy loss": ("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY", ("egrsd", "egrsd_ppo_clip")),
    "trainer": ("verl.trainer.ppo.v1.trainer_base", "TRAINER_REGISTRY", ("egrsd_sync",)),
}
"""Where verl keeps names of a kind, and which of them are ours."""


def check_version() -> str:
    """Return the version of verl.

    Raises:
        ImportError: when this package was not tested with it, naming it and what to install.
    """
    installed = version("verl")
    if Version(installed) not in VERL:
        raise ImportError(f"verl {installed} is outside the tested window {VERL}: {INSTALL}")
    return installed


def check_verl() -> None:
    """Compare the installed verl, its interfaces too, with what this package was tested with.

    Raises:
        ImportError: naming the version or the interface that differs, and what to install.
    """
    installed = check_version()
    for module, attribute, parameters in PROBES:
        target: Any = import_module(module)
        for name in attribute.split("."):
            target = getattr(target, name, None)
        found = list(inspect.signature(target).parameters) if callable(target) else []
        missing = [name for name in parameters if name not in found]
        if missing:
            raise ImportError(
                f"{module}.{attribute} of verl {installed} lacks {', '.join(missing)}: {INSTALL}"
            )


def assert_registered(*kinds: str) -> None:
    """Make sure that the plug-in's names are known to verl in this process.

    verl logs a plug-in that fails to import at DEBUG level only, and an unknown loss at the first update.

    Args:
        kinds: of `REGISTRIES`, all of them when none is named. A process asks for what it uses: each costs
            the import of verl's module with the registry.

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
