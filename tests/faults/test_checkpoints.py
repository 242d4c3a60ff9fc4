"""A checkpoint that is cut, gone or hostile is refused before anything starts, and the way on is named."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from recipes.rehearsal.build import BuildSettings, build
from tests.support.saved_run import write_step
from tests.test_docs import ROOT
from verl_egrsd.checkpoints.choice import LATEST_WHOLE, TRACKER, checkpoint_to_resume
from verl_egrsd.checkpoints.export import export
from verl_egrsd.checkpoints.pickles import require_plain
from verl_egrsd.checkpoints.resume import RUN_FILE, settle_start
from verl_egrsd.checkpoints.saving import saving
from verl_egrsd.checkpoints.whole import Needed, damage, newest_whole

FILES = {
    "egrsd.json": "the state of the trainer",
    "actor/fsdp_config.json": "the number of ranks",
    "actor/model_world_size_1_rank_0.pt": "the weights of rank 0",
    "actor/optim_world_size_1_rank_0.pt": "the state of the optimiser of rank 0",
    "actor/extra_state_world_size_1_rank_0.pt": "the random state and the learning-rate schedule of rank 0",
    "data.pt": "the position in the data",
}
WAYS = {"cut": "is cut off or damaged", "empty": "is empty", "gone": "is missing"}


@pytest.fixture
def config(tmp_path):
    """The settings of a run in the folder of the test, which has whole checkpoints of steps 5 and 10."""
    for step in (5, 10):
        write_step(tmp_path, step)
    trainer = {"resume_mode": "auto", "resume_from_path": None, "default_local_dir": str(tmp_path)}
    ranks = {"nnodes": 1, "n_gpus_per_node": 1}
    return OmegaConf.create(
        {"trainer": trainer | ranks, "actor_rollout_ref": {}, "resume": {"accept_changes": True}}
    )


def break_file(path, way):
    if way == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2 if way == "cut" else 0])


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    # A checkpoint without egrsd.json was written by another package: tests/checkpoints/test_resume.py.
    ("name", "way"),
    [(name, way) for name in FILES for way in WAYS if (name, way) != ("egrsd.json", "gone")],
)
def test_a_broken_file_is_named_with_what_it_should_hold_and_the_newest_whole_checkpoint(
    config, tmp_path, name, way
):
    path = tmp_path / "global_step_10" / name
    break_file(path, way)
    with pytest.raises(ValueError, match=r"global_step_5, global_step_10 \(not whole\)") as error:
        settle_start(config)
    said = str(error.value)
    assert said.startswith(f"{path} {WAYS[way]}")
    assert f"it should hold {FILES[name]}" in said
    assert f"newest whole checkpoint is {tmp_path}/global_step_5: trainer.resume_mode={LATEST_WHOLE}" in said

    config.trainer.resume_mode = LATEST_WHOLE
    assert settle_start(config).step == 5


def change_pickle(path, change):
    """Rewrite an archive of torch with another pickle."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".pt")])
@pytest.mark.parametrize(
    "change",
    [lambda _: b"", lambda content: content[: len(content) // 2], lambda _: b"garbage.", lambda _: b"."],
    ids=["empty", "cut", "garbage", "nothing on the stack"],
)
def test_a_damaged_pickle_in_a_whole_archive_is_damage_and_no_code(config, tmp_path, name, change):
    path = tmp_path / "global_step_10" / name
    change_pickle(path, change)
    with pytest.raises(ValueError, match=rf"{path} is damaged .*it should hold {FILES[name]}") as error:
        settle_start(config)
    assert f"newest whole checkpoint is {tmp_path}/global_step_5" in str(error.value)
    assert "trust" not in str(error.value)
    config.trainer.resume_mode = LATEST_WHOLE
    assert settle_start(config).step == 5


def test_a_flipped_bit_of_a_pickle_is_damage(config, tmp_path):
    path = tmp_path / "global_step_10" / "data.pt"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"_rebuild_tensor", b"_rebuild_tensos"))
    with pytest.raises(ValueError, match=r"data\.pt is damaged \(Bad CRC-32"):
        settle_start(config)


def test_a_file_of_another_format_is_refused_with_the_way_out(config, tmp_path):
    (tmp_path / "global_step_10" / "critic").mkdir()
    path = tmp_path / "global_step_10" / "critic" / "model.pt"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{path} cannot be read as .*Put the whole file back.*resume_mode"):
        settle_start(config)


def test_a_cut_record_of_the_run_that_wrote_last_is_refused_with_the_way_out(config, tmp_path):
    path = tmp_path / RUN_FILE
    path.write_text('{"data.seed": ')
    with pytest.raises(ValueError, match=rf"^{path} is cut off .*it should hold the settings") as error:
        settle_start(config)
    assert "remove the file, and the report goes on; else start a new run in another fol" in str(error.value)
    path.unlink()
    assert settle_start(config).report_is_ours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it should hold the step of the last checkpoint"),
        ("ten", "holds 'ten' instead of the step of the last checkpoint"),
        (
            "7",
            "names step 7, but .*global_step_7 is not there: the run would start anew over",
        ),
    ],
)
def test_a_marker_that_names_no_checkpoint_is_refused_and_nothing_is_overwritten(
    config, tmp_path, text, said
):
    (tmp_path / TRACKER).write_text(text)
    (tmp_path / "report.jsonl").write_text("{}\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=rf"{TRACKER} {said}.*global_step_5, global_step_10\. ") as error:
        settle_start(config)
    assert f"The newest whole checkpoint is {tmp_path}/global_step_10" in str(error.value)
    assert contents(tmp_path) == before
    config.trainer.resume_mode = LATEST_WHOLE
    assert settle_start(config).step == 10


def test_without_the_marker_the_newest_whole_checkpoint_is_found(config, tmp_path):
    (tmp_path / TRACKER).unlink()
    assert settle_start(config).step == 10
    break_file(tmp_path / "global_step_10" / "data.pt", "gone")
    assert settle_start(config).step == 5
    shutil.rmtree(tmp_path / "global_step_5")
    assert settle_start(config).checkpoint is None


def test_the_newest_is_the_one_of_the_highest_step_not_of_the_last_letter(config, tmp_path):
    write_step(tmp_path, 9)
    assert newest_whole(tmp_path, Needed()) == tmp_path / "global_step_10"


def test_where_nothing_is_whole_latest_whole_is_refused(config, tmp_path):
    for step in (5, 10):
        break_file(tmp_path / f"global_step_{step}" / "data.pt", "cut")
    config.trainer.resume_mode = LATEST_WHOLE
    with pytest.raises(ValueError, match=r"no whole checkpoint .*start a new run in another folder"):
        settle_start(config)


def test_a_named_checkpoint_that_is_cut_is_refused_too(config, tmp_path):
    break_file(tmp_path / "global_step_5" / "data.pt", "cut")
    config.trainer.resume_mode = "resume_path"
    config.trainer.resume_from_path = f"{tmp_path}/global_step_5"
    with pytest.raises(ValueError, match=r"data\.pt is cut off.*newest whole checkpoint is .*global_step_10"):
        settle_start(config)


def test_every_rank_and_a_teacher_that_moves_belong_to_a_whole_checkpoint(tmp_path):
    folder = write_step(tmp_path, 5, ranks=2)
    teacher = folder / "actor" / "teacher_world_size_2_rank_1.pt"
    assert damage(folder, Needed()) is None
    torch.save({}, teacher)
    assert "teacher_world_size_2_rank_0.pt is missing" in damage(folder, Needed())
    torch.save({}, teacher.with_name("teacher_world_size_2_rank_0.pt"))
    (folder / "actor" / "optim_world_size_2_rank_1.pt").unlink()
    assert "the state of the optimiser of rank 1" in damage(folder, Needed())
    assert damage(folder, Needed(of_all_ranks=False)) is None
    assert damage(folder, Needed(("model", "extra"))) is None


def test_a_checkpoint_of_supervised_training_is_judged_by_its_own_files(config, tmp_path):
    run = tmp_path / "sft"
    folder = write_step(run, 3, supervised=True)
    settings = OmegaConf.merge(config, {"trainer": {"default_local_dir": str(run)}})
    del settings["actor_rollout_ref"]
    assert settle_start(settings).step == 3
    break_file(folder / "data_0.pt", "cut")
    with pytest.raises(ValueError, match=r"data_0\.pt is cut off .*position in.*no whole checkpoint"):
        settle_start(settings)


@pytest.mark.parametrize("name", ["egrsd.json", "actor/model_world_size_1_rank_0.pt"])
def test_the_export_of_a_cut_checkpoint_names_the_file(tmp_path, name):
    folder = write_step(tmp_path, 5)
    (folder / "actor" / "huggingface").mkdir()
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{Path(name).name} is cut off or damaged .*it should hold"):
        export(folder, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


class Touch:
    """Pickles as a call that makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".pt")])
def test_a_checkpoint_that_would_run_code_is_refused_unless_it_is_trusted_by_name(config, tmp_path, name):
    ran = tmp_path / "ran"
    torch.save({"position": Touch(ran)}, tmp_path / "global_step_10" / name)
    with pytest.raises(ValueError, match=r"would run its code .*mkdir") as error:
        settle_start(config)
    assert f"{name} holds more than weights" in str(error.value)
    assert f"resume.trust={tmp_path}/global_step_10" in str(error.value)
    config.resume.trust = f"{tmp_path}/global_step_5"
    with pytest.raises(ValueError, match="would run its code"):
        settle_start(config)
    config.resume.trust = f"{tmp_path}/global_step_10/"
    assert settle_start(config).step == 10
    assert not ran.exists()


@pytest.mark.parametrize(
    ("linked", "file"),
    [
        ("global_step_10", "data.pt"),
        ("global_step_10", "actor/model_world_size_1_rank_0.pt"),
        ("global_step_10/actor", "model_world_size_1_rank_0.pt"),
        ("global_step_10/data.pt", ""),
    ],
)
def test_code_behind_a_link_is_refused_too(config, tmp_path, linked, file):
    kept, ran = tmp_path / "kept", tmp_path / "ran"
    (tmp_path / linked).rename(kept)
    (tmp_path / linked).symlink_to(kept)
    (tmp_path / "global_step_10" / "loop").symlink_to(tmp_path / "global_step_10")
    assert settle_start(config).step == 10
    torch.save({"position": Touch(ran)}, kept / file)
    with pytest.raises(ValueError, match=r"would run its code .*mkdir"):
        settle_start(config)
    assert not ran.exists()


def test_what_verl_saves_is_read_without_trust(tmp_path):
    require_plain(write_step(tmp_path, 5))


def test_a_full_disk_is_named_with_the_file_and_the_run_goes_on_from_the_last_whole_checkpoint(
    config, tmp_path
):
    """The weights of step 15 are written to /dev/full, which takes no byte, as on a full disk."""
    folder = tmp_path / "global_step_15"
    (folder / "actor").mkdir(parents=True)
    full = folder / "actor" / "model_world_size_1_rank_0.pt"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"^no space left for .*MiB free") as error, saving(config, 15):
        torch.save({"weight": torch.ones(1000)}, full)
    assert str(full) in str(error.value)
    assert not folder.exists()
    assert checkpoint_to_resume(config) == tmp_path / "global_step_10"


@pytest.mark.faults
def test_a_disk_that_is_really_full_is_named_and_has_space_for_the_report_again(config, tmp_path, small_disk):
    disk = small_disk("size=256k")
    config.trainer.default_local_dir = str(disk)
    write_step(disk, 5)
    folder = disk / "global_step_6" / "actor"
    folder.mkdir(parents=True)
    with (
        pytest.raises(OSError, match=rf"no space left for {folder}/model.pt .*: free some space$"),
        saving(config, 6),
    ):
        torch.save({"weight": torch.ones(10**6)}, folder / "model.pt")
    (disk / "report.json").write_text("{}" * 10_000)


def test_another_error_of_a_save_passes_and_leaves_the_checkpoint(config, tmp_path):
    folder = write_step(tmp_path, 15, marked=False)
    with pytest.raises(RuntimeError, match=r"^NCCL"), saving(config, 15):
        raise RuntimeError("NCCL")
    assert folder.exists()


@pytest.mark.faults
@pytest.mark.timeout(480)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("marker of a folder that is gone", "but .*global_step_7 is not there"),
        ("data.pt of the latest checkpoint cut", "data.pt is cut off or damaged"),
        ("data.pt of the latest checkpoint holds code", r"data.pt holds more than weights[\s\S]*mkdir"),
    ],
)
def test_the_command_refuses_before_ray_starts_and_leaves_every_file_as_it_was(
    tmp_path, measured, fault, said
):
    model = ROOT / ".cache" / "rehearsal" / "small"
    build(model, BuildSettings())
    for step in (5, 10):
        write_step(tmp_path / "checkpoints", step)
    (tmp_path / "report.jsonl").write_text("{}\n")
    if fault.startswith("marker"):
        (tmp_path / "checkpoints" / TRACKER).write_text("7")
    elif fault.endswith("cut"):
        break_file(tmp_path / "checkpoints" / "global_step_10" / "data.pt", "cut")
    else:
        hostile = {"position": Touch(tmp_path / "ran")}
        torch.save(hostile, tmp_path / "checkpoints" / "global_step_10" / "data.pt")
    before = contents(tmp_path)
    command = [sys.executable, "-m", "verl_egrsd.main", "+preset=egrsd", "+model=tiny", "+hardware=cpu"]
    command += [f"trainer.default_local_dir={tmp_path}/checkpoints", f"report.folder={tmp_path}"]
    with measured(fault, "refused before Ray starts, with the way out; no file changed"):
        refused = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"VERL_PLATFORM": "cpu"}, capture_output=True, text=True
        )
    assert refused.returncode == 1, refused.stderr[-3000:]
    assert re.search(said, refused.stderr), refused.stderr[-3000:]
    way_out = "resume.trust=" if fault.endswith("code") else "trainer.resume_mode=latest-whole"
    assert way_out in refused.stderr
    assert "Ray" not in refused.stderr
    assert not (tmp_path / "ran").exists()
    assert contents(tmp_path) == before
