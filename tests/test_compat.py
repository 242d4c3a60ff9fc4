"""A verl that this package was not tested with is refused at start, with what to install."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from verl_egrsd import compat

PACKAGE = Path(compat.__file__).parent
FOREIGN = ("verl", "transfer_queue")


def imported_names(source: str) -> Iterator[tuple[str, str]]:
    """Module and attribute of every name that a source takes from verl or TransferQueue."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {
                alias.asname or alias.name: alias.name for alias in node.names if is_foreign(alias.name)
            }
        elif isinstance(node, ast.ImportFrom) and node.module and is_foreign(node.module):
            for alias in node.names:
                if is_module(f"{node.module}.{alias.name}"):
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    yield node.module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr


def is_foreign(module: str) -> bool:
    return module.partition(".")[0] in FOREIGN


def is_module(path: str) -> bool:
    try:
        import_module(path)
    except ImportError:
        return False
    return True


def probed_objects() -> list[Any]:
    """What the probes resolve; `Class.method` resolves the class too."""
    found = []
    for module, attribute, _ in (*compat.PROBES, *compat.SFT_PROBES):
        target = import_module(module)
        for name in attribute.split("."):
            target = getattr(target, name)
            found.append(target)
    return found


@pytest.mark.parametrize("probes", [compat.PROBES, compat.SFT_PROBES], ids=["training", "supervised"])
def test_the_installed_verl_passes(probes):
    compat.check_verl(probes)


def test_every_name_that_the_package_imports_from_verl_is_probed():
    probed, unprobed = probed_objects(), set()
    for path in PACKAGE.rglob("*.py"):
        for module, name in imported_names(path.read_text()):
            if module not in compat.OPTIONAL and not any(
                getattr(import_module(module), name) is one for one in probed
            ):
                unprobed.add(f"{module}.{name} ({path.relative_to(PACKAGE)})")
    assert not unprobed


@pytest.mark.parametrize("version", ["0.9.0", "0.9.2", "1.0"])
def test_a_verl_outside_the_window_is_refused_with_the_command_that_installs_the_right_one(
    monkeypatch, version
):
    monkeypatch.setattr(compat, "version", lambda name: version)
    with pytest.raises(ImportError, match=rf"verl {version} is outside .*pip install"):
        compat.check_verl()


def test_a_verl_that_uses_our_names_itself_is_refused_by_name(monkeypatch):
    taken = ("verl.workers.engine_workers", "ActorRolloutRefWorker", ("refresh_teacher", "ref"))
    monkeypatch.setattr(compat, "ADDED", (taken,))
    with pytest.raises(ImportError, match=r"ActorRolloutRefWorker of verl .* has ref itself: pip install"):
        compat.check_verl()
    monkeypatch.setattr(compat, "ADDED", ())
    monkeypatch.setattr(compat, "SECTION", ("actor_rollout_ref", "ref"))
    with pytest.raises(ImportError, match=r"has a section actor_rollout_ref\.ref itself"):
        compat.check_verl()


@pytest.mark.parametrize(
    ("attribute", "parameters", "complaint"),
    [
        ("agg_loss", ("loss_mat", "no_such_parameter"), r"agg_loss of verl .* lacks no_such_parameter"),
        ("no_such_function", ("x",), r"verl .* has no .*core_algos\.no_such_function"),
        ("NO_SUCH_CONSTANT", (), r"verl .* has no .*core_algos\.NO_SUCH_CONSTANT"),
    ],
)
def test_a_changed_interface_is_refused_by_name(monkeypatch, attribute, parameters, complaint):
    monkeypatch.setattr(compat, "PROBES", (("verl.trainer.ppo.core_algos", attribute, parameters),))
    with pytest.raises(ImportError, match=complaint):
        compat.check_verl()


def test_a_module_of_verl_that_is_gone_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(compat, "PROBES", (("verl.no_such_module", "anything", ()),))
    with pytest.raises(ImportError, match=r"verl .* has no verl\.no_such_module"):
        compat.check_verl()
