"""The verifier's workers start once for all tests: importing math-verify takes each of them two seconds."""

from collections.abc import Iterator

import pytest

from data_prep import benchmarks, openthoughts
from verl_egrsd.reward import VerdictPool


class KeptPool(VerdictPool):
    """A pool that stays open when a command is done with it."""

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def _kept_pools() -> Iterator[None]:
    """Give a command the pool of an earlier one that asked for the same."""
    pools: dict[tuple[object, ...], KeptPool] = {}
    with pytest.MonkeyPatch.context() as patch:
        for command in (benchmarks, openthoughts):
            patch.setattr(command, "VerdictPool", lambda *asked: pools.setdefault(asked, KeptPool(*asked)))
        yield
    for pool in pools.values():
        pool.close()
