"""The methods by name. A method of this package is a row here; others come from outside.

From outside: an entry point of the group `verl_egrsd.methods` that names a :class:`Method`, or a module in
`VERL_USE_EXTERNAL_MODULES` that calls :func:`register`.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import entry_points

from verl_egrsd.methods.advantages import ADVANTAGES, Constant, GroupRelative
from verl_egrsd.methods.backward_scan import BackwardScan
from verl_egrsd.methods.consensus import Consensus
from verl_egrsd.methods.distillation import Distillation
from verl_egrsd.methods.entropy_gate import EntropyGate
from verl_egrsd.methods.entropy_threshold import EntropyThreshold
from verl_egrsd.methods.fire_gate import FireGate
from verl_egrsd.methods.has_sibling import HasSibling
from verl_egrsd.methods.log_ratio import LogRatio
from verl_egrsd.methods.longest_wrong import LongestWrong
from verl_egrsd.methods.method import Method, Requirement
from verl_egrsd.methods.mixed_ratio import MixedRatio
from verl_egrsd.methods.outcome import Outcome
from verl_egrsd.methods.part import AdvantageSource, Factor, HealthCheck
from verl_egrsd.methods.pass_rate import PassRate
from verl_egrsd.methods.position import Position
from verl_egrsd.methods.ratio import Ratio
from verl_egrsd.methods.regimes import DEFAULT_LOOKAHEAD
from verl_egrsd.methods.reward import Reward
from verl_egrsd.methods.row_mean import RowMean
from verl_egrsd.methods.sdar import Sdar
from verl_egrsd.methods.srpo_gate import SrpoGate
from verl_egrsd.methods.student_entropy import StudentEntropyGate
from verl_egrsd.methods.tip import Tip

ENTRY_POINTS = "verl_egrsd.methods"

OPSD = Distillation(kind="forward", clip=0.05, temperature=1.1)
"""OPSD's loss in its second release, for the 4B model."""

TABLE: tuple[Method, ...] = (
    Method(
        "egrsd",
        "likelihood ratio x entropy gate (arXiv 2605.13255)",
        (Ratio(), EntropyGate()),
        requires=(Requirement("window", lambda w: w == 0, "0; cl_egrsd is the method with lookahead", None),),
    ),
    Method(
        "cl_egrsd",
        "likelihood ratio x entropy gate with causal lookahead (arXiv 2605.13255)",
        (Ratio(), EntropyGate(window=DEFAULT_LOOKAHEAD)),
        requires=(Requirement("window", lambda w: w > 0, "1 or more; egrsd has no lookahead", "egrsd"),),
    ),
    Method(
        "rlsd",
        "EGRSD with its gate off: likelihood ratio alone. The method of arXiv 2604.03128 is rlsd_published",
        (Ratio(), EntropyGate(gamma=0.0)),
        requires=(Requirement("gamma", lambda g: g == 0, "0; egrsd is the method with a gate", None),),
    ),
    Method("tip", "likelihood ratio on the tokens that TIP selects (arXiv 2604.14084)", (Ratio(), Tip())),
    Method(
        "position",
        "likelihood ratio x position gate of PW-OPSD (arXiv 2605.21606), a combination of ours",
        (Ratio(), Position()),
    ),
    Method(
        "sdar",
        "GRPO's advantage, raised where the teacher endorses the token (SDAR, arXiv 2605.15155)",
        (Sdar(),),
        advantage=GroupRelative(),
        reward=Reward(length_beta=0.0),
        teacher={"refresh": "current"},
    ),
    Method(
        "srpo_gate",
        "likelihood ratio x confidence weight of SRPO (arXiv 2604.02288), a combination of ours",
        (Ratio(), SrpoGate()),
    ),
    Method(
        "fire_gate",
        "likelihood ratio x token weight of FiRe-OPD (arXiv 2606.02684), a combination of ours",
        (Ratio(), FireGate()),
    ),
    Method(
        "student_entropy",
        "EGRSD with the student's entropy in place of the teacher's, an arm of ours",
        (Ratio(), StudentEntropyGate()),
    ),
    Method("direction", "the running baseline alone, no teacher; the arm that the EGRSD paper calls GRPO"),
    Method(
        "rlsd_published",
        "group-relative advantage x likelihood ratio that fades out (arXiv 2604.03128)",
        (MixedRatio(),),
        advantage=GroupRelative(),
        reward=Reward(length_beta=0.0),
        loss="egrsd_ppo_clip",
        teacher={"template": "answer_only", "refresh": "copy", "every": 10},
    ),
    Method(
        "opsd_sampled",
        "log-ratio of the sampled token as credit, no reward (an option of OPSD, arXiv 2601.18734)",
        (LogRatio(),),
        advantage=Constant(1.0),
    ),
    Method(
        "reopold_floor",
        "log-ratio with a floor as credit, no reward (the floor of arXiv 2603.11137)",
        (LogRatio(low=math.log(0.1) / (1 - 0.1)),),
        advantage=Constant(1.0),
    ),
    Method(
        "paced",
        "log-ratio x pass rate weight p (1 - p): the sampled-token form of arXiv 2603.11178",
        (LogRatio(), PassRate()),
        advantage=Constant(1.0),
    ),
    Method(
        "gates",
        "clipped log-ratio on prompts whose answers agree: the on-policy term of arXiv 2602.20574",
        (LogRatio(low=-1.0, high=1.0), Consensus()),
        advantage=Constant(1.0),
    ),
    Method(
        "dash",
        "backward scan over the log-ratios as credit, no reward (arXiv 2608.06243)",
        (BackwardScan(),),
        advantage=Constant(1.0),
    ),
    Method(
        "correct_only",
        "EGRSD on the correct rollouts alone (an arm of arXiv 2605.06188)",
        (Ratio(), EntropyGate(), Outcome(keep="correct")),
        requires=(Requirement("outcome.keep", lambda k: k == "correct", "correct; see wrong_only", "egrsd"),),
    ),
    Method(
        "wrong_only",
        "EGRSD on the wrong rollouts alone (an arm of arXiv 2605.06188)",
        (Ratio(), EntropyGate(), Outcome(keep="wrong")),
        requires=(Requirement("outcome.keep", lambda k: k == "wrong", "wrong; see correct_only", "egrsd"),),
    ),
    Method(
        "constant_negative",
        "advantage -1 for every rollout, no teacher and no reward (a control of arXiv 2608.31046)",
        advantage=Constant(-1.0),
        requires=(Requirement("constant.value", lambda v: v < 0, "a negative number", "direction"),),
    ),
    Method(
        "opsd",
        "clipped forward divergence from the teacher, over the vocabulary (arXiv 2601.18734)",
        advantage=Constant(1.0),
        divergence=OPSD,
    ),
    Method(
        "opsd_first_release",
        "Jensen-Shannon divergence from the teacher (the first release of arXiv 2601.18734)",
        advantage=Constant(1.0),
        divergence=Distillation(kind="jsd", beta=0.5, temperature=1.1),
    ),
    Method(
        "copsd",
        "OPSD in another language, from a teacher that reads English too (arXiv 2605.09548)",
        advantage=Constant(1.0),
        divergence=OPSD,
        teacher={"template": "english"},
    ),
    Method(
        "crisp",
        "reverse divergence from a teacher that was asked to be concise (arXiv 2603.05433)",
        advantage=Constant(1.0),
        divergence=Distillation(kind="reverse"),
        teacher={"template": "concise", "refresh": "copy", "every": 50},
    ),
    Method(
        "pw_opsd",
        "OPSD's divergence x position gate, every response alike (arXiv 2605.21606)",
        (Position(), RowMean()),
        advantage=Constant(1.0),
        divergence=OPSD,
    ),
    Method(
        "opsd_gated",
        "OPSD's divergence x entropy gate of EGRSD, a combination of ours",
        (EntropyGate(),),
        advantage=Constant(1.0),
        divergence=OPSD,
        requires=(Requirement("window", lambda w: w == 0, "0; opsd_cl_gated has the lookahead", "opsd"),),
    ),
    Method(
        "opsd_cl_gated",
        "OPSD's divergence x entropy gate with causal lookahead, a combination of ours",
        (EntropyGate(window=DEFAULT_LOOKAHEAD),),
        advantage=Constant(1.0),
        divergence=OPSD,
        requires=(Requirement("window", lambda w: w > 0, "1 or more; opsd_gated has no lookahead", "opsd"),),
    ),
    Method(
        "paced_divergence",
        "reverse divergence x pass rate weight p (1 - p) (arXiv 2603.11178)",
        (PassRate(),),
        advantage=Constant(1.0),
        divergence=Distillation(kind="reverse"),
    ),
    Method(
        "tip_divergence",
        "reverse divergence on the tokens that TIP selects by it (arXiv 2604.14084)",
        (Tip(measure="vocabulary"),),
        advantage=Constant(1.0),
        divergence=Distillation(kind="reverse"),
    ),
    Method(
        "sdpo",
        "Jensen-Shannon divergence from a teacher that reads a correct sibling (arXiv 2601.20802)",
        (HasSibling(),),
        advantage=Constant(1.0),
        divergence=Distillation(kind="jsd", beta=0.5, top_k=100, support="student", tail="bucket"),
        teacher={"template": "sibling", "refresh": "ema", "decay": 0.95},
    ),
    Method(
        "eopd",
        "log-ratio as credit, and a forward divergence where the teacher is undecided (arXiv 2603.07079)",
        (EntropyThreshold(),),
        advantage=Constant(1.0),
        divergence=Distillation(kind="forward", top_k=16, tail="teacher_renormalised"),
        policy_factors=(LogRatio(),),
    ),
    Method(
        "ogls_sd",
        "experimental: reverse divergence from a teacher that rollouts steer (arXiv 2605.12400)",
        (Outcome(keep="wrong"), HasSibling()),
        advantage=Constant(1.0),
        divergence=Distillation(kind="reverse", clip=0.05, clip_sides="both", temperature=1.1),
        teacher={"template": "none", "steering": 3.0},
        requires=(Requirement("outcome.keep", lambda k: k == "wrong", "wrong", "opsd"),),
    ),
    Method(
        "ssopd",
        "GRPO, and OPSD's divergence on one wrong rollout of each prompt (arXiv 2605.17497)",
        (PassRate(), LongestWrong()),
        advantage=GroupRelative(),
        reward=Reward(length_beta=0.0),
        divergence=Distillation(kind="forward", clip=0.05, weight=2.0),
        policy_factors=(),
        teacher={"template": "sibling"},
    ),
)
"""The methods of this package."""

_registered: dict[str, Method] = {method.name: method for method in TABLE}


def register(method: Method) -> Method:
    """Add a method, and return it.

    Raises:
        ValueError: when another method has its name, or another class the name of one of its factors.
    """
    if _registered.get(method.name, method) != method:
        raise ValueError(f"a method {method.name!r} exists already: choose another name.")
    known = _factors_of(*_registered.values())
    for factor in method.all_factors:
        if type(known.get(factor.name, factor)) is not type(factor):
            raise ValueError(
                f"the factor {factor.name!r} of method {method.name!r} has the name of another factor: "
                "choose another name."
            )
    _registered[method.name] = method
    return method


def methods() -> dict[str, Method]:
    """Return all methods by name, those of other packages too.

    Raises:
        TypeError: for an entry point that does not name a method.
    """
    _load_entry_points()
    return dict(_registered)


def factors() -> dict[str, Factor]:
    """Return what `algorithm.egrsd.factors` may name: the factors of all methods, with their defaults."""
    return _factors_of(*methods().values())


def health_checks() -> dict[str, tuple[HealthCheck, ...]]:
    """Return the checks of the report that every factor, and a divergence, names; by its own name."""
    found = {name: factor.health_checks for name, factor in factors().items()}
    return found | {Distillation.name: Distillation.health_checks}


def advantage_sources() -> dict[str, AdvantageSource]:
    """Return what `algorithm.egrsd.advantage` may name."""
    found = {method.advantage.name: type(method.advantage)() for method in methods().values()}
    return ADVANTAGES | found


def _factors_of(*rows: Method) -> dict[str, Factor]:
    return {factor.name: type(factor)() for method in rows for factor in method.all_factors}


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        method = entry.load()
        if not isinstance(method, Method):
            raise TypeError(
                f"the entry point {entry.name} = {entry.value} of the group {ENTRY_POINTS} gives a "
                f"{type(method).__name__}: name a verl_egrsd.methods.Method."
            )
        register(method)
