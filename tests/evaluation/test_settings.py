"""Settings are refused early, presets are the documented protocols, and seeds depend on nothing but names."""

import pytest

from verl_egrsd.evaluation.settings import PRESETS, Settings


def test_the_paper_preset_is_the_papers_protocol():
    paper = PRESETS["paper"]
    assert (paper.samples, paper.temperature, paper.top_p, paper.max_new_tokens) == (4, 1.0, 0.95, 32_768)
    assert paper.thinking
    assert [paper.samples_for(name) for name in ("aime24", "math500")] == [20, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, r"samples=0 is not allowed: it must be at least 1\."),
        ({"samples_of": {"aime24": 0}}, r"samples of aime24=0 is not allowed"),
        ({"max_new_tokens": 0}, r"max_new_tokens=0 is not allowed"),
        ({"temperature": -0.1}, r"temperature=-0\.1 is not allowed: it must be 0 or more\."),
        ({"temperature": 0.0}, r"temperature=0 gives 4 equal samples"),
        ({"top_p": 0.0}, r"top_p=0\.0 is not allowed"),
        ({"top_p": 1.5}, r"top_p=1\.5 is not allowed"),
        ({"top_k": -1}, r"top_k=-1 is not allowed"),
        ({"template": "sibling"}, r"template='sibling' is not allowed: it shows rollouts of a training step"),
        ({"template": "referenz"}, r"template='referenz' is unknown; known templates: reference_solution"),
        ({"template": "own", "template_text": "no task"}, r"lacks the mark <<task>>"),
        ({"dtype": "int8"}, r"dtype='int8' is not allowed: it must be one of bfloat16, float16, float32\."),
    ],
)
def test_a_value_out_of_range_is_refused_with_key_value_and_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


def test_every_sample_has_a_seed_of_its_own_that_never_changes():
    settings = Settings()
    keys = [(b, p, s) for b in ("aime24", "aime25") for p in ("x", "y") for s in range(4)]
    seeds = [settings.seed_for(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert settings.seed_for("aime24", "x", 0) == 1586993005
    assert Settings(seed=1).seed_for("aime24", "x", 0) != seeds[0]
    assert Settings(temperature=0.6, samples=9).seed_for("aime24", "x", 0) == seeds[0]
