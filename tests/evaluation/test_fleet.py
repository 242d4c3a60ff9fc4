"""What replicas leave when Ray has ended is ended too, and nothing else."""

import subprocess

import psutil

from verl_egrsd.evaluation import fleet

LONG = 20


def test_what_outlives_ray_of_the_processes_below_it_is_ended_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "LAST_SECONDS", 0.1)
    raylet = tmp_path / "raylet"
    raylet.symlink_to("/bin/sh")
    command = [raylet, "-c", "sleep 1000 & echo $!; wait"]
    ray = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    replica, stranger = psutil.Process(int(ray.stdout.readline())), psutil.Popen(["sleep", "1000"])
    try:
        below = fleet._below_ray()
        ray.kill()  # as at the end of Ray; what it has started gets another parent
        ray.wait(LONG)
        replica.suspend()
        fleet._end(below)
        psutil.wait_procs([replica], timeout=LONG)
        assert not replica.is_running()
        assert stranger.is_running()
    finally:
        for process in (ray, replica, stranger):
            if process.is_running():
                process.kill()
        stranger.wait(LONG)
