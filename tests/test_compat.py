"""A verl that this package was not tested with is refused at start, with what to install."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from verl_egrsd import compat, interfaces

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
    for module, attribute, _ in chain(compat.declared(compat.PROBES), compat.declared(compat.SFT_PROBES)):
        target = import_module(module)
        for name in attribute.split("."):
            target = getattr(target, name)
            found.append(target)
    return found


def own_classes() -> list[tuple[type, type]]:
    """Every class of the package that extends one of verl's, and that class."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "\nclass " not in text or not [*imported_names(text)]:
            continue
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for cls in filter(inspect.isclass, vars(module).values()):
            bases = [base for base in cls.__mro__ if is_foreign(base.__module__)]
            if bases and cls.__module__ == module.__name__:
                found.append((cls, bases[0]))
    return found


def own_parts(cls: type) -> list[type]:
    """The class itself and the mixins of this package."""
    return [base for base in cls.__mro__ if base.__module__.startswith("verl_egrsd.")]


def own_names(cls: type) -> set[str]:
    """Names that the class and its mixins define, declare, or set on an instance."""
    names: set[str] = set()
    for part in own_parts(cls):
        tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        stored = [node for node in attributes if isinstance(node.ctx, ast.Store)]
        names |= vars(part).keys() | vars(part).get("__annotations__", {}).keys()
        names |= {node.attr for node in stored if ast.unparse(node.value) == "self"}
    return {name for name in names if not name.startswith("__")} - {"_abc_impl"}


@pytest.mark.parametrize("supervised", [False, True])
def test_the_installed_verl_passes(supervised):
    compat.check_verl(supervised=supervised)


def test_every_method_of_verl_that_a_class_of_ours_overrides_is_probed():
    """Python itself refuses a class without one of its abstract methods."""
    probed, unprobed = probed_objects(), set()
    for cls, base in own_classes():
        for name, value in ((name, value) for part in own_parts(cls) for name, value in vars(part).items()):
            if not hasattr(base, name) or name in getattr(base, "__abstractmethods__", ()):
                continue
            overridden = base if name == "__init__" else getattr(base, name)
            if inspect.isfunction(value) and not any(overridden is one for one in probed):
                unprobed.add(f"{base.__module__}.{base.__name__}.{name} ({cls.__module__})")
    assert not unprobed


def test_the_names_that_our_classes_add_to_verls_are_those_that_are_listed():
    listed = {
        attrgetter(name)(import_module(module)): {*added.split()}
        for module, name, added in (*compat.ADDED, *compat.SFT_ADDED)
    }
    found: dict[type, set[str]] = {}
    for cls, base in own_classes():
        if added := own_names(cls) - compat.names_of(base):
            known = next((one for one in listed if issubclass(base, one)), base)
            found[known] = found.get(known, set()) | added
    assert found == listed


def test_every_name_that_the_package_imports_from_verl_is_probed():
    probed, unprobed = probed_objects(), set()
    for path in PACKAGE.rglob("*.py"):
        for module, name in imported_names(path.read_text()):
            if module not in interfaces.OPTIONAL and not any(
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
    taken = ("verl.workers.engine_workers", "ActorRolloutRefWorker", "refresh_teacher ref")
    monkeypatch.setattr(compat, "ADDED", (taken,))
    with pytest.raises(ImportError, match=r"ActorRolloutRefWorker of verl .* has ref itself: pip install"):
        compat.check_verl()
    monkeypatch.setattr(compat, "ADDED", ())
    monkeypatch.setattr(compat, "SECTION", ("actor_rollout_ref", "ref"))
    with pytest.raises(ImportError, match=r"has a section actor_rollout_ref\.ref itself"):
        compat.check_verl()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("agg_loss(loss_mat, no_such_parameter)", r"agg_loss of verl .* lacks no_such_parameter"),
        ("no_such_function(x)", r"verl .* has no .*core_algos\.no_such_function"),
        ("NO_SUCH_CONSTANT", r"verl .* has no .*core_algos\.NO_SUCH_CONSTANT"),
    ],
)
def test_a_changed_interface_is_refused_by_name(monkeypatch, line, complaint):
    monkeypatch.setattr(compat, "PROBES", {"verl.trainer.ppo.core_algos": f"agg_loss(loss_mat)\n{line}"})
    with pytest.raises(ImportError, match=complaint):
        compat.check_verl()


def test_a_module_of_verl_that_is_gone_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(compat, "PROBES", {"verl.no_such_module": "anything"})
    with pytest.raises(ImportError, match=r"verl .* has no verl\.no_such_module"):
        compat.check_verl()
