"""Rewards and disks that fail in real training runs: each run ends and names the row, or the file."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.faults.training import ENDS, SCRIPTED, STARTS, require_good_end, require_nothing_left

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1500)]

LIMIT = 15
"""Seconds that one call of the reward function may take."""
REWARDS = {
    "gives_nan": ("is NaN for one row", "it gave nan", 0),
    "raises": ("raises for one row", "it raised KeyError('no such answer')", 0),
    "hangs": ("hangs for one row", f"it took longer than scores.time_limit={LIMIT} s", LIMIT),
    "holds_the_interpreter": ("holds the interpreter for one row", "reward worker 0 died: the reward", LIMIT),
}
"""By the name of the function: the fault, what is said of it, and the seconds until it is one."""
SPACE = 512 * 1024
"""Bytes that are left on the disk; a checkpoint needs three times as many."""


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_function_that_fails_for_one_row_ends_the_run_with_this_row(training, measured, name):
    fault, said, seconds = REWARDS[name]
    run = training(
        *SCRIPTED,
        *("data.train_batch_size=8", "data.shuffle=false", f"scores.time_limit={LIMIT}"),
        "reward.custom_reward_function.path=pkg://tests.support.failing_reward",
        f"reward.custom_reward_function.name={name}",
    )
    run.train(2)
    with measured(f"the reward function {fault}", "the row is named in the last line"):
        assert run.driver.wait(seconds + ENDS) == 1, run.last_lines(20)
        require_good_end(run, 1, "failed", "step 3 of 400", said, " 'Find 4+8+4+1+9+2.")
    assert run.checkpoints() == [2]


def test_a_disk_that_gets_full_ends_the_run_with_the_file_and_the_last_whole_checkpoint(
    small_disk, training, measured
):
    """The report is on another one."""
    disk = small_disk("size=64m")
    run = training(*SCRIPTED, f"trainer.default_local_dir={disk}", f"report.folder={disk.parent}")
    run.wait_until((disk / "latest_checkpointed_iteration.txt").exists, STARTS, "a checkpoint")
    (disk / "filling").write_bytes(bytes(shutil.disk_usage(disk).free - SPACE))
    with measured("disk full while a checkpoint is written", "the file is named in the last line"):
        require_good_end(run, 1, "failed", f"no space left for {disk}/global_step_", "The last checkpoint is")
    assert run.last_lines().split("The last checkpoint is ")[1].startswith(f"{disk}/global_step_")


def test_a_disk_that_gets_full_ends_the_run_with_the_file_of_the_report(small_disk, training, measured):
    disk = small_disk("size=64m")
    run = training(*SCRIPTED, "trainer.save_freq=20", folder=disk)
    run.train(2)
    (disk / "filling").write_bytes(bytes(shutil.disk_usage(disk).free))
    with measured("disk full while the report is written", "the file is named in the last line"):
        assert run.driver.wait(ENDS) == 1, run.last_lines(20)
        require_nothing_left(run)
    assert re.search(rf"no space left for {disk}/(report|curves)\S+ \(", run.last_lines())
