"""A run from its first to its last step: verl's own loop, data loader and checkpoint files, but no engine.

What trains, rolls out and validates is replaced; how long a run goes on, what it saves, and how it resumes
and ends is real.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.workers.rollout.base import _ROLLOUT_REGISTRY

from tests.support.composing import composed
from tests.support.saved_run import write_shards
from verl_egrsd.checkpoints.choice import TRACKER
from verl_egrsd.report import run as report_run
from verl_egrsd.report.ending import RunEndedError, RunStoppedError
from verl_egrsd.trainer import sync, watched
from verl_egrsd.trainer.sync import EgrsdTrainer

pytestmark = pytest.mark.stack

ROWS = 10
STEP = {"egrsd/correct": 0.5, "egrsd/truncated": 0.0}


class Rows(list):
    """A data set that drops nothing."""

    dropped = ()


@pytest.fixture(scope="module")
def direction():
    return composed("+preset=direction", "+model=tiny", "+hardware=gpu8")


def write_rows(path, source):
    pd.DataFrame({"data_source": [source]}).to_parquet(path)


@pytest.fixture
def begun(direction, tmp_path, monkeypatch):
    """Begin a run of small steps in the folder of the test; `seen` collects the rows of each step."""
    for name in ("train", "validation"):
        write_rows(tmp_path / f"{name}.parquet", name)

    def rows(files, config, *args, is_train, **kwargs):
        found = Rows({"raw_prompt": "x", "index": i} for i in range(len_of[0] if is_train else 2))
        found.data_files = [files]
        found.dataframe = {"data_source": ["x"] * len(found)}
        return found

    len_of = [ROWS]
    monkeypatch.setattr(trainer_base, "create_rl_dataset", rows)
    monkeypatch.setattr(trainer_base.tq, "kv_clear", lambda keys, partition_id: None)
    # A name that verl knows and whose version nobody asks for.
    monkeypatch.setitem(_ROLLOUT_REGISTRY, ("scripted", "async"), "nobody starts it")
    monkeypatch.setattr(sync, "self_test", lambda: None)
    monkeypatch.setattr(sync, "check_files", lambda config: None)
    monkeypatch.setattr(report_run, "draw_curves", lambda steps, breaks: None)
    monkeypatch.setattr(report_run, "render", lambda figure, form: b"<svg></svg>")
    monkeypatch.setattr(PPOTrainer, "_validate", lambda self: {"val-core/sums/acc/mean@1": 0.5})
    monkeypatch.setattr(
        PPOTrainer,
        "_compute_metrics",
        lambda self, batch, metrics, *_, global_steps, **__: metrics.update(
            STEP, **{"training/global_step": global_steps}
        ),
    )

    def started(count=ROWS, crash_at=None, **values):
        len_of[0] = count
        config = OmegaConf.create(OmegaConf.to_container(direction))
        small = {
            "actor_rollout_ref.rollout.name": "scripted",
            "data.train_files": str(tmp_path / "train.parquet"),
            "data.val_files": str(tmp_path / "validation.parquet"),
            "data.train_batch_size": 4,
            "data.dataloader_num_workers": 0,
            "trainer.default_local_dir": str(tmp_path / "run"),
            "trainer.logger": ["console"],
            "trainer.n_gpus_per_node": 1,
            "trainer.save_freq": 5,
            "trainer.test_freq": 5,
        }
        for key, value in (small | values).items():
            OmegaConf.update(config, key, value, force_add=True)
        trainer = EgrsdTrainer(config)
        nothing = SimpleNamespace(
            save_checkpoint=lambda actor, *_, **__: write_shards(Path(actor)),
            load_checkpoint=lambda *_, **__: None,
            update_weights=lambda *_: None,
            sync_metrics=lambda: [{}],
            use_divergence=lambda *_: None,
        )
        trainer.actor_rollout_wg = trainer.checkpoint_manager = nothing
        trainer.tokenizer = trainer.processor = None
        trainer.seen = {}

        def step(metrics, timing):
            if trainer.global_steps == crash_at:
                raise OSError("the disk is gone")
            batch = trainer._next_train_batch()
            trainer.seen[trainer.global_steps] = [int(i) for i in batch["index"]]
            return SimpleNamespace(keys=[], partition_id="train")

        monkeypatch.setattr(trainer, "step", step)
        trainer._init_dataloader()
        trainer._init_dump_executor()
        trainer._load_checkpoint()
        trainer.on_init_end()
        return trainer

    return started


def run(trainer):
    trainer.fit(None)
    return trainer


def report(trainer):
    return json.loads((trainer.report.folder / "report.json").read_text())


def saved_steps(trainer):
    return sorted(int(path.parent.name[12:]) for path in trainer.report.folder.glob("global_step_*/data.pt"))


def test_steps_decide_and_the_data_is_read_as_often_as_that_takes(begun, capsys):
    trainer = run(begun(**{"trainer.total_training_steps": 12, "trainer.total_epochs": 1}))
    assert list(trainer.seen) == list(range(1, 13))
    assert saved_steps(trainer) == [5, 10, 12]
    found = report(trainer)
    assert (found["steps"], found["total_steps"], found["ending"]["how"]) == (12, 12, "finished")
    assert [step for step, _ in found["curves"]["val-core/sums/acc/mean@1"]] == [0, 5, 10, 12]
    assert (
        "10 training rows in batches of 4 give 2 steps per epoch; the 12 steps of this run go through the "
        "data 6 times; checkpoints are written every 5 steps and after the last one"
        in capsys.readouterr().out
    )


def test_epochs_decide_where_no_steps_are_set(begun, capsys):
    trainer = run(begun(**{"trainer.total_training_steps": None, "trainer.total_epochs": 3}))
    assert list(trainer.seen) == list(range(1, 7))
    assert saved_steps(trainer) == [5, 6]
    assert "the 6 steps of this run go through the data 3 times" in capsys.readouterr().out


@pytest.mark.parametrize(("batch", "crash"), [(4, 6), (4, 7), (5, 8), (10, 11)])
def test_a_resumed_run_reaches_its_last_step_wherever_it_was_in_the_data(begun, tmp_path, batch, crash):
    settings = {"data.train_batch_size": batch, "trainer.total_training_steps": 12, "trainer.save_freq": 1}
    whole = run(
        begun(
            **settings,
            **{"trainer.resume_mode": "disable", "trainer.default_local_dir": str(tmp_path / "whole")},
        )
    )
    broken = begun(**settings, crash_at=crash)
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(broken)
    resumed = run(begun(**settings))
    assert list(resumed.seen) == list(range(crash, 13))
    assert broken.seen | resumed.seen == whole.seen
    assert saved_steps(resumed)[-1] == 12
    assert report(resumed)["ending"]["how"] == "finished"


@pytest.mark.parametrize("batch", [2, 10])
def test_a_run_that_resumes_with_another_batch_size_reaches_its_last_step_and_shows_the_break(begun, batch):
    settings = {"trainer.total_training_steps": 12}
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(begun(**settings, crash_at=9))
    other = settings | {"data.train_batch_size": batch}
    with pytest.raises(ValueError, match=rf"data\.train_batch_size was 4 and is {batch}"):
        begun(**other)
    resumed = run(begun(**other, **{"resume.accept_changes": True}))
    assert list(resumed.seen) == list(range(6, 13))
    (item,) = report(resumed)["breaks"]
    assert (item["step"], item["changed"]["data.train_batch_size"]) == (5, [4, batch])
    state = json.loads((resumed.report.folder / "global_step_12" / "egrsd.json").read_text())
    assert state["breaks"] == [item]
    page = (resumed.report.folder / "report.html").read_text()
    assert "<code>data.train_batch_size</code>" in page


def test_a_run_that_goes_on_with_fewer_rows_begins_the_data_anew(begun, tmp_path):
    settings = {"trainer.total_training_steps": 12, "trainer.save_freq": 2}
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(begun(**settings, count=20, crash_at=5))
    write_rows(tmp_path / "train.parquet", "fewer")
    with pytest.raises(
        ValueError, match=r"data\.train_files was '[\d,]+ bytes, sha256 \w+' and is '[\d,]+ bytes, sha256"
    ):
        begun(**settings, count=8)
    resumed = run(begun(**settings, count=8, **{"resume.accept_changes": True}))
    assert sorted(resumed.seen[5] + resumed.seen[6]) == list(range(8))


def test_a_finished_run_that_is_started_again_trains_nothing_and_says_so(begun, capsys):
    run(begun(**{"trainer.total_training_steps": 6}))
    again = run(begun(**{"trainer.total_training_steps": 6}))
    assert again.seen == {}
    assert "nothing to do: " in capsys.readouterr().out
    assert list(run(begun(**{"trainer.total_training_steps": 8})).seen) == [7, 8]


def test_a_run_that_verl_ends_early_is_an_error(begun):
    trainer = begun(**{"trainer.total_training_steps": 12})
    trainer.config.trainer.total_epochs = 2
    with pytest.raises(
        RuntimeError, match=r"training ended after 4 of 12 steps.*total_epochs=2, 2 steps per"
    ):
        run(trainer)
    assert report(trainer)["ending"]["how"] == "failed"


def test_a_failure_is_in_the_report_with_its_reason_and_the_steps_before_it(begun):
    trainer = begun(**{"trainer.total_training_steps": 12}, crash_at=3)
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(trainer)
    found = report(trainer)
    assert (found["steps"], found["ending"]["how"]) == (2, "failed")
    assert found["ending"]["why"] == (
        "the run ended in step 3 of 12, the generation: OSError: the disk is gone. There is no checkpoint "
        "(trainer.save_freq=5): the same command begins anew."
    )
    assert found["curves"]["egrsd/correct"] == [[1, 0.5], [2, 0.5]]
    assert "OSError: the disk is gone" in (trainer.report.folder / "report.html").read_text()


def test_a_report_exists_before_the_first_step_and_says_that_the_run_goes_on(begun):
    trainer = begun(**{"trainer.total_training_steps": 12})
    assert report(trainer)["ending"]["how"] == "running"
    assert "was killed and could not say so" in (trainer.report.folder / "report.html").read_text()
    fingerprint = json.loads((trainer.report.folder / "fingerprint.json").read_text())
    assert fingerprint["data.train_batch_size"] == 4


def test_validation_alone_is_no_early_end(begun):
    trainer = run(begun(**{"trainer.total_training_steps": 12, "trainer.val_only": True}))
    assert report(trainer)["ending"]["how"] == "finished"


def test_a_run_that_resumes_keeps_the_steps_of_another_run_out_of_its_report(begun):
    settings = {"trainer.total_training_steps": 12}
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(begun(**settings, crash_at=8))
    other = {"data.seed": 1, "trainer.resume_mode": "disable"}
    with pytest.raises(RunEndedError, match="the disk is gone"):
        run(begun(**settings, **other, crash_at=4))
    resumed = run(begun(**settings))
    assert [step for step, _ in report(resumed)["curves"]["egrsd/correct"]] == list(range(6, 13))


def test_the_file_that_names_the_latest_checkpoint_is_replaced_and_never_emptied(begun, tmp_path):
    trainer = begun(**{"trainer.total_training_steps": 10})
    marker, link = tmp_path / "run" / TRACKER, tmp_path / "link"
    trainer.checkpoint_callback.on_save = lambda **saved: calls.append(
        (saved["global_step"], saved["async_save"], marker.read_text(), os.link(marker, link))
    )
    calls = []
    with pytest.raises(RunEndedError, match="File exists"):  # from the link at step 10
        run(trainer)
    assert calls == [(5, False, "5", None)]
    assert (link.read_text(), marker.read_text()) == ("5", "10")


def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_ends_the_run_with_the_file_and_the_way_on(
    begun, tmp_path
):
    """The position in the data of step 10 is written to /dev/full, which takes no byte, as a full disk."""
    settings = {"trainer.total_training_steps": 12}
    trainer = begun(**settings)
    full = tmp_path / "run" / "global_step_10" / "data.pt"

    def saved(actor, *_, **__):
        write_shards(Path(actor))
        if Path(actor).parent == full.parent:
            full.symlink_to("/dev/full")

    trainer.actor_rollout_wg.save_checkpoint = saved
    with pytest.raises(
        RunEndedError, match=rf"no space left for {full}.*free some space\. The last .* is .*global_step_5;"
    ):
        run(trainer)
    found = report(trainer)["ending"]
    said = f"in step 10 of 12, the saving of the checkpoint: OSError: no space left for {full}"
    assert (found["how"], said in found["why"]) == ("failed", True)
    assert not full.parent.exists()
    assert list(run(begun(**settings)).seen) == list(range(6, 13))


def test_a_second_trainer_in_the_folder_of_a_run_is_refused_until_the_first_has_ended(begun, tmp_path):
    settings = {"trainer.total_training_steps": 6}
    first = begun(**settings)
    with pytest.raises(OSError, match=r"run is in use by process .*OUTPUT of a recipe"):
        begun(**settings)
    elsewhere = {"trainer.default_local_dir": str(tmp_path / "other"), "report.folder": str(tmp_path / "run")}
    with pytest.raises(OSError, match="run is in use by process"):
        begun(**settings, **elsewhere)
    run(first)
    run(begun(**{"trainer.total_training_steps": 7}))


def test_a_report_that_cannot_be_written_does_not_hide_why_the_run_ended(begun, monkeypatch):
    trainer = begun(**{"trainer.total_training_steps": 12}, crash_at=3)
    monkeypatch.setattr(
        trainer.report, "end", lambda _: (trainer.report.folder / "no" / "where").write_text("")
    )
    with pytest.raises(RunEndedError, match="the disk is gone") as error:
        run(trainer)
    assert "the report does not say so" in error.value.__notes__[0]


def test_a_run_that_is_asked_to_stop_ends_after_its_step_with_a_checkpoint(begun, monkeypatch):
    settings = {"trainer.total_training_steps": 12}
    with monkeypatch.context() as patch:
        asked = iter([False, False, False, True])
        patch.setattr(watched, "asked_to_stop", lambda: next(asked))
        stopped = begun(**settings)
        with pytest.raises(
            RunStoppedError,
            match=r"in step 3 of 12.*: it was asked to stop\. The last .*global_step_3; the same",
        ):
            run(stopped)
    assert report(stopped)["ending"]["how"] == "stopped"
    assert saved_steps(stopped) == [3]
    assert list(run(begun(**settings)).seen) == list(range(4, 13))


def test_each_phase_of_a_run_has_its_deadline_from_its_begin(begun, monkeypatch):
    trainer = begun(**{"trainer.total_training_steps": 5, "trainer.val_before_train": True})
    entered = []
    monkeypatch.setattr(trainer.watchdog, "enter", entered.append)
    run(trainer)
    validation, step = ["validation", None], ["generation", "sync", None]
    assert entered == validation + 4 * step + ["generation", "save", "sync", None] + validation
