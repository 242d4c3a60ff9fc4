"""The fingerprint of a run: every setting that is not known to be harmless, and the content of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from verl_egrsd.config import flat
from verl_egrsd.output.files import file_digest
from verl_egrsd.output.redaction import redacted

Fingerprint = dict[str, Any]
"""Values by dotted key, ready for JSON."""
Changes = dict[str, tuple[Any, Any]]
"""The value before and the value now, by key."""

MAY_CHANGE = (
    # How long a run is, how often it is looked at, and where it writes.
    *("trainer.total_epochs", "trainer.total_training_steps", "*.optim.total_training_steps"),
    *("trainer.save_freq", "trainer.test_freq", "trainer.esi_redundant_time", "trainer.val_before_train"),
    *("trainer.val_only", "trainer.project_name", "trainer.experiment_name", "trainer.logger"),
    *("trainer.log_val_generations", "trainer.*_dir", "trainer.resume_*", "trainer.max_*_ckpt_to_keep"),
    *("trainer.del_local_ckpt_after_load", "trainer.checkpoint_callback_class", "*.checkpoint.async_save"),
    *("*.checkpoint.save_*", "*.trace.*", "dry_run", "report.folder", "report.thresholds.*", "resume.*"),
    *("scores.*", "watchdog.*", "check.*"),
    # Which machines it runs on, and how the work is dealt among them.
    *("ray_kwargs.*", "transfer_queue.*", "global_profiler.*", "*.profiler.*", "*.prometheus.*"),
    *("*.nnodes", "*.n_gpus_per_node", "*.device", "*.ray_wait_register_center_timeout", "*.nccl_timeout"),
    *("*.balance_batch", "*_workers", "*parallel_size", "*.strategy", "*.fsdp_size", "*.wrap_policy.*"),
    *("*.turbo_config.*", "*.reshard_after_forward", "*.forward_prefetch", "*_offload", "*.offload_policy"),
    *("*.use_shm", "*.enable_gradient_checkpointing", "*.entropy_checkpointing", "*.use_torch_compile"),
    *("*micro_batch_size", "*micro_batch_size_per_gpu", "*max_token_len_per_gpu", "*use_dynamic_bsz"),
    *("data.val_batch_size", "*.gpu_memory_utilization", "*.max_num_seqs", "*.max_num_batched_tokens"),
    *("*.enforce_eager", "*.cudagraph_capture_sizes", "*.free_cache_engine", "*.enable_sleep_mode"),
    *("*.multi_stage_wake_up", "*.disable_log_stats", "*.load_format", "*.layered_summon"),
    *("*.enable_chunked_prefill", "*.enable_prefix_caching", "*.checkpoint_engine.*", "*.disaggregation.*"),
    # Preflight refuses the values that would matter.
    "critic.*",
)
"""Patterns of the keys that may differ between two parts of a run. Every other key counts."""

BY_CONTENT = (
    *("data.train_files", "data.val_files", "data.custom_cls.path", "actor_rollout_ref.model.path"),
    *("actor_rollout_ref.model.tokenizer_path", "reward.custom_reward_function.path"),
    "actor_rollout_ref.model.lora_adapter_path",
    # Of supervised training.
    *("model.path", "model.tokenizer_path", "model.lora_adapter_path"),
)
"""Keys that name files or folders: their content counts, not their path."""

MODEL_FILES = (".json", ".jinja", ".txt", ".model", ".py", ".safetensors", ".bin")
_SAMPLES, SAMPLE_BYTES = 64, 65_536
"""Pieces of a model's file that are read: all of a small file, some of each matrix of a large one."""


def fingerprint(settings: Mapping[str, Any]) -> Fingerprint:
    """Return every value that counts, by dotted key; secrets do not.

    Args:
        settings: the whole resolved configuration.
    """
    return {
        key: _content(value) if key in BY_CONTENT else value
        for key, value in sorted(flat(redacted(settings)).items())
        if value is not None and not key.endswith("._target_") and not may_change(key)
    }


def may_change(key: str) -> bool:
    """Whether this key may differ between two parts of a run."""
    return any(fnmatchcase(key, pattern) for pattern in MAY_CHANGE)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return the values that differ, by key; a missing value is None."""
    keys = sorted(before.keys() | now.keys())
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


def _content(value: Any) -> Any:
    """Return a digest of the named file or folder; a name that is not on this disk is returned unchanged."""
    if isinstance(value, list):
        return [_content(item) for item in value]
    path = Path(value).expanduser()
    if path.is_file():
        return f"{path.stat().st_size:,} bytes, sha256 {file_digest(path)[:16]}"
    return f"folder, sha256 {_folder_digest(path)[:16]}" if path.is_dir() else value


def _folder_digest(folder: Path) -> str:
    """Return a digest of a model's files: names, sizes, and pieces spread over the content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES and path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for piece in range(_SAMPLES):
                file.seek(max(size - SAMPLE_BYTES, 0) * piece // (_SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
