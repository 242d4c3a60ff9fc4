"""A method of another package: installed beside this one, found by its entry point, named like any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack
CODE = '''
from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.methods import Factor, HealthCheck, Method, Panel, Ratio


@dataclass(frozen=True)
class Halved(Factor):
    """Half the weight on every token."""

    name: ClassVar[str] = "halved"
    panels: ClassVar = (Panel("halved", ("halved/mean",)),)
    health_checks: ClassVar = (
        HealthCheck("halved", "halved", "halved/mean", (0.9, 1.1), "weight", "{value} in {steps}.", "No."),
    )

    share: float = 0.5

    @property
    def reads(self):
        return frozenset({"teacher_log_prob"})

    def weights(self, columns, advantages):
        return columns.column("teacher_log_prob") * 0 + self.share


HALF = Method("half", "half of it", (Ratio(), Halved()))
'''
METADATA = "Metadata-Version: 2.1\nName: half-of-it\nVersion: 1.0\n"
ENTRY_POINT = "[verl_egrsd.methods]\nhalf = half_of_it:HALF\n"
PROBE = """
import json, torch
import verl_egrsd.configs
from hydra import compose, initialize_config_module
from verl_egrsd.methods import Columns, methods
from verl_egrsd.preflight import preflight
from verl_egrsd.report.curves import panels
from verl_egrsd.report.health import all_checks

with initialize_config_module("verl_egrsd.configs", version_base=None):
    config = compose("egrsd", overrides=[
        "+preset=egrsd", "+model=qwen3_4b", "+hardware=gpu8", "algorithm.adv_estimator=half",
        "algorithm.egrsd.halved.share=0.25", "report.thresholds.halved=[0.5,0.7]",
    ])
method, _ = preflight(config)
columns = Columns.of(torch.ones(1, 2), teacher_log_prob=torch.zeros(1, 2), student_log_prob=torch.zeros(1, 2))
print(json.dumps({
    "section": dict(config.algorithm.egrsd.halved),
    "name": config.trainer.experiment_name,
    "credit": method.credit(columns, torch.tensor([[2.0]])).credit.tolist(),
    "panel": "halved" in dict(panels()),
    "check": "halved" in all_checks(),
    "composes": "halved" in {factor.name for factor in methods()["half"].factors},
}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with one that adds a method."""
    (tmp_path / "half_of_it.py").write_text(CODE)
    info = tmp_path / "half_of_it-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    return tmp_path


def run(code: str, *folders: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables, "PYTHONPATH": path},
    )


def test_a_method_of_another_package_is_trained_reported_and_configured_without_an_edit_of_ours(site):
    done = run(PROBE, site)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "section": {"share": 0.25},
        "name": "half_Qwen3-4B_nonthinking_seed0",
        "credit": [[0.5, 0.5]],
        "panel": True,
        "check": True,
        "composes": True,
    }


def test_an_entry_point_that_does_not_name_a_method_is_refused_by_name(site):
    (site / "half_of_it-1.0.dist-info" / "entry_points.txt").write_text(
        "[verl_egrsd.methods]\nhalf = half_of_it:Halved\n"
    )
    done = run("from verl_egrsd.methods import methods; methods()", site)
    assert "the entry point half = half_of_it:Halved of the group verl_egrsd.methods gives a " in done.stderr


def test_a_module_that_verl_imports_registers_a_method(site):
    (site / "mine.py").write_text(
        CODE.replace("Method, Panel, Ratio", "Method, Panel, Ratio, register")
        + 'register(Method("mine", "", (Ratio(), Halved())))\n'
    )
    (site / "half_of_it-1.0.dist-info" / "entry_points.txt").write_text("")
    code = (
        "import verl; from verl_egrsd.trainer.estimators import register_estimators; register_estimators(); "
    )
    code += "from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY as known; print('mine' in known)"
    done = run(code, site, VERL_USE_EXTERNAL_MODULES="mine")
    assert done.stdout.splitlines()[-1] == "True", done.stderr[-2000:]
