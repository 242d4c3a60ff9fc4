"""Which process is dead, with a Ray that answers what the test says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from verl_egrsd.watch import processes
from verl_egrsd.watch.processes import Processes, engine_failure


class Actor:
    """An actor: `busy` does not answer, any other answer comes at once; errors are raised."""

    def __init__(self, answer=True):
        self.answer, self.asked = answer, 0

    def __getattr__(self, name):
        assert name in ("__ray_ready__", "__ray_call__")
        return SimpleNamespace(remote=self._ask)

    def _ask(self, *_):
        self.asked += 1
        return SimpleNamespace(of=self)


@pytest.fixture(autouse=True)
def _ray(monkeypatch):
    def wait(refs, num_returns, timeout):
        assert (num_returns, timeout) == (len(refs), 0)
        return [ref for ref in refs if ref.of.answer != "busy"], []

    def get(ref):
        if isinstance(ref.of.answer, Exception):
            raise ref.of.answer
        return ref.of.answer

    monkeypatch.setattr(processes, "ray", SimpleNamespace(wait=wait, get=get))


def test_a_dead_actor_is_named_by_kind_and_number():
    watched = Processes()
    watched.add("reward worker", [Actor(), Actor(ActorDiedError())])
    assert watched.dead() == f"reward worker 1 died: {processes.KILLED}"


def test_a_dead_actor_that_left_last_words_is_quoted(monkeypatch, tmp_path):
    words = tmp_path / "last_words"
    words.write_text("of an earlier run")
    watched = Processes()
    watched.add("reward worker", [Actor(ActorDiedError()), Actor(ActorDiedError())], last_words=words)
    assert watched.dead() == f"reward worker 0 died: {processes.KILLED}"
    words.write_text("its function took too long")
    assert watched.dead() == "reward worker 0 died: its function took too long"


def test_an_actor_that_cannot_start_says_why():
    error = ActorDiedError(RayTaskError("__init__", "pages\nImportError: no module named x", OSError()))
    watched = Processes()
    watched.add("agent-loop worker", [Actor(error)])
    assert watched.dead() == "agent-loop worker 0 could not start: ImportError: no module named x"


def test_a_busy_actor_has_one_question_pending_and_is_not_dead():
    busy, watched = Actor("busy"), Processes()
    watched.add("training worker", [busy])
    assert [watched.dead() for _ in range(3)] == [None] * 3
    assert busy.asked == 1
    busy.answer = True
    assert [watched.dead() for _ in range(3)] == [None] * 3
    assert busy.asked == 3


def test_what_an_actor_complains_of_is_its_death():
    watched = Processes()
    watched.add("vllm server", [Actor("the process of its engine ended")], engine_failure)
    assert watched.dead() == "vllm server 0 died: the process of its engine ended"


def test_without_actors_nobody_is_waited_for():
    assert Processes().dead_within(60) is None


@pytest.mark.parametrize(
    ("engine", "dead"), [({}, False), ({"errored": False}, False), ({"errored": True}, True)]
)
def test_a_server_knows_whether_its_engine_is_dead(engine, dead):
    server = SimpleNamespace(engine=SimpleNamespace(**engine)) if engine else SimpleNamespace()
    assert (engine_failure(server) is not None) == dead
