"""A public name means one thing in the whole package."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = {"logger", "main", "register"}
"""Modules that log have a `logger`, commands a `main`, and both methods and vLLM's plug-in are registered."""


def public_names(source: str) -> Iterator[str]:
    """Functions, classes and constants that a module defines at its top level."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [x.id for target in targets for x in ast.walk(target) if isinstance(x, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_is_defined_in_two_modules():
    homes = defaultdict(set)
    for folder in ("verl_egrsd", "data_prep"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in public_names(path.read_text()):
                homes[name].add(str(path.relative_to(ROOT)))
    twice = {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1}
    assert twice.keys() == SHARED, twice
