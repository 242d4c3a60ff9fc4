"""Hydra configurations: `egrsd.yaml` on top of verl's, and one file per preset, model and hardware.

The keys of the methods, and the thresholds of their health checks, have one home: the classes of their parts.
They are put into Hydra's store here, each with the value null: what the method says. Import this package
before you compose.
"""

from hydra.core.config_store import ConfigStore

from verl_egrsd.methods.settings import all_keys
from verl_egrsd.report.settings import factor_thresholds

_STORE = ConfigStore.instance()
_STORE.store(group="egrsd_methods", name="keys", node=all_keys())
_STORE.store(group="egrsd_thresholds", name="factors", node=dict.fromkeys(factor_thresholds()))
