"""Mathematics that the methods share, in plain torch.

Shapes are (B, T): B rollouts, T response positions. Entropies and log-probabilities are in nats, windows and
lengths in tokens. Nothing here imports verl.
"""

from verl_egrsd.credit.advantage import RunningAdvantage
from verl_egrsd.credit.controls import GATE_CONTROLS, controlled_gate, mean_one
from verl_egrsd.credit.lookahead import lookahead_min
from verl_egrsd.credit.loss import policy_loss
from verl_egrsd.credit.masks import response_tokens
from verl_egrsd.credit.normalise import entropy_denominator, normalised_entropy
from verl_egrsd.credit.regimes import Regime, token_regimes
from verl_egrsd.credit.reward import is_correct, length_shaped_reward

__all__ = [
    "GATE_CONTROLS",
    "Regime",
    "RunningAdvantage",
    "controlled_gate",
    "entropy_denominator",
    "is_correct",
    "length_shaped_reward",
    "lookahead_min",
    "mean_one",
    "normalised_entropy",
    "policy_loss",
    "response_tokens",
    "token_regimes",
]
