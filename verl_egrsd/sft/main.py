"""Supervised fine-tuning: `verl-egrsd sft preset=sft base=qwen3_4b hardware=gpu8 [key=value ...]`.

Composes `configs/sft/sft.yaml` on top of verl's `sft_trainer_engine` and checks everything before anything
starts. Then it trains: in this process with one rank, else it hands over to `torchrun`, whose ranks run this
module again. On several nodes call `torchrun ... -m verl_egrsd.sft.main` with the same arguments yourself.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from verl_egrsd.checkpoints.resume import Start, nothing_to_do
from verl_egrsd.main import checked_or_exit, checked_start, composed_for, require_model
from verl_egrsd.output.redaction import scrubbed_output
from verl_egrsd.preflight.attention import require_attention
from verl_egrsd.preflight.existing import check_sft_files
from verl_egrsd.preflight.machine import require_gpus
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.sft.settings import ExampleConfig, check_sft
from verl_egrsd.watch.closing import closing_lines
from verl_egrsd.watch.words import last_line


def check_sft_start(config: DictConfig) -> ExampleConfig:
    """Refuse what cannot work on this machine, and every setting that cannot work anywhere.

    Returns:
        what is learned from a row.
    """
    from verl_egrsd.compat import check_version

    if config.trainer.device == "cpu" and os.environ.get("VERL_PLATFORM", "").lower() != "cpu":
        raise ValueError(
            "trainer.device=cpu needs the environment variable VERL_PLATFORM=cpu, set before Python starts."
        )
    check_version()
    return check_sft(config)


def check_ranks(config: DictConfig) -> None:
    """Refuse to train with another number of processes than the configuration says.

    Raises:
        ValueError: naming the keys, and how to start the processes.
    """
    nodes, per_node = config.trainer.nnodes, config.trainer.n_gpus_per_node
    said = f"trainer.nnodes={nodes} with trainer.n_gpus_per_node={per_node}"
    if "RANK" not in os.environ:
        if nodes > 1:
            raise ValueError(several_nodes(config))
    elif (started := int(os.environ.get("WORLD_SIZE", "1"))) != nodes * per_node:
        raise ValueError(
            f"{said} gives {nodes * per_node} ranks, but the environment says WORLD_SIZE={started}: set the "
            "keys to the ranks that torchrun starts. Without torchrun, unset RANK and WORLD_SIZE."
        )


def several_nodes(config: DictConfig) -> str:
    """Return how a run on several nodes is started."""
    nodes, per_node = config.trainer.nnodes, config.trainer.n_gpus_per_node
    return (
        f"trainer.nnodes={nodes} with trainer.n_gpus_per_node={per_node}: verl-egrsd sft starts the ranks of "
        f"one node. Run torchrun --nnodes={nodes} --nproc-per-node={per_node} -m verl_egrsd.sft.main with "
        "the same arguments on every node."
    )


def main() -> None:
    """Compose the configuration of this command line; check, then train or, with `dry_run=true`, print."""
    with ended_by_signals("verl_egrsd"):
        composed_for(check_and_tune, "verl_egrsd.configs.sft", "sft", _with_flags_of_hydra)


@hydra.main(config_path="../configs/sft", config_name="sft", version_base=None)
def _with_flags_of_hydra(config: DictConfig) -> None:
    check_and_tune(config)


def check_and_tune(config: DictConfig) -> None:
    """Check, then train or, with `dry_run=true`, print."""
    checked_or_exit(require_model, config)
    with ExitStack() as held:
        start = checked_start(config, check_sft_start, check_sft_files, held)
        if start is None:
            return
        if done := nothing_to_do(start, config.trainer.total_training_steps):
            print(f"verl_egrsd: {done}")
            return
        checked_or_exit(check_ranks, config)
        checked_or_exit(require_gpus, config)
        checked_or_exit(require_attention, config)
        ranks = config.trainer.n_gpus_per_node
        if "RANK" not in os.environ and ranks > 1:
            _run_torchrun(ranks)
        _train(config, start)


def _run_torchrun(ranks: int) -> None:
    """Become `torchrun`, which starts this module once per rank with the same arguments.

    The locks of the folders end here; the first rank takes them again.
    """
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    os.execv(sys.executable, [sys.executable, *command, "-m", "verl_egrsd.sft.main", *sys.argv[1:]])


def _train(config: DictConfig, start: Start) -> None:
    from verl_egrsd.sft.trainer import LOG, train_sft

    os.environ.setdefault(LOG, str(Path(config.report.folder).resolve() / "metrics.jsonl"))
    Path(os.environ[LOG]).parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TENSORBOARD_DIR", str(Path(config.report.folder).resolve() / "tensorboard"))
    if "RANK" not in os.environ:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **_rendezvous()}
    with scrubbed_output(OmegaConf.to_container(config, resolve=True)):
        try:
            train_sft(config, start)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(last_line("it was interrupted", config)) from None
        except Exception as error:
            traceback.print_exc()
            print(f"verl_egrsd: {last_line(f'{type(error).__name__}: {error}', config)}", file=sys.stderr)
            sys.exit(1)
    if os.environ["RANK"] == "0":
        print(closing_lines(config), flush=True)


def _rendezvous() -> dict[str, str]:
    """Return an address on this machine, on which nobody listens, for a group of one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listener.getsockname()[1])}


if __name__ == "__main__":
    main()
