"""Stock `python -m verl.trainer.main_ppo` finds this package by its entry point, from an installed wheel.

The run is uninterrupted for four steps; a second one resumes from its checkpoint of step 2. The teacher is a
moving average of the LoRA adapter. Rollouts are
greedy (`top_k=1`), since sampled ones do not repeat, the warm-up ends after one step, since during it a lost
baseline would not show, and the reward is a checksum, since a random model is never right.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.support import warm_python

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]

OVERRIDES = [
    "algorithm.adv_estimator=cl_egrsd",
    "actor_rollout_ref.actor.policy_loss.loss_mode=egrsd",
    "trainer.v1.trainer_mode=egrsd_sync",
    "+algorithm.egrsd.warmup_steps=1",
    "+actor_rollout_ref.teacher.max_prompt_length=320",
    "+actor_rollout_ref.teacher.refresh=ema",
    "+actor_rollout_ref.teacher.decay=0.99",
    "data.train_batch_size=8",
    "data.max_prompt_length=128",
    "data.max_response_length=24",
    "data.seed=7",
    "data.dataloader_num_workers=0",
    "+data.apply_chat_template_kwargs.enable_thinking=True",
    "actor_rollout_ref.model.lora_rank=8",
    "actor_rollout_ref.model.lora_alpha=16",
    "actor_rollout_ref.model.target_modules=[q_proj,v_proj]",
    "actor_rollout_ref.model.lora.merge=True",
    "actor_rollout_ref.model.use_remove_padding=False",
    "actor_rollout_ref.model.enable_gradient_checkpointing=False",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.actor.strategy=fsdp2",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.use_dynamic_bsz=True",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.actor.optim.lr=1e-2",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.top_k=1",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.dtype=float32",
    "actor_rollout_ref.rollout.gpu_memory_utilization=0.1",
    "actor_rollout_ref.rollout.max_model_len=256",
    "actor_rollout_ref.rollout.max_num_seqs=16",
    "actor_rollout_ref.rollout.enforce_eager=True",
    "+actor_rollout_ref.rollout.enable_sleep_mode=False",
    "actor_rollout_ref.rollout.free_cache_engine=False",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    # Less than the model, whose head is tied.
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=1",
    "actor_rollout_ref.rollout.logprobs_mode=raw_logprobs",
    "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    "trainer.device=cpu",
    "trainer.n_gpus_per_node=1",
    "trainer.nnodes=1",
    "trainer.logger=[console,file]",
    "trainer.val_before_train=False",
    "trainer.total_training_steps=4",
    "trainer.save_freq=2",
    "+ray_kwargs.ray_init.num_gpus=1",
    "ray_kwargs.ray_init.num_cpus=32",
    "+ray_kwargs.ray_init.include_dashboard=False",
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, a small random model and data, away from the checkout."""
    folder = tmp_path_factory.mktemp("stock")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    quick = ["--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "wheel", *quick, "--wheel-dir", folder / "wheel", REPOSITORY], check=True, timeout=120
    )
    (wheel,) = (folder / "wheel").glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, timeout=120
    )
    tokenizer = build_small_tokenizer(folder / "model")
    save_model(new_model(small_qwen3_config(len(tokenizer)), seed=0), tokenizer, folder / "model")
    rows = pd.DataFrame(generate_rows("train", 64, seed=0))
    rows.to_parquet(folder / "train.parquet")
    return folder


def train(workplace: Path, output: Path, *overrides: str) -> dict[int, dict[str, float]]:
    """Run stock verl against the wheel; return the metrics of each step."""
    environment = os.environ | warm_python.environment()
    environment |= {
        "PYTHONPATH": str(workplace / "site"),
        "VERL_PLATFORM": "cpu",
        "VERL_FILE_LOGGER_PATH": str(output / "metrics.jsonl"),
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_prestart_worker_first_driver": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    command = [
        *(warm_python.python(), "-m", "verl.trainer.main_ppo", *OVERRIDES),
        warm_python.ray_workers(),
        f"data.train_files={workplace / 'train.parquet'}",
        f"data.val_files={workplace / 'train.parquet'}",
        f"actor_rollout_ref.model.path={workplace / 'model'}",
        f"trainer.default_local_dir={output}",
        f"reward.custom_reward_function.path={REPOSITORY / 'tests/support/parity_reward.py'}",
        *overrides,
    ]
    output.mkdir(exist_ok=True)
    with open(output / "train.log", "w") as log:
        done = subprocess.run(
            ["timeout", "--kill-after=20", "400", *command],
            cwd=workplace,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, (output / "train.log").read_text()[-6000:]
    lines = (output / "metrics.jsonl").read_text().splitlines()
    return {entry["step"]: entry["data"] for entry in map(json.loads, lines)}


@pytest.fixture(scope="module")
def uninterrupted(workplace: Path) -> tuple[Path, dict[int, dict[str, float]]]:
    """Four steps in one go."""
    output = workplace / "uninterrupted"
    return output, train(workplace, output)


def test_the_wheel_holds_every_yaml_and_is_what_a_process_outside_the_checkout_imports(workplace: Path):
    site = workplace / "site"
    shipped = {path.relative_to(site) for path in site.rglob("*.yaml")}
    assert shipped == {path.relative_to(REPOSITORY) for path in (REPOSITORY / "verl_egrsd").rglob("*.yaml")}
    assert not (site / "recipes").exists()
    for name in ("report/page.html.jinja", "frontier/page.html.jinja", "evaluation/published.json"):
        assert (site / "verl_egrsd" / name).exists(), name
    location = subprocess.run(
        [sys.executable, "-c", "import verl_egrsd; print(verl_egrsd.__file__)"],
        cwd=workplace,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert location.stdout.strip() == str(site / "verl_egrsd/__init__.py")


def test_stock_verl_trains_with_the_estimator_the_loss_and_the_trainer_of_this_package(uninterrupted):
    _, metrics = uninterrupted
    assert sorted(metrics) == [1, 2, 3, 4]
    for step in metrics.values():
        assert 0 < step["egrsd/entropy_gate/mean"] < 1
        assert step["egrsd/ratio/log_ratio_abs"] > 0
        assert step["timing_s/teacher"] > 0
        assert step["actor/grad_norm"] > 0


def test_the_rollouts_are_the_students(uninterrupted):
    _, metrics = uninterrupted
    for step in metrics.values():
        assert step["egrsd/sync/probs_diff_max"] < 1e-4
        assert step["egrsd/sync/update_share"] == pytest.approx(1, abs=1e-4)
        assert step["egrsd/sync/update_error"] < 1e-2


def test_two_steps_and_a_resume_and_two_steps_equal_four_steps(workplace: Path, uninterrupted):
    output, metrics = uninterrupted
    resumed = workplace / "resumed"
    shutil.copytree(output / "global_step_2", resumed / "global_step_2")
    (resumed / "latest_checkpointed_iteration.txt").write_text("2")
    shutil.copy(output / "report.jsonl", resumed)
    metrics_after = train(workplace, resumed)

    assert sorted(metrics_after) == [3, 4]
    assert state(output)["steps"] == 4
    assert 0 < state(output)["mean"] < 1.5
    assert state(output)["squares"] > 0
    assert state(resumed) == state(output)
    torch.testing.assert_close(weights(resumed), weights(output), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(teacher(resumed), teacher(output), rtol=1e-4, atol=1e-6)
    moved = [(teacher(output, 4)[name] - start).abs().max() for name, start in teacher(output, 2).items()]
    assert max(moved) > 1e-5  # what was lost in the resume would show
    for step in (3, 4):
        for name in ("egrsd/reward/mean", "egrsd/credit/abs_mean", "egrsd/teacher/age"):
            assert metrics_after[step][name] == pytest.approx(metrics[step][name], rel=1e-4), name
    report = json.loads((resumed / "report.json").read_text())
    assert [step for step, _ in report["curves"]["egrsd/correct"]] == [1, 2, 3, 4]


def state(output: Path) -> dict:
    """The running statistics of the last checkpoint."""
    return json.loads((output / "global_step_4/egrsd.json").read_text())["advantage"]


def teacher(output: Path, step: int = 4) -> dict[str, torch.Tensor]:
    """The moving average of a checkpoint."""
    return torch.load(output / f"global_step_{step}/actor/teacher_world_size_1_rank_0.pt")


def weights(output: Path) -> dict[str, torch.Tensor]:
    """The weights of the last checkpoint."""
    path = output / "global_step_4/actor/model_world_size_1_rank_0.pt"
    return {name: value.to_local() for name, value in torch.load(path, weights_only=False).items()}
