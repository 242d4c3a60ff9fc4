"""What makes a run the same: what counts, what does not, and that files count by their content."""

import copy
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.support.composing import PAPER, composed
from verl_egrsd.checkpoints import fingerprint as module
from verl_egrsd.checkpoints.fingerprint import MAY_CHANGE, changes, fingerprint, may_change
from verl_egrsd.config import flat
from verl_egrsd.output.files import file_digest

COUNTS = {
    "algorithm.adv_estimator": "rlsd",
    "algorithm.egrsd.gamma": 0.5,
    "algorithm.egrsd.seed": 1,
    "actor_rollout_ref.actor.policy_loss.loss_mode": "egrsd_ppo_clip",
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.optim.clip_grad": 1.0,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 16,
    "actor_rollout_ref.actor.fsdp_config.model_dtype": "bf16",
    "actor_rollout_ref.actor.checkpoint.load_contents": ["model"],
    "actor_rollout_ref.model.path": "Qwen/Qwen3-8B",
    "actor_rollout_ref.model.lora_rank": 32,
    "actor_rollout_ref.model.custom_chat_template": "{{ messages }}",
    "actor_rollout_ref.rollout.n": 4,
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.top_k": -1,
    "actor_rollout_ref.rollout.seed": 1,
    "actor_rollout_ref.rollout.max_model_len": 8192,
    "actor_rollout_ref.rollout.dtype": "float32",
    "actor_rollout_ref.rollout.val_kwargs.n": 8,
    "actor_rollout_ref.teacher.enable_thinking": False,
    "actor_rollout_ref.teacher.template": "answer_only",
    "data.train_files": "other.parquet",
    "data.val_files": ["other.parquet"],
    "data.train_batch_size": 16,
    "data.max_response_length": 2048,
    "data.apply_chat_template_kwargs.enable_thinking": True,
    "data.seed": 1,
    "data.shuffle": False,
    "report.ngram": 4,
    "reward.custom_reward_function.name": "another",
    "a.key.that.nobody.has.thought.of": 1,
}
HARMLESS = {
    "trainer.total_epochs": 7,
    "trainer.total_training_steps": 500,
    "actor_rollout_ref.actor.optim.total_training_steps": 500,
    "trainer.save_freq": 1,
    "trainer.test_freq": 1,
    "trainer.val_before_train": False,
    "trainer.logger": ["console"],
    "trainer.default_local_dir": "elsewhere",
    "trainer.rollout_data_dir": "elsewhere",
    "trainer.experiment_name": "another",
    "trainer.resume_mode": "resume_path",
    "trainer.resume_from_path": "x/global_step_1",
    "trainer.nnodes": 2,
    "trainer.n_gpus_per_node": 4,
    "trainer.device": "cpu",
    "ray_kwargs.ray_init.num_cpus": 3,
    "data.dataloader_num_workers": 1,
    "data.val_batch_size": 2,
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 9000,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 2,
    "actor_rollout_ref.actor.fsdp_config.param_offload": True,
    "actor_rollout_ref.rollout.gpu_memory_utilization": 0.3,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 4,
    "actor_rollout_ref.rollout.enforce_eager": True,
    "report.folder": "elsewhere",
    "report.thresholds.window": 3,
    "resume.accept_changes": True,
}


@pytest.fixture(scope="module")
def paper():
    return OmegaConf.to_container(composed(*PAPER), resolve=True)


def resolved(settings, **values):
    """The settings with other values, by dotted key."""
    settings = copy.deepcopy(settings)
    for key, value in values.items():
        *sections, name = key.split(".")
        node = settings
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    return settings


@pytest.mark.parametrize("key", COUNTS)
def test_a_setting_that_shapes_the_training_makes_another_run(paper, key):
    before, now = fingerprint(paper), fingerprint(resolved(paper, **{key: COUNTS[key]}))
    assert changes(before, now)[key][1] == COUNTS[key]


@pytest.mark.parametrize("key", HARMLESS)
def test_steps_folders_loggers_and_hardware_leave_a_run_the_same(paper, key):
    before, now = fingerprint(paper), fingerprint(resolved(paper, **{key: HARMLESS[key]}))
    assert changes(before, now) == {}


def test_every_key_that_may_change_is_a_key_of_the_configuration(paper):
    keys = [*flat(paper), *COUNTS, "actor_rollout_ref.rollout.enable_sleep_mode"]
    for pattern in MAY_CHANGE:
        assert any(module.fnmatchcase(key, pattern) for key in keys), pattern
    assert not any(may_change(key) for key in COUNTS)


def test_a_missing_key_and_null_are_the_same_and_a_round_trip_through_json_changes_nothing(paper):
    found = fingerprint(paper)
    assert fingerprint(resolved(paper, **{"data.some_new_key": None})) == found
    assert changes(found, json.loads(json.dumps(found))) == {}


def test_files_count_by_their_content_and_not_by_their_place(tmp_path: Path):
    first, moved, other = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet"))
    first.write_bytes(b"rows")
    moved.write_bytes(b"rows")
    other.write_bytes(b"rowz")

    def of(path):
        return fingerprint({"data": {"train_files": str(path), "val_files": [str(path)]}})

    assert of(first) == of(moved)
    before, now = changes(of(first), of(other))["data.train_files"]
    assert before == f"4 bytes, sha256 {file_digest(first)[:16]}"
    assert now == f"4 bytes, sha256 {file_digest(other)[:16]}"
    assert of("hdfs://host/rows") == {
        "data.train_files": "hdfs://host/rows",
        "data.val_files": ["hdfs://host/rows"],
    }


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_model_is_the_same_wherever_its_folder_lies_and_another_when_its_weights_are(tmp_path: Path, size):
    def model(name, weights, template="{{ x }}"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "chat_template.jinja").write_text(template)
        (folder / "training.log").write_text(name)
        return fingerprint({"actor_rollout_ref": {"model": {"path": str(folder)}}})

    weights = bytes(range(256)) * (size // 256 + 1)
    trained = bytes(255 - value for value in weights)
    first = model("first", weights)
    assert model("copy", weights) == first
    assert model("trained", trained) != first
    assert model("template", weights, "{{ y }}") != first
    assert model("end", weights[:-1] + b"x") != first
