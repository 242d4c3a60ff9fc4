"""The published problems of tests/data, which says where they are from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data"


def published(name: str) -> list[dict[str, Any]]:
    """Return the rows of a file, `gsm8k_train` for example."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]
