"""What the run report shows of a factor exists: panels and checks name metrics that the factor has."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.methods import Columns, factors
from verl_egrsd.methods.columns import TOKEN_COLUMNS


def columns() -> Columns:
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.rand(2, 6, generator=generator) for name in TOKEN_COLUMNS}
    return Columns.of(torch.arange(6) < torch.tensor([[6], [3]]), **values)


@pytest.mark.parametrize("factor", factors().values(), ids=factors())
def test_every_panel_and_check_names_a_metric_that_the_factor_has(factor):
    batch = columns()
    weights = factor.weights(batch, torch.tensor([[1.0], [-1.0]])).expand(2, 6) * batch.response_mask
    names = ("mean", "min", "max", *factor.metrics(batch, weights))
    known = {f"{factor.name}/{name}" for name in names}
    tracker = factor.tracker()
    if tracker is not None:
        known |= tracker.update(batch).keys()
    shown = {metric for panel in factor.panels for metric in panel.metrics}
    assert shown | {check.metric for check in factor.health_checks} <= known


def test_no_two_panels_or_checks_share_a_name():
    parts = factors().values()
    for names in (
        [panel.title for factor in parts for panel in factor.panels],
        [check.name for factor in parts for check in factor.health_checks],
    ):
        assert len(names) == len({*names})
