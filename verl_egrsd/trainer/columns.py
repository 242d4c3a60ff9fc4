"""Columns of a data file: those that must be there, and those that must not."""

from __future__ import annotations

import datasets

from verl_egrsd.rows import Field

OVERRIDING = {
    "agent_name": "actor_rollout_ref.rollout.agent.default_agent_loop",
    "__rollout_n__": "actor_rollout_ref.rollout.n",
    "__do_sample__": "the settings of sampling",
}
"""Columns that verl takes, row by row, in place of its configuration."""
NEUTRAL_AGENT = "single_turn_agent"


def refuse_media(dataframe: datasets.Dataset, keys: tuple[str, ...]) -> None:
    """Refuse a file with images, videos or sounds."""
    for key in set(keys) & set(dataframe.column_names):
        if any(dataframe[key]):
            raise ValueError(
                f"column {key!r} holds media: EGRSD trains on text; remove the column or those rows."
            )


def refuse_overriding(dataframe: datasets.Dataset) -> None:
    """Refuse a file with a column that verl takes in place of the configuration."""
    for column in OVERRIDING.keys() & set(dataframe.column_names):
        others = [value for value in dataframe.unique(column) if value != NEUTRAL_AGENT]
        if others:
            raise ValueError(
                f"column {column!r} holds {others[0]!r}, which verl takes for that row in place of "
                f"{OVERRIDING[column]}: remove the column from the parquet."
            )


def require_columns(dataframe: datasets.Dataset, columns: tuple[str, ...], fields: list[Field]) -> None:
    """Refuse a file without a column; of a column that is no structure the first row says it better."""
    features = dataframe.features
    missing = [(name, "every row needs") for name in columns if name not in features]
    for field in fields:
        feature = features.get(field.column, {})
        if isinstance(feature, dict) and field.key not in feature:
            missing.append((f"{field.column}.{field.key}", f"is needed: {field.use}"))
    if missing:
        inner = [f"{name}.{key}" for name, f in features.items() if isinstance(f, dict) for key in f]
        outer = [name for name, f in features.items() if not isinstance(f, dict)]
        raise ValueError(
            f"the parquet has no {missing[0][0]}, which {missing[0][1]}; columns found: "
            f"{', '.join(outer + inner)}. Write it with data_prep, or rename your column."
        )
