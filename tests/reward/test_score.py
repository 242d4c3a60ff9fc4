"""What verl gets: loaded by its own loader, called as its reward manager does."""

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import get_custom_reward_fn

from verl_egrsd.reward import REASONS, compute_score, problem_text


def test_the_score_carries_the_reason_as_one_flag():
    scored = compute_score("any", "so \\boxed{0.5}", "\\frac{1}{2}", {"index": 1})
    assert (scored["score"], scored["acc"], scored["pred"]) == (1.0, 1.0, "0.5")
    assert [scored[reason] for reason in REASONS] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert (scored["strict"], scored["disagreement"]) == (0.0, 1.0)
    nothing = compute_score("any", "no idea", "12")
    assert (nothing["score"], nothing["no_answer"], nothing["pred"]) == (0.0, 1.0, "")
    assert nothing.keys() == scored.keys()


def test_a_ground_truth_may_be_a_number_but_not_missing():
    assert compute_score("any", "\\boxed{12}", 12)["score"] == 1.0
    with pytest.raises(ValueError, match=r"a row of gsm8k has no reward_model\.ground_truth"):
        compute_score("gsm8k", "\\boxed{None}", None)


def test_verl_loads_it_and_passes_settings_on():
    config = OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {
                    "path": "pkg://verl_egrsd.reward",
                    "name": "compute_score",
                    "reward_kwargs": {"time_limit": 1.0, "reasoning_counts": True},
                }
            }
        }
    )
    score = get_custom_reward_fn(config)
    assert score is not None
    call = {"data_source": "any", "ground_truth": "5", "extra_info": {}, "reward_router_address": None}
    assert score(solution_str="<think>\\boxed{5}</think>", **call)["acc"] == 1.0
    assert score(solution_str="\\boxed{9^{9^{9^{9}}}}", **call)["timeout"] == 1.0


def test_verl_averages_the_flags_and_votes_on_the_answer():
    scores = [
        compute_score("gsm8k", response, "5") for response in ("\\boxed{5}", "\\boxed{6}", "\\boxed{5}")
    ]
    columns = {key: [score[key] for score in scores] for key in scores[0]}
    metrics = process_validation_metrics(["gsm8k"] * 3, ["one"] * 3, columns)["gsm8k"]
    assert metrics["acc"]["mean@3"] == pytest.approx(2 / 3)
    assert metrics["wrong"]["mean@3"] == pytest.approx(1 / 3)
    assert "maj@2/mean" in metrics["acc"]


def test_the_problem_reaches_the_verifier():
    line = {"problem": "Find the equation of the line through (5, 0) and (5, 1)."}
    assert compute_score("any", "\\boxed{5}", "x=5", line)["score"] == 0.0
    assert compute_score("any", "\\boxed{5}", "x=5", {"problem": "Solve $x+2=7$."})["score"] == 1.0


@pytest.mark.parametrize(
    ("extra_info", "text"),
    [
        ({"problem": "What is 2+3?"}, "What is 2+3?"),
        ({"question": "What is 2+3?"}, "What is 2+3?"),
        ({"problem": "One.", "question": "Two."}, "One."),
        ({"problem": None, "question": "Two."}, "Two."),
        ({"index": 1}, None),
        (None, None),
        ("not a struct", None),
    ],
)
def test_the_problem_is_taken_from_extra_info_where_it_is(extra_info, text):
    assert problem_text(extra_info) == text
