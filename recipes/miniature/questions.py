"""The questions that the arms answer, two arms each."""

from __future__ import annotations

from typing import NamedTuple

from recipes.miniature.arms import SHUFFLED, UNTRAINED, WRONG


class Question(NamedTuple):
    """A comparison of two arms, and the question that it answers."""

    arm: str
    other: str
    asks: str


QUESTIONS = (
    Question("direction", UNTRAINED, "Does the outcome reward alone train anything?"),
    Question("sft", UNTRAINED, "Does imitating the solutions train anything?"),
    Question("grpo", "direction", "Does a baseline per prompt do better than the running one?"),
    Question("rlsd", "direction", "What does the likelihood ratio add to the direction?"),
    Question("egrsd", "rlsd", "What does the gate change?"),
    Question("cl_egrsd", "egrsd", "What does the lookahead give back?"),
    Question("cl_egrsd", "grpo", "Is the whole method better than GRPO?"),
    Question("cl_egrsd", "sft", "Is it better than imitating the solutions?"),
    Question("cl_egrsd", "opsd", "Is it better than the teacher's whole distribution?"),
    Question("cl_egrsd", "crisp", "Is it better than a teacher that is asked to be concise?"),
    Question("opsd", UNTRAINED, "Does the teacher's whole distribution train anything without a reward?"),
    Question("opsd_unclipped", "opsd", "What does OPSD's clip do in a small vocabulary?"),
    Question("opsd_unclipped", "rlsd", "Is the unclipped divergence better than the likelihood ratio?"),
    Question("opsd_unclipped_gated", "opsd_unclipped", "Does the gate pay on a whole distribution?"),
    Question("opsd_unclipped_cl_gated", "opsd_unclipped_gated", "Does the lookahead pay there?"),
    Question("opsd_unclipped_position", "opsd_unclipped", "Does position pay there?"),
    Question("opsd_unclipped_position", "opsd_unclipped_gated", "Does position beat entropy there?"),
    Question("opsd_gated", "opsd", "Does the gate pay on the clipped distribution?"),
    Question("opsd_cl_gated", "opsd_gated", "Does the lookahead pay on the clipped distribution?"),
    Question("pw_opsd", "opsd", "Does a weight that grows along the response pay there?"),
    Question("sdpo", "opsd", "Can a correct sibling take the place of the solution?"),
    Question("eopd", "opsd_unclipped", "Is the whole distribution needed where the teacher is sure?"),
    Question("ssopd", "grpo", "What does one corrected failure per prompt add to GRPO?"),
    Question("position", "egrsd", "Does position beat the teacher's entropy?"),
    Question("position", "rlsd", "What does the position gate change?"),
    Question("tip", "rlsd", "Do half of the tokens, chosen by TIP, do as well as all?"),
    Question("student_entropy", "egrsd", "Would the student's entropy do in place of the teacher's?"),
    Question("dash", "opsd_unclipped", "Do log-ratios of later tokens replace the whole distribution?"),
    Question("correct_only", "egrsd", "Are correct rollouts enough?"),
    Question("wrong_only", "egrsd", "Are wrong rollouts enough?"),
    Question("constant_negative", UNTRAINED, "Is a constant negative advantage enough?"),
    Question("no_reference", "egrsd", "Is it the reference that matters?"),
    Question(WRONG, "egrsd", "Must the reference be right?"),
    Question("answer_only", "egrsd", "Would the final answer do in place of the solution?"),
    Question("reflection", "egrsd", "Does a reflection on the attempt beat the solution?"),
    Question("ema", "egrsd", "Should the teacher follow the student slowly?"),
    Question("copy", "egrsd", "Should the teacher be a copy of the student now and then?"),
    Question("mean_preserving", "egrsd", "Is it the gate's shape, or that it shrinks the update?"),
    Question(SHUFFLED, "egrsd", "Does it matter where the gate is low?"),
    Question("sft_low", "sft", "Would the learning rate of the other arms do for SFT?"),
    Question("sft_middle", "sft", "Would a quarter of SFT's learning rate do?"),
    Question("sft_high", "sft", "Would four times SFT's learning rate do?"),
    Question("crisp_low", "crisp", "Does CRISP work at a tenth of the learning rate?"),
    Question("opsd_low", "opsd", "Does OPSD with its clip work at a tenth of the learning rate?"),
    Question("sdpo_low", "sdpo", "Does SDPO work at a tenth of the learning rate?"),
    Question("pw_opsd_low", "pw_opsd", "Does PW-OPSD work at a tenth of the learning rate?"),
    Question("sdpo_solution", "sdpo", "Is it the sibling that makes SDPO fail, or the way it learns?"),
    Question("sdpo_solution", "opsd_unclipped", "Is SDPO's way of learning better, with the same solution?"),
    Question("sdpo_solution", "cl_egrsd", "Is SDPO with the solution better than the whole method?"),
    Question("egrsd_concise", UNTRAINED, "Does the outcome protect against a teacher that is mostly wrong?"),
    Question("egrsd_concise", "egrsd", "What does a teacher that is mostly wrong cost?"),
    Question("egrsd_other_solution", "egrsd", "What does the solution of another problem cost?"),
    Question("rlsd_published", "rlsd", "Does RLSD as published do better than EGRSD without its gate?"),
    Question("sdar", "grpo", "What does the teacher's endorsement add to GRPO?"),
    Question("opsd_first_release", "opsd", "Which release of OPSD is better?"),
    Question("opsd_first_release", "opsd_unclipped", "Is its JSD better than the forward divergence?"),
    Question("opsd_first_release", "cl_egrsd", "Is OPSD's first release better than the whole method?"),
    Question("paced_divergence", "opsd_unclipped", "Do prompts that are solved half of the time suffice?"),
    Question("tip_divergence", "opsd_unclipped", "Does a divergence on half of the tokens do as well?"),
    Question("ogls_sd", "sdpo", "Do right and wrong rollouts steer better than a correct sibling teaches?"),
    Question(
        "opsd_sampled", "opsd_unclipped", "Does the sampled token do in place of the whole distribution?"
    ),
    Question("reopold_floor", "opsd_sampled", "What does a floor under the log-ratio change?"),
    Question("paced", "opsd_sampled", "What does the pass rate change on the sampled token?"),
    Question("gates", "opsd_sampled", "What does the consensus of the answers change?"),
    Question("srpo_gate", "egrsd", "Is SRPO's weight a better gate?"),
    Question("fire_gate", "egrsd", "Is FiRe-OPD's weight a better gate?"),
)
"""The questions of the page, in order."""
