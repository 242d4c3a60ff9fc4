"""The model card of an exported checkpoint: README.md, from what run, data and evaluation left behind.

The card names files without their folders, since it may be published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from verl_egrsd import __version__
from verl_egrsd.checkpoints.files import read_object
from verl_egrsd.checkpoints.places import STATE_FILE
from verl_egrsd.evaluation.summary import AVERAGE, percent, read_summary, settings_in_words, whole
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.named import HUB_ID
from verl_egrsd.output.tables import text_table, verbatim_markdown

MODEL_CARD = "README.md"
_REPORT, _DATA_CARD = "report.json", "data_card.json"
_SHOWN = "what the model card shows, as JSON; remove it to leave it out"
RECORDED = {
    "method": ("algorithm.adv_estimator", "trainer.sft"),
    "gamma (strength of the gate)": ("algorithm.egrsd.gamma",),
    "window (lookahead, tokens)": ("algorithm.egrsd.window",),
    "factors": ("algorithm.egrsd.factors",),
    "teacher's context": ("actor_rollout_ref.teacher.template",),
    "teacher's weights": ("actor_rollout_ref.teacher.refresh",),
    "learning rate": ("actor_rollout_ref.actor.optim.lr", "optim.lr"),
    "LoRA rank": ("actor_rollout_ref.model.lora_rank", "model.lora_rank"),
    "prompts per step": ("data.train_batch_size",),
    "rollouts per prompt": ("actor_rollout_ref.rollout.n",),
    "longest response, tokens": ("data.max_response_length",),
    "temperature of the rollouts": ("actor_rollout_ref.rollout.temperature",),
    "student thinks": ("data.apply_chat_template_kwargs.enable_thinking",),
}
"""Rows of the table of settings, each with the keys that may hold its value."""


def model_card(
    checkpoint: Path, *, base: str, form: str, weights: str = "student", evaluations: Sequence[Path] = ()
) -> str:
    """Return the card of a checkpoint `global_step_N`.

    Args:
        checkpoint: folder of the step. The run's report and the data card of its training rows are used where
            they are found.
        base: folder or hub id of the base model.
        form: "merged" or "adapter".
        weights: whose: "student" or "teacher".
        evaluations: folders that `verl-egrsd eval` wrote, with a summary.json.

    Raises:
        FileNotFoundError: when an evaluation has no summary.json.
        ValueError: when that file is not a summary, or a report or data card is cut off.
    """
    state = _read(checkpoint / STATE_FILE)
    settings: Mapping[str, Any] = state.get("fingerprint", {})
    report = next(filter(None, (_read(folder / _REPORT) for folder in checkpoint.resolve().parents[:2])), {})
    step = checkpoint.name.removeprefix("global_step_")
    method = str(settings.get("algorithm.adv_estimator", "sft"))
    name = base if HUB_ID.fullmatch(base) and not Path(base).is_dir() else Path(base).name
    lines = [
        f"# {verbatim_markdown(name)} after {step} steps of {verbatim_markdown(method)}",
        f"\nThe {weights} of a training run with verl_egrsd {__version__} (arXiv 2605.13255), as a "
        f"{'whole model' if form == 'merged' else 'peft adapter'}. Written by `verl-egrsd export`.",
        "\n## Training\n",
        text_table(("setting", "value"), list(_settings(settings)), "ll") if settings else "Not recorded.",
        *_versions(report),
        "\n## Data\n",
        *_data(report),
        "\n## Evaluation\n",
        *(_evaluations(list(map(read_summary, evaluations))) or ["Not evaluated."]),
        "\n## Limits\n",
        "Trained on problems with verifiable answers, as text in a single turn. Nothing was done about "
        "safety. The licences of the base model and of the data apply.\n",
    ]
    return _front_matter(base if name == base else None, form, method) + "\n".join(lines)


def _front_matter(hub_id: str | None, form: str, method: str) -> str:
    facts: dict[str, Any] = {"base_model": hub_id} if hub_id else {}
    facts["library_name"] = "transformers" if form == "merged" else "peft"
    facts |= {"pipeline_tag": "text-generation", "tags": ["verl", "self-distillation", "reasoning", method]}
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n\n"


def _settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, keys in RECORDED.items():
        value = next((settings[key] for key in keys if settings.get(key) is not None), None)
        if value is not None:
            yield name, verbatim_markdown(Path(str(value)).name if "/" in str(value) else str(value))


def _versions(report: Mapping[str, Any]) -> list[str]:
    named = [f"{name} {number}" for name, number in report.get("versions", {}).items()]
    return [f"\nVersions: {verbatim_markdown(', '.join(named))}."] if named else []


def _data(report: Mapping[str, Any]) -> list[str]:
    """Return what the report and the data card beside the training rows say."""
    files = report.get("data", {}).get("training", [])
    if not files:
        return ["Not recorded."]
    rows = [(verbatim_markdown(Path(file["file"]).name), verbatim_markdown(file["sha256"])) for file in files]
    lines = [text_table(("training file", "SHA-256"), rows, "ll")]
    folder = Path(files[0]["file"]).parent
    card = _read(folder / _DATA_CARD)
    same = card.get("files", {}).get(Path(files[0]["file"]).name, {}).get("sha256") == files[0]["sha256"]
    if card and same:
        stages = [
            (verbatim_markdown(stage["stage"]), f"{stage['in']:,}", f"{stage['out']:,}")
            for stage in card["stages"]
        ]
        source = verbatim_markdown(Path(str(card["options"]["source"])).name)
        checked = ", ".join(map(verbatim_markdown, card["benchmarks"])) or "none"
        lines += [
            f"\nPrepared from {source}. Rows that match a problem of these benchmarks were left out: "
            f"{checked}.\n",
            text_table(("stage", "rows in", "rows out"), stages, "l"),
        ]
    return lines


def _evaluations(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table for each evaluation: accuracy and length with their intervals.

    Raises:
        ValueError: for one in which the model answered as the teacher.
    """
    lines: list[str] = []
    for summary in summaries:
        if template := summary["settings"].get("template"):
            raise ValueError(
                f"{summary['name']} was answered as the teacher (template {template}), and users of it "
                "have no such prompt: name an evaluation that was made without --template."
            )
        rows = [
            (
                verbatim_markdown(name),
                Interval(**row["avg"]).text(percent),
                Interval(**row["length"]).text(whole),
            )
            for name, row in {**summary["benchmarks"], AVERAGE: summary[AVERAGE]}.items()
        ]
        settings = verbatim_markdown(settings_in_words(summary))
        lines += [
            f"\n{verbatim_markdown(summary['name'])}, {verbatim_markdown(summary['date'])}: {settings}. "
            "In brackets: 95 % bootstrap intervals over problems.\n",
            text_table(("benchmark", "accuracy, percent", "length, tokens"), rows, "l"),
        ]
    return lines


def _read(path: Path) -> dict[str, Any]:
    return read_object(path, _SHOWN) if path.is_file() else {}
