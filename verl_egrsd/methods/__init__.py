"""The methods: credit = advantage x factor x factor.

Read in this order: `columns` (what a method may read), `part` (what a factor is), `ratio` and `entropy_gate`
(the factors of EGRSD), `method` (how they are multiplied), `table` (the methods), `settings` (their keys).
Nothing here imports verl. CONTRIBUTING.md shows how to add a method.
"""

from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.distillation import Distillation
from verl_egrsd.methods.entropy_gate import EntropyGate
from verl_egrsd.methods.method import Credited, Method, Requirement
from verl_egrsd.methods.part import AdvantageSource, Factor, HealthCheck, Panel
from verl_egrsd.methods.ratio import Ratio
from verl_egrsd.methods.settings import resolve
from verl_egrsd.methods.table import advantage_sources, factors, health_checks, methods, register

__all__ = [
    "AdvantageSource",
    "Columns",
    "Credited",
    "Distillation",
    "EntropyGate",
    "Factor",
    "HealthCheck",
    "Method",
    "Panel",
    "Ratio",
    "Requirement",
    "advantage_sources",
    "factors",
    "health_checks",
    "methods",
    "register",
    "resolve",
]
