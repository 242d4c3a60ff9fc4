"""Entry point `verl.plugins`: registers everything that this package adds to verl, where verl looks for it.

verl loads it at the end of its own import, in every process: also in those that serve vLLM or verify answers
and never look for a trainer or an engine, whose import takes seconds. So each part of ours is imported as
soon as verl has imported the module with the registry, and not before; an error comes out of that import.

verl logs an error of this module itself at DEBUG level only, so `verl_egrsd.compat.assert_registered` looks
again, in the driver and in each worker, where a failure is seen.
"""

from functools import partial
from importlib import import_module
from typing import Any

from wrapt import register_post_import_hook

import verl_egrsd.cpu.platform  # noqa: F401  (registers the platform)
from verl_egrsd import cpu

EXTENDED = {
    "verl.trainer.ppo.core_algos": ("verl_egrsd.trainer.estimators", "verl_egrsd.trainer.losses"),
    "verl.trainer.ppo.v1": ("verl_egrsd.trainer.sync",),
    "verl.workers.engine": ("verl_egrsd.trainer.engine",) if cpu.selected() else (),
}
"""What to import once verl has imported the module with the registry."""


def _extend(part: str, _: Any) -> None:
    import_module(part)


for registry, parts in EXTENDED.items():
    for part in parts:
        register_post_import_hook(partial(_extend, part), registry)
