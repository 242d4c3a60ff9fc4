"""The documentation says what the code does: keys, defaults, files, metrics, variables, links, commands."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from verl_egrsd.config import DataChecks, TeacherConfig
from verl_egrsd.methods import Columns, resolve
from verl_egrsd.metrics import method_metrics, rollout_metrics, verdict_metrics
from verl_egrsd.preflight import preflight
from verl_egrsd.preflight.rules import rule_rows
from verl_egrsd.reward import compute_score
from verl_egrsd.reward.acceptance import ScoreChecks
from verl_egrsd.watch.settings import WatchdogConfig

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "verl_egrsd" / "configs"
EVIDENCE = ROOT / "docs" / "evidence" / "README.md"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), EVIDENCE)
METHOD_PAGES = tuple(sorted((ROOT / "docs" / "methods").glob("*.md")))
SUPERVISED = CONFIGS / "sft"
"""Presets, models and hardware of `verl-egrsd sft`."""
CONFIGURATION = ROOT / "docs" / "configuration.md"
METHOD = ROOT / "docs" / "method.md"
METRIC_SOURCES = (
    *("trainer/moving_teacher.py", "trainer/held_teacher.py", "trainer/checked_scores.py"),
    *("trainer/sync.py", "trainer/prompts.py", "trainer/rounding.py", "trainer/rollout_match.py"),
    "rollouts/wording.py",
)
METRIC = r"egrsd/[a-z_]+(?:/[a-z_]+)*"


def section(page: Path, heading: str) -> str:
    """The text of a page from a heading to the next one of the same or a higher level."""
    text = page.read_text()
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page.name} has no heading {heading!r}"
    return re.split(rf"\n#{{1,{level}}} ", rest)[0]


def table(text: str) -> list[list[str]]:
    """Rows of the tables of a text without head and rule, as stripped cells."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    heads = {i - 1 for i, row in enumerate(rows) if set(row) <= set("|- ")}
    body = [row for i, row in enumerate(rows) if i not in heads and not set(row) <= set("|- ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body]


def value(cell: str) -> Any:
    """What a table cell in code quotes means as yaml."""
    assert re.fullmatch(r"`[^`]+`", cell), f"{cell!r} is no value in code quotes"
    return yaml.safe_load(cell.strip("`"))


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of the values of nested mappings."""
    for key, child in node.items():
        if isinstance(child, dict):
            yield from leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """`configs/egrsd.yaml` as written, without interpolation."""
    return yaml.safe_load((CONFIGS / "egrsd.yaml").read_text())


@pytest.mark.parametrize(
    ("settings", "heading"),
    [
        (TeacherConfig, "## The teacher: `actor_rollout_ref.teacher`"),
        (DataChecks, "## Checks of the data: `data.checks`"),
        (ScoreChecks, "## What a score must be: `scores`"),
        (WatchdogConfig, "## The watchdog"),
    ],
    ids=["teacher", "data", "scores", "watchdog"],
)
def test_every_key_is_documented_with_its_actual_default(settings, heading):
    page = ROOT / "docs" / "faults.md" if settings is WatchdogConfig else CONFIGURATION
    documented = {cells[0].strip("`"): value(cells[1]) for cells in table(section(page, heading))}
    defaults = {field.name: field.default for field in fields(settings)}
    actual = {name: list(x) if isinstance(x, tuple) else x for name, x in defaults.items()}
    assert documented == actual


def test_every_key_of_ratio_and_gate_is_documented_with_its_actual_default():
    rows = table(section(CONFIGURATION, "## The method: `algorithm.egrsd`"))
    documented = {cells[0].strip("`"): value(cells[1]) for cells in rows}
    actual = resolve("egrsd", max_response_length=1).keys()
    assert documented == actual | {"max_response_length": "data.max_response_length"}


def test_the_teachers_values_in_the_yaml_are_documented(shipped):
    rows = table(section(CONFIGURATION, "## The teacher: `actor_rollout_ref.teacher`"))
    documented = {cells[0].strip("`"): value(cells[2]) for cells in rows}
    assert documented == shipped["actor_rollout_ref"]["teacher"]


def test_the_yaml_checks_the_data_as_is_the_default(shipped):
    assert shipped["data"]["checks"] == asdict(DataChecks())


def test_the_yaml_checks_the_scores_as_is_the_default(shipped):
    default = asdict(ScoreChecks())
    assert shipped["scores"] == default | {"range": list(default["range"])}


def test_the_yaml_has_the_default_deadlines(shipped):
    assert shipped["watchdog"] == asdict(WatchdogConfig())


def test_every_key_of_verl_that_the_yaml_sets_is_documented_with_its_value(shipped):
    rows = table(section(CONFIGURATION, "## verl's keys that this package sets"))
    documented = {cells[0].strip("`"): cells[1] for cells in rows}
    # The blocks of this package have tables of their own; Hydra's sections are no settings.
    own = (
        "algorithm.egrsd.",
        "actor_rollout_ref.teacher.",
        "data.checks.",
        "report.",
        "scores.",
        "watchdog.",
    )
    paths = [
        path
        for path in leaves({key: node for key, node in shipped.items() if key not in ("defaults", "hydra")})
        if not path.startswith(own)
    ]
    assert sorted(documented) == sorted(paths)
    for path, cell in documented.items():
        node: Any = shipped
        for key in path.split("."):
            node = node[key]
        if cell.startswith("`"):
            assert value(cell) == node, path


@pytest.mark.parametrize("page", [*PAGES, *METHOD_PAGES], ids=lambda page: page.stem)
def test_every_name_of_the_code_exists(page):
    names = re.findall(r"`((?:verl_egrsd|credit|methods|scoring)\.\w[\w.]*\w)`", page.read_text())
    for name in names:
        if page.name != "CHANGELOG.md":  # which names what is gone
            resolve_name(name if name.startswith("verl_egrsd") else f"verl_egrsd.{name}")  # or it raises


def test_every_yaml_file_is_named_and_every_named_one_exists():
    rows = table(section(CONFIGURATION, "## Presets, models, hardware"))
    named = {cells[0].strip("`") for cells in rows}
    # A method with a page of its own names its preset there (tests/methods/test_pages.py).
    presets = {path.stem for path in CONFIGS.glob("preset/*.yaml")}
    named |= {f"preset/{page.stem}.yaml" for page in METHOD_PAGES if page.stem in presets}
    files = [*CONFIGS.glob("*/*.yaml"), *SUPERVISED.glob("*/*.yaml")]
    assert named == {str(path.relative_to(CONFIGS)) for path in files}


def test_every_rule_has_its_row_and_every_row_its_rule():
    head = "### Settings of verl that change what the method means"
    documented = [tuple(cell.strip("`") for cell in cells) for cells in table(section(CONFIGURATION, head))]
    assert documented == [
        (key, neutral, effect, f"{does}: {remedy}") for key, neutral, effect, does, remedy in rule_rows()
    ]


def emitted_metrics() -> set[str]:
    """Names that the three summaries return for a random batch, and those that the trainer adds itself."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = (-torch.rand(4, 6, generator=generator) for _ in range(2))
    entropy = 3 * torch.rand(4, 6, generator=generator)
    mask = torch.arange(6) < torch.tensor([6, 4, 2, 1]).unsqueeze(1)
    advantages = torch.tensor([0.8, -0.5, 0.5, -0.3])
    columns = Columns.of(
        mask,
        rewards=advantages.abs(),
        correct=advantages > 0,
        teacher_log_prob=teacher,
        student_log_prob=student,
        teacher_entropy=entropy,
    )
    method = resolve("egrsd", max_response_length=6)
    trackers = {factor.name: tracker for factor in method.active if (tracker := factor.tracker())}
    result = method.credit(columns, advantages.unsqueeze(1))
    names = {*method_metrics(method, columns, result, trackers)}
    names |= {*rollout_metrics(columns, advantages, advantages < 0)}
    names |= set(verdict_metrics([compute_score("any", "no answer", "12")], advantages > 0))
    sources = [(ROOT / "verl_egrsd" / path).read_text() for path in METRIC_SOURCES]
    return names | {name for source in sources for name in re.findall(rf'"({METRIC})"', source)}


def test_every_metric_is_documented_and_every_documented_one_is_emitted():
    rows = table(section(METHOD, "## Metrics"))
    assert {cells[0].strip("`") for cells in rows} == emitted_metrics()


@pytest.mark.parametrize("page", [*PAGES, *METHOD_PAGES], ids=lambda page: page.name)
def test_every_relative_link_points_to_an_existing_file_and_heading(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name} links to {target}"


def test_every_environment_variable_of_the_recipes_is_documented_and_the_reverse():
    scripts = [*sorted((ROOT / "recipes").glob("*.sh")), ROOT / "requirements" / "install_cpu.sh"]
    used = {name for path in scripts for name in re.findall(r"\$\{([A-Z][A-Z_]*):[-+]", path.read_text())}
    used |= {name for path in scripts for name in re.findall(r"\bswitch ([A-Z_]+)", path.read_text())}
    variables = section(CONFIGURATION, "## Environment variables")
    assert used <= {cells[0].strip("`") for cells in table(variables)}
    recipes = ("GPU recipes", "supervised recipes", "rehearsal", "miniature frontier", "reproduction")
    rows = table("".join(section(CONFIGURATION, f"### Of the {name}") for name in recipes))
    documented = {cells[0].strip("`") for cells in rows}
    # Two are read by a yaml file and by pip.
    assert documented == used | {"RAY_ADDRESS", "PIP_EXTRA_INDEX_URL"}
    known = runpy.run_path(str(ROOT / "recipes" / "environment.py"))["RECIPES"]
    assert documented == {name for names in known.values() for name in names}


@pytest.mark.parametrize("page", [*PAGES, *METHOD_PAGES], ids=lambda page: page.name)
def test_every_command_names_a_module_or_script_that_exists(page):
    text = page.read_text()
    for name in re.findall(r"python -m ((?:verl_egrsd|data_prep)[\w.]*)", text):
        base = ROOT / name.replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists(), name
    for script in re.findall(r"bash ([\w/]+\.sh)", text):
        assert (ROOT / script).exists(), script


def test_every_python_example_of_a_page_runs():
    examples = [
        found
        for page in (*PAGES, *METHOD_PAGES)
        for found in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert examples
    for example in examples:
        exec(example, {})


def test_the_readme_lists_every_page_of_the_documentation():
    contents = section(ROOT / "README.md", "## Contents")
    for page in PAGES[1:]:
        assert f"]({page.relative_to(ROOT)})" in contents


def test_the_command_for_stock_verl_composes_and_passes_the_checks():
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"python -m verl\.trainer\.main_ppo \\\n(.*?)```", readme, flags=re.DOTALL)
    # What every script of verl sets, and the README leaves to it.
    rest = ["actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.actor.use_dynamic_bsz=True"]
    config = compose_stock([*(line.strip(" \\") for line in command.splitlines() if line.strip()), *rest])
    method, teacher = preflight(config)
    assert (method.name, method.keys()["gamma"], method.keys()["window"]) == ("egrsd", 0.3, 0)
    assert (teacher.enable_thinking, teacher.overlong) == (True, "drop")


def compose_stock(overrides: list[str]) -> DictConfig:
    """verl's own configuration with overrides; a missing or needless `+` is an error, as with `main_ppo`."""
    spec = find_spec("verl")
    assert spec is not None
    assert spec.origin is not None
    with initialize_config_dir(str(Path(spec.origin).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", overrides)
