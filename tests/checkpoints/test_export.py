"""Exported weights are the trained ones, whatever the number of ranks; what is missing is named."""

import copy
import json
import shutil

import pytest
import torch
import torch.distributed as dist
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from recipes.rehearsal.model import new_model, save_model, small_qwen3_config
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.checkpoints.export import export
from verl_egrsd.checkpoints.reading import join_shards
from verl_egrsd.teacher.refresh import TeacherWeights

RANK, ALPHA = 5, 10
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.arange(24).unsqueeze(0)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    tokenizer = build_small_tokenizer(path)
    save_model(new_model(small_qwen3_config(len(tokenizer)), seed=0), tokenizer, path)
    return path


@pytest.fixture(scope="module")
def trained(base):
    """A LoRA model whose adapter is not the identity."""
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
    model = get_peft_model(load(base), config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    return model


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits


def adapter_of(model):
    return {name: value for name, value in model.state_dict().items() if "lora_" in name}


def chunks(tensor, count):
    """The shards of FSDP: as even as `torch.chunk`, the last ones perhaps empty."""
    parts = list(tensor.chunk(count))
    return parts + [tensor[:0]] * (count - len(parts))


def write_shards(actor, weights, mesh_shape):
    """Write what FSDP2 (one mesh dimension) or HSDP (two) writes on every rank, as true DTensors."""
    placements = (*[Replicate()] * (len(mesh_shape) - 1), Shard(0))
    world_size = torch.Size(mesh_shape).numel()
    for rank in range(world_size):
        dist.init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
        mesh = init_device_mesh("cpu", mesh_shape, mesh_dim_names=("ddp", "fsdp")[-len(mesh_shape) :])
        shards = {
            name: DTensor.from_local(
                chunks(value, mesh_shape[-1])[rank % mesh_shape[-1]].clone(),
                mesh,
                placements,
                run_check=False,
                shape=value.shape,
                stride=value.stride(),
            )
            for name, value in weights.items()
        }
        torch.save(shards, actor / f"model_world_size_{world_size}_rank_{rank}.pt")
        dist.destroy_process_group()
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": world_size}))


def write_checkpoint(folder, weights, base, *, mesh_shape=(2,), lora=True):
    actor = folder / "global_step_7" / "actor"
    shutil.copytree(base, actor / "huggingface", ignore=shutil.ignore_patterns("*.safetensors"))
    write_shards(actor, weights, mesh_shape)
    if lora:
        meta = {"r": RANK, "lora_alpha": ALPHA, "task_type": "CAUSAL_LM"}
        (actor / "lora_train_meta.json").write_text(json.dumps(meta))
    (actor.parent / "egrsd.json").write_text(json.dumps({"base_model": str(base)}))
    return actor.parent


def write_teacher(saved, weights, ranks):
    """Write what the ranks of a moving teacher write: parts that are dealt out as the student's are."""
    for rank in range(ranks):
        parts = {name: chunks(value, ranks)[rank].clone() for name, value in weights.items()}
        torch.save(parts, saved / "actor" / f"teacher_world_size_{ranks}_rank_{rank}.pt")


@pytest.fixture
def checkpoint(tmp_path, base, trained):
    return write_checkpoint(tmp_path / "run", adapter_of(trained), base)


@pytest.mark.parametrize("mesh_shape", [(1,), (2,), (4,), (2, 2)], ids=["1", "2", "4_one_empty", "hsdp"])
def test_merged_weights_give_the_trained_logits(tmp_path, base, trained, mesh_shape):
    saved = write_checkpoint(tmp_path / "run", adapter_of(trained), base, mesh_shape=mesh_shape)
    out = export(saved, tmp_path / "out", dtype="float32")
    assert out == tmp_path / "out"
    torch.testing.assert_close(logits(load(out)), logits(trained), atol=1e-5, rtol=1e-5)
    assert (logits(trained) - logits(load(base))).abs().max() > 0.05


def test_the_adapter_loads_with_peft_and_gives_the_trained_logits(tmp_path, base, trained, checkpoint):
    out = export(checkpoint, tmp_path / "out", form="adapter")
    loaded = PeftModel.from_pretrained(load(base), out)
    torch.testing.assert_close(logits(loaded), logits(trained), atol=1e-5, rtol=1e-5)
    config = LoraConfig.from_pretrained(out)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (RANK, ALPHA, 0.0)
    assert (config.target_modules, config.task_type) == (set(MODULES), "CAUSAL_LM")
    assert config.base_model_name_or_path == str(base)
    assert not (out / "config.json").exists()
    with safe_open(out / "adapter_model.safetensors", "pt") as file:
        # peft forgives the name of its own adapter in a key; vLLM does not.
        assert {name.split(".")[-2] for name in file.keys()} == {"lora_A", "lora_B"}  # noqa: SIM118


def test_the_actor_folder_is_a_checkpoint_too(tmp_path, trained, checkpoint):
    out = export(checkpoint / "actor", tmp_path / "out", form="adapter")
    assert (out / "adapter_model.safetensors").exists()


def test_a_checkpoint_with_all_weights_needs_no_base_model(tmp_path, base, trained):
    weights = trained.state_dict()
    assert any(".base_layer.weight" in name for name in weights)
    saved = write_checkpoint(tmp_path / "run", weights, base)
    (saved / "egrsd.json").unlink()
    out = export(saved, tmp_path / "out", dtype="float32")
    torch.testing.assert_close(logits(load(out)), logits(trained), atol=1e-5, rtol=1e-5)


def test_full_fine_tuning_is_exported_as_it_is(tmp_path, base):
    model = new_model(load(base).config, seed=5)
    saved = write_checkpoint(tmp_path / "run", model.state_dict(), base, lora=False)
    out = export(saved, tmp_path / "out", dtype="float32")
    torch.testing.assert_close(logits(load(out)), logits(model), atol=0, rtol=0)
    with pytest.raises(ValueError, match=r"holds no adapter .* form=merged"):
        export(saved, tmp_path / "adapter", form="adapter")


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_a_teacher_that_moves_is_exported_in_place_of_the_student(tmp_path, base, trained, checkpoint, form):
    write_teacher(checkpoint, {name: value / 2 for name, value in adapter_of(trained).items()}, ranks=2)
    out = export(checkpoint, tmp_path / "out", weights="teacher", form=form, dtype="float32")
    found = logits(load(out) if form == "merged" else PeftModel.from_pretrained(load(base), out))
    halved = copy.deepcopy(trained)
    for value in adapter_of(halved).values():
        value.div_(2)
    torch.testing.assert_close(found, logits(halved), atol=1e-5, rtol=1e-5)
    assert (found - logits(trained)).abs().max() > 0.05


def test_a_teacher_of_full_fine_tuning_is_exported_as_it_is(tmp_path, base):
    student, teacher = (new_model(load(base).config, seed=seed) for seed in (5, 6))
    saved = write_checkpoint(tmp_path / "run", student.state_dict(), base, mesh_shape=(4,), lora=False)
    write_teacher(saved, TeacherWeights(teacher).state_dict(), ranks=4)
    out = export(saved, tmp_path / "out", weights="teacher", dtype="float32")
    torch.testing.assert_close(logits(load(out)), logits(teacher), atol=0, rtol=0)


def test_a_checkpoint_whose_teacher_did_not_move_has_none_to_export(tmp_path, checkpoint):
    with pytest.raises(
        ValueError, match=r"no weights of a teacher: with teacher\.refresh=frozen the teacher is the"
    ):
        export(checkpoint, tmp_path / "out", weights="teacher")


def test_a_teacher_of_some_ranks_names_the_file_that_is_missing(tmp_path, trained, checkpoint):
    write_teacher(checkpoint, adapter_of(trained), ranks=2)
    (checkpoint / "actor" / "teacher_world_size_2_rank_1.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"teacher_world_size_2_rank_1\.pt is missing: .*all 2 ranks"):
        export(checkpoint, tmp_path / "out", weights="teacher")


def test_merged_weights_are_bfloat16_unless_told_otherwise(tmp_path, trained, checkpoint):
    out = export(checkpoint, tmp_path / "out")
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    torch.testing.assert_close(logits(load(out)), logits(trained), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_tokenizer_and_generation_config_come_along(tmp_path, base, checkpoint, form):
    out = export(checkpoint, tmp_path / "out", form=form)
    text = AutoTokenizer.from_pretrained(base).apply_chat_template(
        [{"role": "user", "content": "7+5"}], tokenize=False
    )
    assert AutoTokenizer.from_pretrained(out)(text) == AutoTokenizer.from_pretrained(base)(text)
    expected = GenerationConfig.from_pretrained(base)
    assert GenerationConfig.from_pretrained(out).eos_token_id == expected.eos_token_id


def test_a_base_model_that_is_given_replaces_the_noted_one(tmp_path, base, trained, checkpoint):
    (checkpoint / "egrsd.json").write_text(json.dumps({"base_model": "/gone/model"}))
    with pytest.raises(FileNotFoundError, match=r"/gone/model is not a folder here.*--base"):
        export(checkpoint, tmp_path / "out")
    out = export(checkpoint, tmp_path / "out", base_model=base, dtype="float32")
    torch.testing.assert_close(logits(load(out)), logits(trained), atol=1e-5, rtol=1e-5)


def test_an_adapter_without_a_noted_base_model_is_refused(tmp_path, checkpoint):
    (checkpoint / "egrsd.json").unlink()
    for form in ("merged", "adapter"):
        with pytest.raises(ValueError, match=r"does not name its base model.*--base"):
            export(checkpoint, tmp_path / "out", form=form)


def test_a_base_model_of_another_shape_is_refused(tmp_path, base, checkpoint):
    config = load(base).config
    config.intermediate_size //= 2
    save_model(new_model(config, seed=0), AutoTokenizer.from_pretrained(base), tmp_path / "other")
    with pytest.raises(ValueError, match=r"adapter weights do not fit .*other, first .*mlp.*--base"):
        export(checkpoint, tmp_path / "out", base_model=tmp_path / "other")


def test_an_existing_folder_is_left_alone(tmp_path, checkpoint):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match=r"out exists already: remove it"):
        export(checkpoint, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path, checkpoint, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("verl_egrsd.checkpoints.export.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        export(checkpoint, tmp_path / "new" / "out", form="adapter")
    assert not any((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("actor", "global_step_N"),
        ("actor/huggingface", "verl writes configuration and tokenizer"),
        ("actor/fsdp_config.json", "how many ranks"),
        ("actor/model_world_size_2_rank_1.pt", "all 2 ranks are needed"),
        ("actor/lora_train_meta.json", "rank and alpha"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(tmp_path, checkpoint, missing, remedy):
    (checkpoint / missing).rename(tmp_path / "aside")
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing: .*{remedy}"):
        export(checkpoint, tmp_path / "out")


@pytest.mark.parametrize("wrong", [{"form": "gguf"}, {"dtype": "float16"}, {"weights": "both"}])
def test_an_unknown_form_or_dtype_is_refused(tmp_path, checkpoint, wrong):
    with pytest.raises(ValueError, match="is not allowed: it must be one of"):
        export(checkpoint, tmp_path / "out", **wrong)


def test_shards_of_different_checkpoints_are_refused(tmp_path, base, trained, checkpoint):
    other = {name: value[:4] for name, value in adapter_of(trained).items()}
    foreign = write_checkpoint(tmp_path / "other", other, base)
    name = "model_world_size_2_rank_1.pt"
    shutil.copy(foreign / "actor" / name, checkpoint / "actor" / name)
    with pytest.raises(ValueError, match=r"join to shape .* instead of .*: the rank files"):
        export(checkpoint, tmp_path / "out")


def test_an_adapter_that_is_no_plain_lora_is_refused(tmp_path, base, trained):
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector.default.weight"
    saved = write_checkpoint(tmp_path / "run", {**adapter_of(trained), name: torch.ones(3)}, base)
    with pytest.raises(ValueError, match=r"lora_magnitude_vector.* is not a plain LoRA weight"):
        export(saved, tmp_path / "out")


def test_plain_tensors_are_taken_from_the_first_rank(tmp_path):
    for rank in range(2):
        torch.save({"scale": torch.ones(3)}, tmp_path / f"model_world_size_2_rank_{rank}.pt")
    (tmp_path / "fsdp_config.json").write_text('{"world_size": 2}')
    assert torch.equal(join_shards(tmp_path)["scale"], torch.ones(3))


def test_a_placement_that_fsdp_does_not_make_is_refused(tmp_path):
    dist.init_process_group("fake", rank=0, world_size=1, store=FakeStore())
    mesh = init_device_mesh("cpu", (1,))
    partial = DTensor.from_local(torch.ones(3), mesh, (Partial(),), run_check=False)
    torch.save({"scale": partial}, tmp_path / "model_world_size_1_rank_0.pt")
    dist.destroy_process_group()
    (tmp_path / "fsdp_config.json").write_text('{"world_size": 1}')
    with pytest.raises(ValueError, match=r"scale is placed as .*only FSDP and HSDP"):
        join_shards(tmp_path)
