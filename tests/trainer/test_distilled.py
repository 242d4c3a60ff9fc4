"""What the trainer tells the workers of a divergence, and what it reports; the workers only note calls."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from verl_egrsd.methods import resolve
from verl_egrsd.trainer.distilled import Distilled


class Verl:
    """Verl's own part of a start and of an update."""

    def on_init_end(self):
        self.told.append("verl begins")

    def _update_actor(self, batch, metrics):
        metrics.update({"actor/divergence/mean": 0.25, "actor/grad_norm": 1.5})
        return batch


class Trainer(Distilled, Verl):
    def __init__(self, name, **divergence) -> None:
        keys = {"divergence": divergence} if divergence else {}
        self.method, self.hidden_bytes, self.told = resolve(name, keys, max_response_length=8), 10, []
        self.actor_rollout_wg = SimpleNamespace(use_divergence=lambda *told: self.told.append(told))


def test_the_workers_hear_of_the_divergence_before_verl_begins():
    trainer = Trainer("opsd", clip=0.06)
    trainer.on_init_end()
    (told, keeps_student), begins = trainer.told
    assert begins == "verl begins"
    assert told == asdict(trainer.method.divergence)
    assert told["clip"] == 0.06
    assert not keeps_student


def test_the_workers_keep_the_students_hidden_states_where_a_factor_reads_the_divergence():
    trainer = Trainer("tip_divergence")
    trainer.on_init_end()
    assert trainer.told[0][1]


def test_workers_that_may_have_served_another_run_hear_of_a_method_without_a_divergence_too():
    trainer = Trainer("egrsd")
    trainer.on_init_end()
    assert trainer.told == [(None, False), "verl begins"]


def test_hidden_states_beyond_the_bound_are_refused_when_the_width_is_known_in_the_trainer_only():
    trainer = Trainer("opsd", hidden_gigabytes=0.16)
    trainer.config = OmegaConf.create(
        {
            "data": {"train_batch_size": 32, "max_response_length": 1024},
            "actor_rollout_ref": {"rollout": {"n": 1}, "actor": {}},
        }
    )
    with pytest.raises(ValueError, match=r"hidden_gigabytes=0\.16 is below the 0\.17 GB"):
        trainer._know_width(2560)
    trainer._know_width(1280)
    assert trainer.hidden_bytes == 2560


def test_what_an_update_reports_of_a_divergence_gets_the_names_of_this_package():
    metrics = {}
    Trainer("opsd")._update_actor("batch", metrics)
    assert metrics == {"egrsd/divergence/mean": 0.25, "actor/grad_norm": 1.5}


@pytest.mark.parametrize(("first_tokens", "tokens"), [(None, 10), (4, 7)])
def test_the_bytes_of_the_hidden_states_count_the_tokens_that_are_distilled(first_tokens, tokens):
    batch, metrics = SimpleNamespace(tags=[{"response_len": n} for n in (7, 3)]), {}
    Trainer("opsd", first_tokens=first_tokens)._count_hidden(batch, metrics)
    assert metrics == {"egrsd/divergence/hidden_bytes": 10 * tokens}
    Trainer("egrsd")._count_hidden(batch, metrics := {})
    assert metrics == {}
