"""`verl-egrsd methods` shows what can be named, and keys that can be pasted into a configuration."""

import pytest
import yaml

from verl_egrsd import cli
from verl_egrsd.methods import methods, resolve


def test_every_method_has_a_line_that_tells_it_from_the_others(capsys):
    assert cli.main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*methods()]
    assert len({line.split(maxsplit=1)[1] for line in lines}) == len(lines)
    assert lines[1].split(maxsplit=1)[1] == methods()["cl_egrsd"].summary


def test_one_method_shows_what_it_multiplies(capsys):
    assert cli.main(["methods", "cl_egrsd"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "# running advantage x ratio x entropy_gate"
    assert cli.main(["methods", "direction"]) == 0
    assert "no teacher" in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize("name", methods())
def test_the_keys_of_a_method_resolve_to_that_method(name, capsys):
    assert cli.main(["methods", name]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["algorithm"]
    assert shown["adv_estimator"] == name
    found = resolve(name, shown["egrsd"], max_response_length=64)
    assert found == resolve(name, max_response_length=64)


def test_an_unknown_method_is_refused_with_the_known_ones(capsys):
    assert cli.main(["methods", "gae"]) == 1
    assert "method 'gae' is unknown; known methods: egrsd, cl_egrsd, rlsd" in capsys.readouterr().err
