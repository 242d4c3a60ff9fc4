"""What the package imports is what it asks pip for."""

import ast
import re
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("verl_egrsd", "data_prep")
OPTIONAL = {"vllm", "liger_kernel", "trl", "_typeshed"}
"""The extra `vllm`, kernels that are taken where they are installed, and a package of type checkers."""


def imported() -> set[str]:
    """Names of the top-level packages that the library imports anywhere."""
    names: set[str] = set()
    for path in (path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {*PACKAGES} - OPTIONAL


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_that_is_imported_is_declared():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split()
    declared = {normal(re.split(r"[\[<>=!~,]", line)[0]) for line in lines}
    homes = packages_distributions()
    for name in imported():
        assert declared & {normal(home) for home in homes[name]}, f"{name} is imported and not declared"
