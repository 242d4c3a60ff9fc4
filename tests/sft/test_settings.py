"""What supervised training refuses before it starts, and what its presets say."""

from importlib.resources import files

import pytest
from hydra import compose, initialize_config_dir

import verl_egrsd.configs
from verl_egrsd.sft.settings import ExampleConfig, check_sft

CONFIGS = str(files(verl_egrsd.configs) / "sft")
PRESETS = {
    "sft": {"optim.lr": 5e-6, "optim.clip_grad": 0.1, "data.train_batch_size": 32, "steps": 100},
    "sft_opsd": {"optim.lr": 2e-5, "optim.clip_grad": 1.0, "data.train_batch_size": 64, "steps": None},
    "ssd": {
        "optim.lr": 5e-6,
        "optim.lr_scheduler_type": "cosine",
        "data.train_batch_size": 32,
        "steps": None,
    },
}


def composed(*overrides, preset="sft"):
    with initialize_config_dir(CONFIGS, version_base=None):
        return compose("sft", [f"+preset={preset}", "+base=qwen3_4b", "+hardware=gpu8", *overrides])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_passes_the_checks_with_the_settings_of_its_source(preset):
    config = composed(preset=preset)
    check_sft(config)
    wanted = dict(PRESETS[preset])
    assert config.trainer.total_training_steps == wanted.pop("steps")
    for key, value in wanted.items():
        section, name = key.split(".")
        assert config[section][name] == value, key
    assert (config.model.path, config.model.lora_rank, config.engine.strategy) == (
        "Qwen/Qwen3-4B",
        64,
        "fsdp2",
    )


def test_a_run_is_named_after_model_thinking_and_seed_and_so_is_its_folder():
    config = composed("trainer.seed=3", "data.apply_chat_template_kwargs.enable_thinking=true")
    check_sft(config)
    assert config.trainer.experiment_name == "sft_Qwen3-4B_thinking_seed3"
    assert config.trainer.default_local_dir == "outputs/sft_Qwen3-4B_thinking_seed3/checkpoints"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train_batch_size=12", "data.train_batch_size=12 does not divide among trainer.nnodes=1 times"),
        ("data.max_token_len_per_gpu=100", "data.max_token_len_per_gpu=100 is below data.max_length=20000"),
        ("data.val_files=null", "trainer.test_freq=25 validates, but data.val_files does not name"),
        ("trainer.logger=[console]", r"trainer.logger=\['console'\] lacks file"),
        ("model.lora.rank=8", "model.lora.rank=8 is verl's key for Megatron"),
        (
            "engine.ulysses_sequence_parallel_size=2",
            "engine.ulysses_sequence_parallel_size=2 is not supported",
        ),
        ("trainer.resume_from_path=x", "trainer.resume_from_path=x is given, but trainer.resume_mode=auto"),
        (
            "trainer.total_training_steps=ten",
            "trainer.total_training_steps=ten is not allowed: .* whole number",
        ),
        ("trainer.save_freq=often", "trainer.save_freq=often is not allowed: .*, or after_each_epoch"),
        ("data.truncation=left", "data.truncation=left is not allowed: it must be one of error"),
        (
            "engine.strategy=megatron",
            "engine.strategy=megatron is not allowed: it must be one of fsdp, fsdp2",
        ),
        ("+data.examples.solutoin=x", "unknown key data.examples.solutoin='x'; known keys: solution"),
        (
            "data.examples.solution=text",
            "data.examples.solution='text' is not allowed: it must be a field of",
        ),
        (
            "data.examples.overlong=cut",
            "data.examples.overlong='cut' is not allowed: it must be one of error",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_key_value_and_remedy(override, message):
    with pytest.raises(ValueError, match=message):
        check_sft(composed(override))


def test_a_key_that_nobody_knows_is_refused_by_hydra():
    with pytest.raises(Exception, match=r"Could not override 'optim\.learning_rate'"):
        composed("optim.learning_rate=1")


def test_any_field_of_a_row_may_be_learned():
    field = ExampleConfig(solution="reward_model.ground_truth").field
    assert (field.column, field.key) == ("reward_model", "ground_truth")
