"""An end that Ray gives the trainer's process no time to report is noted by the process that started it."""

import json

import pytest
import ray
from omegaconf import OmegaConf
from verl.trainer import main_ppo
from verl.utils import device

from verl_egrsd import main
from verl_egrsd.report.ending import ending


@pytest.mark.parametrize(
    ("error", "how", "shut_down"),
    [
        (KeyboardInterrupt(), "stopped", ["running"]),
        (SystemExit(1), "stopped", []),
        (ray.exceptions.ActorDiedError(), "failed", []),
    ],
)
def test_an_end_of_the_trainers_process_is_in_the_report(tmp_path, monkeypatch, error, how, shut_down):
    path = tmp_path / "report.json"

    def train(config, task_runner_class):
        path.write_text(json.dumps({"ending": ending("running"), "breaks": []}))
        (tmp_path / "report.jsonl").touch()
        raise error

    def written():
        return json.loads(path.read_text())["ending"]["how"]

    seen = []
    monkeypatch.setattr(main_ppo, "run_ppo", train)
    monkeypatch.setattr(device, "auto_set_device", lambda config: None)
    monkeypatch.setattr("verl_egrsd.network.secure_network", lambda config: None)
    monkeypatch.setattr(ray, "shutdown", lambda: seen.append(written()))
    monkeypatch.setattr("verl_egrsd.report.run.report_page", lambda *_: "")
    with pytest.raises(type(error)):
        main.train(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}))
    assert written() == how
    assert seen == shut_down
