"""Every module can be the first one that a process imports, and the plug-in registers whichever it is."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack
REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for package in ("verl_egrsd", "data_prep", "recipes")
    for path in (REPOSITORY / package).rglob("*.py")
)

# One process loads what is not ours and then forks for each module, so that verl and every module of ours is
# imported first once, without paying for torch a hundred times. A child that imports all says what that is.
IMPORT_EACH_FIRST = """
import gc, importlib, os, sys, traceback
from contextlib import suppress
import ray, tensordict, torch, transformers, transfer_queue, vllm
reading, writing = os.pipe()
if os.fork() == 0:
    try:
        for module in sys.argv[1:]:
            importlib.import_module(module)
        with os.fdopen(writing, "w") as pipe:
            print(*sys.modules, file=pipe)
    finally:
        os._exit(0)
os.close(writing)
with os.fdopen(reading) as pipe:
    names = pipe.read().split()
for name in names:
    if name.partition(".")[0] not in ("verl", "verl_egrsd", "data_prep", "recipes", "__main__"):
        with suppress(Exception):
            importlib.import_module(name)
assert "verl" not in sys.modules and "verl_egrsd" not in sys.modules
gc.disable()  # a child ends before it could pay off
failed = []
for module in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
            if "verl" in sys.modules:
                from verl_egrsd.compat import assert_registered
                assert_registered()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        failed.append(module)
print("FAILED", failed)
"""

WITHOUT_THE_VARIABLE = """
import importlib.metadata, sys
version = importlib.metadata.version
import vllm.model_executor.layers.utils as layer_utils
import vllm.distributed.device_communicators.shm_broadcast as queues
from vllm.model_executor.models.utils import WeightsMapper
dispatch, spin, names = layer_utils.dispatch_cpu_unquantized_gemm, queues.SpinCondition, dir(WeightsMapper)
import verl
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.engine import EngineRegistry
from verl_egrsd.compat import assert_registered
from verl_egrsd.cpu.vllm import register
register()
assert_registered()
assert not PlatformRegistry.get("cpu")().is_platform_available(use_smi_check=True)
assert all("cpu" not in devices for devices in EngineRegistry._engines["language_model"].values())
assert importlib.metadata.version is version
assert layer_utils.dispatch_cpu_unquantized_gemm is dispatch and queues.SpinCondition is spin
assert dir(WeightsMapper) == names
print("UNTOUCHED")
"""


ONLY_WHERE_VERL_LOOKS = """
import sys
import verl
ours = {name for name in sys.modules if name.startswith("verl_egrsd.")}
assert ours == {"verl_egrsd.plugin", "verl_egrsd.cpu", "verl_egrsd.cpu.platform"}, ours
from verl_egrsd.compat import assert_registered
assert "verl.trainer.ppo.v1" not in sys.modules and "verl.workers.engine" not in sys.modules
assert_registered("policy loss")
assert "verl_egrsd.trainer.losses" in sys.modules and "verl_egrsd.trainer.sync" not in sys.modules
assert_registered("trainer")
assert "verl_egrsd.trainer.sync" in sys.modules
from verl.workers.engine import EngineRegistry
assert "cpu" in EngineRegistry._engines["language_model"]["fsdp2"]
print("LATE")
"""


def imports_of(folder: str) -> set[str]:
    """Every module that a folder's modules import, wherever they do."""
    found: set[str] = set()
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("verl_egrsd", ("recipes", "tests", "data_prep")),
        ("data_prep", ("recipes", "tests")),
        ("recipes", ("tests",)),
        ("verl_egrsd/trainer", ("verl_egrsd.microscope", "verl_egrsd.evaluation", "verl_egrsd.frontier")),
        ("verl_egrsd/rollouts", ("verl_egrsd.microscope", "verl_egrsd.trainer")),
        ("verl_egrsd/scoring", ("verl_egrsd.microscope", "verl_egrsd.trainer", "verl_egrsd.teacher")),
    ],
)
def test_imports_go_one_way(folder: str, others: tuple[str, ...]):
    wrong = {name for name in imports_of(folder) if any(f"{name}.".startswith(f"{o}.") for o in others)}
    assert not wrong


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env={name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"} | environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


@pytest.mark.timeout(850)
def test_each_module_imports_first_in_a_fresh_process_and_leaves_the_names_registered():
    done = run(IMPORT_EACH_FIRST, *MODULES, VERL_PLATFORM="cpu")
    assert done.stdout.strip().endswith("FAILED []"), done.stdout[-500:] + done.stderr[-6000:]


def test_without_the_variable_no_cpu_platform_is_available_and_nothing_is_patched():
    done = run(WITHOUT_THE_VARIABLE)
    assert done.stdout.strip().endswith("UNTOUCHED"), done.stderr[-4000:]


def test_a_part_of_ours_is_imported_when_verl_imports_the_registry_it_joins_and_not_before():
    done = run(ONLY_WHERE_VERL_LOOKS, VERL_PLATFORM="cpu")
    assert done.stdout.strip().endswith("LATE"), done.stderr[-4000:]


def test_a_part_of_ours_that_fails_to_import_fails_the_import_of_what_it_joins():
    done = run(
        "import sys, verl; sys.modules['verl_egrsd.trainer.losses'] = None\n"
        "import verl.trainer.ppo.core_algos"
    )
    assert done.returncode != 0
    assert "import of verl_egrsd.trainer.losses halted" in done.stderr.strip().splitlines()[-1]


def test_a_plug_in_that_verl_did_not_load_is_an_error_that_says_why():
    done = run(
        "import verl; from verl_egrsd.compat import assert_registered; assert_registered()",
        VERL_USE_EXTERNAL_PLUGINS="none",
    )
    assert done.returncode != 0
    assert "estimator egrsd" in done.stderr
    assert "VERL_USE_EXTERNAL_PLUGINS" in done.stderr


def test_the_command_says_in_one_line_that_verl_did_not_load_the_plug_in():
    done = subprocess.run(
        [sys.executable, "-m", "verl_egrsd.main", "+preset=egrsd", "+model=miniature", "dry_run=true"],
        env=os.environ | {"VERL_USE_EXTERNAL_PLUGINS": "none"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("verl_egrsd: verl does not know estimator egrsd")


def test_the_command_line_helps_without_loading_torch_or_verl():
    done = run(
        "import sys; sys.argv = ['verl-egrsd', '--version']\n"
        "import contextlib, verl_egrsd.cli\n"
        "with contextlib.suppress(SystemExit): verl_egrsd.cli.main()\n"
        "assert 'torch' not in sys.modules and 'verl' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_what_vllm_loads_imports_neither_verl_nor_vllm():
    done = run(
        "import sys; from verl_egrsd.cpu.vllm import register; register()\n"
        "assert 'verl' not in sys.modules and 'vllm' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
