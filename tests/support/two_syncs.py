"""Two runs that sync their weights again and again, over one socket; each counts the weights that it gets.

Usage: VERL_PLATFORM=cpu python -m tests.support.two_syncs SOCKETS ROUNDS
Prints, for each run, how many of the weights that it received were its own.
"""

import asyncio
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread
from types import ModuleType

import torch

from verl_egrsd.trainer import weight_sync

_VERL = find_spec("verl")
assert _VERL is not None
assert _VERL.origin is not None
ROLLOUT = Path(_VERL.origin).parent / "workers" / "rollout" / "vllm_rollout"
"""Folder of verl's modules for vLLM; not imported, since the import needs a vLLM."""


def transfer() -> ModuleType:
    """verl's sender and receiver; its package would import vLLM too."""
    spec = spec_from_file_location("transfer", ROLLOUT / "bucketed_weight_transfer.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    weight_sync.SOCKETS, verls = folder, transfer()
    own = [0, 0]

    def sync(run: int) -> None:
        sender = verls.BucketedWeightSender(f"ipc://{folder}/socket", bucket_size_mb=1, use_shm=True)
        receiver = verls.BucketedWeightReceiver(f"ipc://{folder}/socket", torch.device("cpu"), use_shm=True)

        def keep(weights: list, _: bool) -> None:
            own[run] += bool((weights[0][1] == run).all())

        taking = Thread(target=receiver.receive_weights, args=(keep,), daemon=True)
        taking.start()
        asyncio.run(sender.async_send_weights(iter([("weight", torch.full((8,), float(run)))])))
        taking.join()

    def train(run: int) -> None:
        draw = random.Random(run)
        for _ in range(rounds):
            time.sleep(draw.uniform(0, 0.01))
            with weight_sync.alone_on_this_machine("01000000"):
                sync(run)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, (0, 1)))
    print(*own)


if __name__ == "__main__":
    main()
