"""Which replica answers what, and what happens when one dies; the actors are stand-ins, without Ray."""

import asyncio
import math
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from verl_egrsd.evaluation.generation import Answer, EngineDiedError
from verl_egrsd.evaluation.replicas import Replicas, at_once
from verl_egrsd.evaluation.settings import EngineOptions

DEATHS = {
    "its process": ActorDiedError,
    "its memory": lambda: OutOfMemoryError(""),
    "its engine": EngineDiedError,
}


class Actor:
    """Answers after a moment; dies with its answer number `dies_at`, and with all that come later."""

    def __init__(self, dies_at=None, death=ActorDiedError, starts=True):
        self.dies_at, self.death, self.starts = dies_at, death, starts
        self.killed = False
        self.answered, self.under_way, self.most = [], 0, 0
        for method in ("start", "answer", "lengths"):
            setattr(self, method, SimpleNamespace(remote=getattr(self, f"_{method}")))

    async def _start(self):
        if not self.starts:
            raise RayTaskError("start", "traceback", ValueError("8 tokens do not fit"))

    async def _answer(self, name, prompt, seed):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        if self.dies_at is not None and len(self.answered) >= self.dies_at:
            raise self.death()
        self.answered.append(name)
        return Answer(f"{name} {prompt} {seed}", 1, "stop")

    async def _lengths(self):
        if self.dies_at is not None and len(self.answered) >= self.dies_at:
            raise ActorDiedError
        return [self.under_way]


class Hanging(Actor):
    """Gives some answers and then none; says how far it is, or does not say even that."""

    def __init__(self, hangs_at, says):
        super().__init__()
        self.hangs_at, self.says = hangs_at, says

    async def _start(self):
        if self.hangs_at is None:
            await asyncio.Event().wait()

    async def _answer(self, name, prompt, seed):
        if len(self.answered) >= self.hangs_at:
            await asyncio.Event().wait()
        return await super()._answer(name, prompt, seed)

    async def _lengths(self):
        if not self.says:
            await asyncio.Event().wait()
        return [7, 7]


class Slow(Actor):
    """Takes twice the limit for an answer, which grows meanwhile."""

    grown = 0

    async def _answer(self, name, prompt, seed):
        await asyncio.sleep(2 * LIMIT)
        return await super()._answer(name, prompt, seed)

    async def _lengths(self):
        self.grown += 1
        return [self.grown]


LIMIT = 0.4
"""Seconds without progress."""


def answers_of(*actors, prompts=20, places=2, limit=math.inf):
    """Have actors answer prompts; return the answers by name."""

    async def main():
        replicas = Replicas(actors, places, limit, lambda actor: setattr(actor, "killed", True))
        watching = asyncio.create_task(replicas.watch())
        starts = [asyncio.create_task(replicas.start(number)) for number in range(len(actors))]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(replicas.answer(f"p{i}", [i], i)) for i in range(prompts)]
        await asyncio.gather(*starts)
        watching.cancel()
        return [task.result().text for task in tasks], await replicas.lengths()

    return asyncio.run(asyncio.wait_for(main(), 60))


EXPECTED = [f"p{i} [{i}] {i}" for i in range(20)]


def test_each_prompt_is_answered_once_and_no_replica_takes_more_than_its_places():
    actors = [Actor(), Actor(), Actor()]
    texts, _ = answers_of(*actors)
    assert texts == EXPECTED
    assert sorted(name for actor in actors for name in actor.answered) == sorted(f"p{i}" for i in range(20))
    assert [actor.most for actor in actors] == [2, 2, 2]


@pytest.mark.parametrize("dies_at", [0, 3])
@pytest.mark.parametrize("how", DEATHS)
def test_when_a_replica_dies_the_others_answer_its_prompts_and_it_is_said_once(capsys, how, dies_at):
    dying, living = Actor(dies_at, DEATHS[how]), Actor()
    texts, lengths = answers_of(dying, living)
    assert texts == EXPECTED
    assert len(dying.answered) == dies_at
    assert lengths == [0]
    said = capsys.readouterr().err
    assert said.count("verl_egrsd: replica 0 died: its process was killed or crashed") == 1
    assert "the evaluation goes on with 1 replica." in said


@pytest.mark.parametrize("says", [True, False], ids=["says how far it is", "does not"])
@pytest.mark.parametrize("hangs_at", [0, 3])
def test_a_replica_whose_answers_do_not_grow_counts_as_one_that_died_and_is_ended(capsys, hangs_at, says):
    hanging, living = Hanging(hangs_at, says), Actor()
    texts, lengths = answers_of(hanging, living, limit=LIMIT)
    assert texts == EXPECTED
    assert (hanging.killed, living.killed) == (True, False)
    assert hangs_at <= len(hanging.answered) <= hangs_at + 1  # two at once
    assert lengths == [0]
    said = capsys.readouterr().err
    assert (
        said.count("verl_egrsd: replica 0 made no progress for 0.4 s (--no-progress). Its samples are") == 1
    )


def test_a_replica_that_hangs_in_its_start_counts_as_one_that_died(capsys):
    hanging, living = Hanging(None, says=True), Slow()
    texts, _ = answers_of(hanging, living, prompts=2, limit=LIMIT)
    assert texts == EXPECTED[:2]
    assert (hanging.killed, living.killed) == (True, False)
    assert "replica 0 did not start within 0.4 s (--no-progress)" in capsys.readouterr().err


def test_a_replica_with_long_answers_that_grow_is_kept(capsys):
    actor = Slow()
    texts, _ = answers_of(actor, prompts=4, limit=LIMIT)
    assert texts == EXPECTED[:4]
    assert not actor.killed
    assert capsys.readouterr().err == ""


def test_a_replica_without_a_prompt_makes_no_progress_and_is_kept():
    idle, slow = Hanging(0, says=True), Slow()
    assert answers_of(slow, idle, prompts=1, places=1, limit=LIMIT)[0] == EXPECTED[:1]
    assert not idle.killed


def test_the_limit_must_be_positive():
    with pytest.raises(ValueError, match=r"no_progress=0 is not allowed: it must be positive, in seconds"):
        EngineOptions(no_progress=0)


def test_a_replica_that_does_not_start_is_left_out_with_its_reason(capsys):
    texts, _ = answers_of(Actor(starts=False), Actor())
    assert texts == EXPECTED
    assert "replica 0 did not start: ValueError: 8 tokens do not fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("actors", "reason"),
    [
        ([Actor(3), Actor(2)], "died: its process was killed or crashed"),
        ([Actor(starts=False), Actor(starts=False)], "did not start: ValueError: 8 tokens do not fit"),
    ],
)
def test_when_no_replica_is_left_all_prompts_fail_with_the_last_reason(actors, reason):
    async def main():
        replicas = Replicas(actors, 2)
        starts = [asyncio.create_task(replicas.start(number)) for number in range(len(actors))]
        asked = [replicas.answer(f"p{i}", [i], i) for i in range(20)]
        found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
        await asyncio.gather(*starts)
        return found

    found = asyncio.run(main())
    failed = [one for one in found if not isinstance(one, Answer)]
    assert len(failed) == 20 - sum(len(actor.answered) for actor in actors)
    assert {type(one) for one in failed} == {ConnectionError}
    assert {str(one).startswith("no replica is left: replica ") and reason in str(one) for one in failed} == {
        True
    }


@pytest.mark.parametrize(
    ("samples", "replicas", "limit", "expected"),
    [
        (120, 8, None, 15),  # a small share is handed out at once
        (9204, 64, None, 72),  # half of a large one stays back for whoever is free first
        (9204, 8, None, 256),
        (9204, 8, 32, 32),
    ],
)
def test_a_replica_takes_no_more_than_its_share_at_once(samples, replicas, limit, expected):
    assert at_once(samples, replicas, limit) == expected


@pytest.mark.parametrize(
    ("replicas", "gpus", "each", "address", "needed"),
    [
        (None, 0, 1, "", False),
        (None, 1, 1, "", False),
        (None, 8, 1, "", True),
        (None, 8, 8, "", False),
        (None, 0, 1, "10.0.0.1:6379", True),
        (1, 8, 1, "10.0.0.1:6379", False),
        (2, 0, 1, "", True),
    ],
)
def test_ray_is_needed_for_several_replicas_or_on_a_cluster(
    monkeypatch, replicas, gpus, each, address, needed
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert EngineOptions(replicas=replicas, tensor_parallel_size=each).needs_ray() is needed


@pytest.mark.parametrize("key", ["replicas", "tensor_parallel_size", "max_num_seqs"])
def test_a_count_below_one_is_refused(key):
    with pytest.raises(ValueError, match=f"{key}=0 is not allowed: it must be at least 1"):
        EngineOptions(**{key: 0})


def test_a_start_that_fails_otherwise_ends_the_evaluation_with_its_error():
    actor = Actor()

    async def refuse():
        raise TypeError("an argument that Ray cannot send")

    actor.start = SimpleNamespace(remote=refuse)

    async def main():
        replicas = Replicas([actor], 2)
        start = asyncio.create_task(replicas.start(0))
        start.add_done_callback(replicas.ended)
        with pytest.raises(ConnectionError, match="TypeError: an argument that Ray cannot send"):
            await asyncio.wait_for(replicas.answer("p", [0], 0), 60)

    asyncio.run(main())


def test_when_a_start_has_ended_the_evaluation_the_others_are_not_asked_how_far_they_are():
    async def refuse():
        raise TypeError("an argument that Ray cannot send")

    async def main():
        replicas = Replicas([Actor(), Actor()], 2)
        await replicas.start(0)
        failed = asyncio.create_task(refuse())
        await asyncio.wait([failed])
        replicas.ended(failed)
        assert await replicas.lengths() == []

    asyncio.run(main())


def test_a_start_that_vllm_gives_up_is_told_in_its_own_words(capsys):
    slow, well = Actor(), Actor()

    async def give_up():
        raise RayTaskError(
            "start", "traceback", TimeoutError("the engine core is late")
        ).as_instanceof_cause()

    slow.start = SimpleNamespace(remote=give_up)

    async def main():
        replicas = Replicas([slow, well], 2, no_progress=60.0)
        await asyncio.gather(replicas.start(0), replicas.start(1))

    asyncio.run(main())
    assert "did not start: TimeoutError: the engine core is late" in capsys.readouterr().err


def test_a_watch_that_fails_ends_what_is_under_way():
    actor = Hanging(0, says=True)

    async def fail():
        raise TypeError("no such actor")

    async def main():
        replicas = Replicas([actor], 2)
        await replicas.start(0)
        answer = asyncio.create_task(replicas.answer("p", [0], 0))
        await asyncio.sleep(0.01)
        asyncio.create_task(fail()).add_done_callback(replicas.ended)
        with pytest.raises(ConnectionError, match="TypeError: no such actor"):
            await asyncio.wait_for(answer, 60)

    asyncio.run(main())
