"""Turn problems with reference solutions into verl's parquet.

    python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd --out data/openthoughts \\
        --benchmarks data/benchmarks --tokenizer Qwen/Qwen3-4B

Nine stages count their rows in and out. They select mathematics, choose the concise solution, find and verify
the final answer, drop duplicates and problems of the benchmarks, measure both prompts, split train from
validation by a hash of the problem, and write the files. Beside train.parquet and validation.parquet, a data
card (data_card.json, data_card.md, lengths.png) says what was left out and why.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from data_prep.answers import Verification, choose_answers
from data_prep.card import JSON_CARD, MARKDOWN_CARD, Card, reading_line, stage_table, write_card
from data_prep.control import ControlTokenCounts
from data_prep.decontaminate import BenchmarkProblem, Decontamination, read_benchmark_problems
from data_prep.dedupe import Duplicates
from data_prep.lengths import PromptLengths
from data_prep.notes import remarks
from data_prep.options import Options, parse_options
from data_prep.parquet import RowWriter, parquet_writer
from data_prep.readers import Raw
from data_prep.rows import VerlRow, to_row
from data_prep.schemas import Exercise, Schema, choose_schema
from data_prep.selection import Numbered, Selection
from data_prep.sources import count_rows, describe_source, read_rows
from data_prep.stages import Dropped, Stage, batches
from data_prep.values import UnreadableError
from verl_egrsd.output.full_disk import named_if_full
from verl_egrsd.output.lock import only_writer
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.reward import VerdictPool
from verl_egrsd.teacher.marks import SOLUTION
from verl_egrsd.teacher.templates import get_template

DATA_SOURCE = "openthoughts_math"
SPLITS = ("train", "validation")
SAMPLE = 100
"""Number of rows from which the schema is recognised."""


class Preparation:
    """One run from a source to the files.

    The source is read once. Verified rows wait in an unnamed temporary file, without the long reasoning,
    because the best row of several duplicates is known at the end of the source only. Then that file is read
    once.

    Raises:
        ValueError: for a source, a schema, a benchmark or an option that cannot be used, before any row is
            read.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        needs_solution = SOLUTION in get_template(options.template).fields
        sample = list(islice(read_rows(options.source, config=options.config, split=options.split), SAMPLE))
        self.schema = _schema(options, sample, needs_solution)
        self.reading = describe_source(options.source, options.config, options.split) | _columns(
            sample, self.schema.columns_read(options.reference)
        )
        self.selection = Selection(
            self.schema,
            options.source,
            domain=options.domain,
            assume_math=options.assume_math,
            reference=options.reference,
            needs_solution=needs_solution,
        )
        self.duplicates = Duplicates(options.duplicates, options.duplicate_similarity, options.seed)
        self.benchmarks = _benchmarks(options)
        self.decontamination = Decontamination(
            self.benchmarks,
            options.decontaminate,
            ngram_tokens=options.ngram_tokens,
            ngram_overlap=options.ngram_overlap,
            similarity=options.contamination_similarity,
        )
        self.lengths = PromptLengths(
            _tokenizer(options),
            template=options.template,
            student_thinks=options.student_thinks,
            teacher_thinks=options.teacher_thinks,
            student_limit=options.max_student_tokens,
            teacher_limit=options.max_teacher_tokens,
            characters_per_token=options.characters_per_token,
        )
        self.control = ControlTokenCounts(self.lengths.control_tokens)
        self.stages = {
            name: Stage(name, choice) for name, choice in options.choices(self.schema.name).items()
        }

    def run(self) -> Card:
        """Write the files and return the data card.

        Raises:
            ValueError: when the source breaks off, or when no row is left for one of the files. The files of
                an earlier run are then unchanged.
        """
        self.options.out.mkdir(parents=True, exist_ok=True)
        with named_if_full(self.options.out), tempfile.TemporaryFile(dir=self.options.out) as spool:
            count = self._verified(spool)
            self.stages["deduplicate"].timed(lambda _: self.duplicates.find(), None)
            spool.seek(0)
            parquet = self._written(tqdm(_spooled(spool, count), total=count, desc="Writing", unit="batch"))
        verified = self.stages["verify"]
        card = Card(
            schema=self.schema.name,
            stages=list(self.stages.values()),
            reading=self.reading,
            notes=[
                *self.options.notes((verified.dropped + verified.noted)["timeout"]),
                *remarks(self.stages),
                *self.control.notes(),
            ],
            control_tokens=self.control.facts(),
            duplicates=[match for _, match in sorted(self.duplicates.matches.items())],
            contaminated=self.decontamination.matches,
            benchmarks=Counter(problem.benchmark for problem in self.benchmarks),
            lengths=self.lengths.measured,
            limits=self.lengths.limits,
        )
        write_card(card, self.options, parquet)
        return card

    def _verified(self, spool: IO[bytes]) -> int:
        """Read the stream through the first four stages into the spool; return the number of batches."""
        options, stages = self.options, self.stages
        spooled = 0
        with VerdictPool(options.workers, options.time_limit) as pool:
            verification = Verification(
                pool, stages["verify"], options.mismatch, options.no_ground_truth, options.no_answer
            )
            choose = partial(choose_answers, answers=options.answers)
            for batch in self._read():
                rows = stages["select"].run(self.selection.mathematics, batch)
                exercises = stages["solution"].run(self.selection.exercises, rows)
                exercises = stages["answer"].run(choose, exercises)
                exercises = stages["verify"].run(verification if options.verify else list, exercises)
                stages["deduplicate"].timed(self.duplicates.add, exercises)
                pickle.dump(exercises, spool, pickle.HIGHEST_PROTOCOL)
                spooled += 1
        return spooled

    def _read(self) -> Iterator[list[Numbered]]:
        options = self.options
        columns = self.schema.columns_read(options.reference)
        source, config, split = options.source, options.config, options.split
        rows = islice(read_rows(source, config=config, split=split, columns=columns), options.limit)
        numbered = batches(enumerate(rows))
        known = count_rows(source, config, split)
        total = options.limit if known is None else min(known, options.limit or known)
        with tqdm(total=total, desc="Reading and verifying", unit="row") as progress:
            while batch := self.stages["read"].timed(lambda rest: next(rest, []), numbered):
                yield self.stages["read"].run(list, batch)
                progress.update(len(batch))

    def _written(self, spooled: Iterable[list[Exercise]]) -> list[Path]:
        """Take the spooled rows through the last five stages; return the files under their names."""
        options, stages = self.options, self.stages
        names = SPLITS if options.validation_share else SPLITS[:1]
        paths = {name: options.out / f"{name}.parquet" for name in names}
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(parquet_writer(path, rows_per_group=options.rows_per_group))
                for name, path in paths.items()
            }
            for batch in spooled:
                exercises = stages["deduplicate"].run(self.duplicates.drop, batch)
                exercises = stages["decontaminate"].run(self.decontamination.drop, exercises)
                rows = stages["lengths"].run(self._measured, exercises)
                rows = stages["split"].run(self._split, rows)
                self.control.count(rows)
                stages["write"].run(partial(_write, writers), rows)
            for name, writer in writers.items():
                if not writer.rows:
                    raise ValueError(
                        f"no row is left for {paths[name]}: give more rows (--source, --limit), another "
                        f"--validation-share, or looser stages.\n{stage_table(list(stages.values()))}\n"
                        + "\n".join(remarks(stages))
                    )
            # A folder without a card counts as unfinished, and the old card would not describe the new files.
            (options.out / JSON_CARD).unlink(missing_ok=True)
        for name in set(SPLITS) - set(names):
            (options.out / f"{name}.parquet").unlink(missing_ok=True)
        return list(paths.values())

    def _measured(self, exercises: Sequence[Exercise]) -> Sequence[VerlRow | Dropped]:
        rows = [
            to_row(
                data_source=DATA_SOURCE,
                problem=exercise.problem,
                solution=exercise.solution,
                answer=exercise.answer,
                index=exercise.index,
                split="",
                source=exercise.source,
            )
            for exercise in exercises
        ]
        return self.lengths(rows) if self.options.check_lengths else rows

    def _split(self, rows: Sequence[VerlRow]) -> Sequence[VerlRow]:
        for row in rows:
            split = split_of(row["extra_info"]["hash"], self.options.validation_share, self.options.seed)
            row["extra_info"]["split"] = split
            self.stages["split"].noted[split] += 1
        return rows


def split_of(problem_hash: str, validation_share: float, seed: int) -> str:
    """Return "train" or "validation", which depends on the problem, the share and the seed only."""
    digest = hashlib.sha256(f"{seed} {problem_hash}".encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < validation_share * 2**64 else "train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the files and print the stages; exit code 1 with a message when that is not possible."""
    try:
        options = parse_options(arguments, __doc__)
        with ended_by_signals("data_prep.openthoughts"), only_writer(options.out, "choose another --out"):
            preparation = Preparation(options)
            print(reading_line(preparation.reading))
            card = preparation.run()
    except (ValueError, OSError) as error:
        # The user can mend this: the message says how, and a traceback would bury it.
        print(f"data_prep.openthoughts: {error}", file=sys.stderr)
        return 1
    print(stage_table(card.stages))
    for note in card.notes:
        print(f"NOTE: {note}", file=sys.stderr)
    print(f"{options.out / MARKDOWN_CARD} says what was left out and why.")
    return 0


def _columns(sample: Sequence[Raw], wanted: Collection[str]) -> dict[str, list[str]]:
    """Return the columns of the first rows that are read, and the columns that are not."""
    found = list(dict.fromkeys(name for row in sample for name in row))
    return {
        "columns": [name for name in found if name in wanted],
        "columns_left_out": [name for name in found if name not in wanted],
    }


def _schema(options: Options, sample: Sequence[Raw], needs_solution: bool) -> Schema:
    schema = choose_schema(sample, options.columns)
    if needs_solution and schema.may_lack_solutions and not any(_has_solution(schema, row) for row in sample):
        raise ValueError(
            f"rows of the schema {schema.name!r} hold no solution, which the template {options.template!r} "
            f"shows the teacher; columns found: {', '.join(sample[0])}. Name the column that holds one with "
            "--columns solution=NAME, or pass --template answer_only and train with "
            "actor_rollout_ref.teacher.template=answer_only."
        )
    return schema


def _has_solution(schema: Schema, raw: Raw) -> bool:
    try:
        return bool(schema.solution(raw))
    except UnreadableError:  # the row is counted when its turn comes
        return False


def _benchmarks(options: Options) -> list[BenchmarkProblem]:
    if options.benchmarks is None or not options.decontaminate:
        return []
    return read_benchmark_problems(options.benchmarks)


def _tokenizer(options: Options) -> Any | None:
    if options.tokenizer is None or not options.check_lengths:
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(options.tokenizer)


def _spooled(spool: IO[bytes], count: int) -> Iterator[list[Exercise]]:
    for _ in range(count):
        yield pickle.load(spool)


def _write(writers: Mapping[str, RowWriter], rows: Sequence[VerlRow]) -> Sequence[VerlRow]:
    for row in rows:
        writers[row["extra_info"]["split"]].write(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
