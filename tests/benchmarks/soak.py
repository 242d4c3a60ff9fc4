"""Whether memory and open files stay flat over many large steps: credit, metrics, dump and report.

    python -m tests.benchmarks.soak --minutes 30

Run it from the checkout. Each step has 512 answers of up to 8,192 tokens, in a real TransferQueue. They come
from a script, with made-up scores of student and teacher: at this length neither the model nor vLLM fits on a
small machine. What follows the teacher's scores is the trainer's own code: the read, the credit, the metrics,
the write, the dump for `verl-egrsd inspect`, the report of the run. It takes at least 50 steps, and as many
minutes as asked. It writes results/soak.md and results/soak.png beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
import torch
import transfer_queue as tq
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.agent_loop_tq import list_of_dict_to_tensordict

from tests.benchmarks.conditions import conditions_of_stack
from tests.benchmarks.run_report import responses
from verl_egrsd.methods import resolve
from verl_egrsd.output.tables import text_table
from verl_egrsd.report.ending import ending
from verl_egrsd.report.run import RunReport
from verl_egrsd.report.settings import ReportConfig
from verl_egrsd.rollouts.outcome import Caps, OutcomeWarnings
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.advantage_step import AdvantageStep
from verl_egrsd.trainer.dump import dump_rollouts
from verl_egrsd.trainer.rollouts import read_rollouts
from verl_egrsd.trainer.step_report import StepReport

RESULTS = Path(__file__).parent / "results"
STEPS = 50
"""Smallest number of steps."""
PROMPT, PER_PROMPT = 200, 8
"""Tokens of a prompt, and answers to each."""
WARM = 10
"""Steps at the beginning that the comparison leaves out: allocators and caches fill."""
MIB = 2**20
QUEUE = {"backend": {"SimpleStorage": {"total_storage_size": 10_000, "num_data_storage_units": 2}}}
"""What differs from TransferQueue's own settings; verl has eight storage units, for several nodes."""


class Look(NamedTuple):
    """What a step leaves behind, and how long its parts took."""

    own: float
    """Resident MiB of the process that stands for the trainer's."""
    queue: float
    """Resident MiB of TransferQueue's processes."""
    files: int
    """Open files of all of them."""
    seconds: float
    dump: float
    """Seconds of the dump."""


class Soak:
    """The trainer's step between the teacher's scores and the update, over and over.

    Args:
        folder: of the report and of the dump.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer, self.ids, self.mask = responses(folder)
        self.ids[:, -1] = self.tokenizer.eos_token_id
        self.source = AdvantageStep(resolve("cl_egrsd", max_response_length=self.ids.shape[1]))
        caps = Caps(self.ids.shape[1], PROMPT, PROMPT + self.ids.shape[1])
        self.step_report = StepReport(self.tokenizer, OutcomeWarnings(caps, 0.5, None, may_think_less=False))
        known = {"total_steps": 1000, "name": "soak", "date": "", "versions": {}, "data": {}, "settings": {}}
        self.config = ReportConfig(str(folder))
        self.report = RunReport(self.config, known, 0)

    def step(self, number: int) -> Look:
        """Take one step, and look at what it left."""
        batch, begun = self.batch(number), time.monotonic()
        rollouts = read_rollouts(batch, self.source.method, [self.tokenizer.eos_token_id])
        step = self.source.credit(rollouts, number)
        batch = queue.write(batch, {"advantages": rollouts.as_column(step.credited.credit)})
        metrics = self.step_report.metrics(step, self.source, self.config)
        dumped = time.monotonic()
        dump_rollouts(self.folder / "dump", batch, self.tokenizer, step, self.source, model="a script")
        dump = time.monotonic() - dumped
        self.source.updated()
        self.report.record(number, metrics | {"training/global_step": number})
        seconds = time.monotonic() - begun
        (self.folder / "dump" / f"{number}.parquet").unlink()
        tq.kv_clear(keys=batch.keys, partition_id=batch.partition_id)
        return _look(seconds, dump)

    def batch(self, number: int) -> KVBatchMeta:
        """Put the answers of a step into the queue, as verl's agent loop and its workers do."""
        draw = torch.Generator().manual_seed(number)
        lengths = self.mask.sum(dim=1)[torch.randperm(len(self.mask), generator=draw)].tolist()
        rows, tags = [], []
        for i, length in enumerate(lengths):
            correct = float(torch.rand((), generator=draw) < 0.5)
            rows.append(self._row(f"{number}-{i // PER_PROMPT}", self.ids[i, -length:], correct, draw))
            tags.append({"prompt_len": PROMPT, "response_len": length, "seq_len": PROMPT + length})
        keys = [f"{number}-{i}" for i in range(len(rows))]
        fields = list_of_dict_to_tensordict(rows)
        return tq.kv_batch_put(keys=keys, fields=fields, tags=tags, partition_id="train")

    def _row(self, uid: str, ids: Tensor, correct: float, draw: torch.Generator) -> dict[str, Any]:
        score = torch.zeros(len(ids))
        score[-1] = correct
        numbers = -torch.rand(4, len(ids), generator=draw)
        verdict = {"correct": correct, "wrong": 1 - correct, "pred": "12"}
        return {
            "uid": uid,
            "raw_prompt": [{"role": "user", "content": f"problem {uid}"}],
            "extra_fields": {"reward_extra_info": verdict},
            "reward_model": {"ground_truth": "12"},
            "prompts": ids[:PROMPT],
            "teacher_prompts": ids[:PROMPT],
            "responses": ids,
            "response_mask": torch.ones(len(ids), dtype=torch.long),
            "rm_scores": score,
            "old_log_probs": numbers[0],
            "entropy": -numbers[1],
            "teacher_log_prob": numbers[2],
            "teacher_entropy": -numbers[3],
        }


def _look(seconds: float, dump: float) -> Look:
    own, others = psutil.Process(), []
    for process in own.children(recursive=True):
        if "ray::" in " ".join(process.cmdline()):
            others.append(process)
    return Look(
        own.memory_info().rss / MIB,
        sum(process.memory_info().rss for process in others) / MIB,
        sum(process.num_fds() for process in (own, *others)),
        seconds,
        dump,
    )


def soaked(minutes: float) -> list[Look]:
    """Take the steps."""
    looks: list[Look] = []
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False)
        with queue.started(OmegaConf.create(QUEUE)):
            soak, ends = Soak(Path(folder)), time.monotonic() + 60 * minutes
            with tqdm(total=STEPS, unit="step", dynamic_ncols=True) as bar:
                while len(looks) < STEPS or time.monotonic() < ends:
                    looks.append(soak.step(len(looks) + 1))
                    bar.set_postfix(MiB=f"{looks[-1].own:.0f}", files=looks[-1].files)
                    bar.update()
            soak.report.end(ending("finished"))
        ray.shutdown()
    return looks


def draw(looks: Sequence[Look], file: Path) -> None:
    """Draw memory and open files over the steps."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    memory, files = figure.subplots(1, 2)
    steps = range(1, len(looks) + 1)
    memory.plot(steps, [look.own for look in looks], color="#4477aa", label="the trainer's part")
    memory.plot(steps, [look.queue for look in looks], color="#aa3377", label="TransferQueue")
    memory.set(xlabel="step", ylabel="resident MiB", ylim=(0, None))
    memory.legend(frameon=False)
    files.plot(steps, [look.files for look in looks], color="#228833")
    files.set(xlabel="step", ylabel="open files", ylim=(0, None))
    figure.savefig(file, dpi=150)


def main() -> None:
    """Soak, and write the page and the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30)
    load, minutes = os.getloadavg()[0], parser.parse_args().minutes
    looks = soaked(minutes)
    draw(looks, RESULTS / "soak.png")
    early, late = looks[WARM : 2 * WARM], looks[-WARM:]
    rows = [
        (name, *(f"{statistics.median(getattr(look, key) for look in part):,.0f}" for part in (early, late)))
        for name, key in (
            ("resident, the trainer's part, MiB", "own"),
            ("resident, TransferQueue, MiB", "queue"),
            ("open files", "files"),
            ("seconds of a step", "seconds"),
            ("seconds of its dump", "dump"),
        )
    ]
    columns = ("median", f"steps {WARM + 1} to {2 * WARM}", f"the last {WARM} of {len(looks)} steps")
    page = [
        "# Many large steps",
        "512 answers of 4,096 to 8,192 tokens per step, from a script, through TransferQueue, credit "
        "(CL-EGRSD), metrics, dump and report. The model and vLLM take no part. Other work may have used the "
        "machine meanwhile.",
        "![memory and open files over the steps](soak.png)",
        text_table(columns, rows),
        f"{conditions_of_stack(load)}\n- `python -m tests.benchmarks.soak --minutes {minutes:g}`",
    ]
    (RESULTS / "soak.md").write_text("\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
