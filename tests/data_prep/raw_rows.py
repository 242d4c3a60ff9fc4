"""Small rows in each schema that the preparation knows, as their sources publish them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

METADATA: dict[str, Any] = {
    "problem": "How many primes are smaller than 12?",
    "deepseek_reasoning": "Okay. 2, 3, 5, 7, 11, so \\boxed{4}. Wait, that makes five.",
    "deepseek_solution": "The primes are 2, 3, 5, 7 and 11.\n\n**Answer:** \\boxed{5}",
    "ground_truth_solution": "Listing them gives $\\boxed{5}$ primes.",
    "domain": "math",
    "source": "olympiads",
    "test_cases": "",
    "starter_code": "",
}
CONVERSATION: dict[str, Any] = {
    "system": "Think step by step.",
    "conversations": [
        {
            "from": "user",
            "value": "Return your final response within \\boxed{}. How many primes are smaller than 12?",
        },
        {
            "from": "assistant",
            "value": "<|begin_of_thought|>\n\nMaybe \\boxed{4}? No.\n\n<|end_of_thought|>\n\n"
            "<|begin_of_solution|>\n\n2, 3, 5, 7, 11: \\boxed{5}\n\n<|end_of_solution|>",
        },
    ],
}
PAPER: dict[str, Any] = {
    "problem": "How many primes are smaller than 12?",
    "solution": "2, 3, 5, 7, 11: \\boxed{5}",
    "Question": "How many primes are smaller than 12?",
    "Answer": "5",
    "COT_Reason": "Perhaps four. No, five.",
    "generated_token_count": 12,
}
GSM8K: dict[str, Any] = {
    "question": "Ann has 2 bags of 3 nuts. How many nuts has she?",
    "answer": "She has 2*3=<<2*3=6>>6 nuts.\n#### 6",
}


PROBLEM = METADATA["problem"]
TRACE = "<think>\nMaybe \\boxed{4}? No, five.\n</think>\n\n2, 3, 5, 7, 11: \\boxed{5}"
DAPO_REQUEST = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem."
)
DAPO_REMINDER = 'Remember to put your answer on its own line after "Answer:".'
VERL: dict[str, Any] = {
    "data_source": "math_dapo",
    "prompt": [{"content": f"{DAPO_REQUEST}\n\n{PROBLEM}\n\n{DAPO_REMINDER}", "role": "user"}],
    "ability": "MATH",
    "reward_model": {"ground_truth": "5", "style": "rule-lighteval/MATH_v2"},
    "extra_info": {"index": "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"},
}
SKYWORK = VERL | {
    "data_source": "train-math-numinamath1.5_olympiads",
    "prompt": [{"content": PROBLEM, "role": "user"}],
    "ability": "math",
    "reward_model": {"ground_truth": '["5"]', "style": "rule"},
    "extra_info": {"index": 3, "model_difficulty": {"DeepSeek-R1-Distill-Qwen-7B": 2}},
}
VERL_GSM8K = VERL | {
    "data_source": "openai/gsm8k",
    "prompt": [
        {
            "content": f'{PROBLEM} Let\'s think step by step and output the final answer after "####".',
            "role": "user",
        }
    ],
    "ability": "math",
    "reward_model": {"ground_truth": "5", "style": "rule"},
    "extra_info": {"split": "train", "index": 0, "answer": "2+3=<<2+3=5>>5.\n#### 5", "question": PROBLEM},
}
DEEPMATH: dict[str, Any] = {
    "question": PROBLEM,
    "final_answer": "5",
    "difficulty": 4.5,
    "topic": "Number Theory",
    "r1_solution_1": TRACE.removeprefix("<think>\n"),
    "r1_solution_2": "Hm.\n</think>\n\nFive: \\boxed{5}",
    "r1_solution_3": "",
}
S1K: dict[str, Any] = {
    "solution": "5",
    "question": PROBLEM,
    "cot_type": "math",
    "source_type": "AI-MO/NuminaMath-CoT/olympiads",
    "metadata": "{'level': 1}",
    "gemini_thinking_trajectory": "Is 9 prime? No.",
    "gemini_attempt": "It is five.",
    "deepseek_thinking_trajectory": "Perhaps four. No, five.",
    "deepseek_attempt": "2, 3, 5, 7, 11: \\boxed{5}",
}
OPEN_MATH_REASONING: dict[str, Any] = {
    "problem": PROBLEM,
    "generated_solution": TRACE,
    "expected_answer": "5",
    "problem_source": "aops_c4_high_school_math",
    "inference_mode": "cot",
}
NUMINA: dict[str, Any] = {
    "problem": PROBLEM,
    "solution": "2, 3, 5, 7, 11: \\boxed{5}",
    "answer": "5",
    "problem_type": "Number Theory",
    "question_type": "math-word-problem",
    "problem_is_valid": "Yes",
    "solution_is_valid": "Yes",
    "source": "olympiads",
    "synthetic": False,
}
LIMO: dict[str, Any] = {"question": PROBLEM, "solution": "2, 3, 5, 7, 11: **Answer** \\boxed{5}", "answer": 5}
OPENTHOUGHTS3: dict[str, Any] = {
    "difficulty": 7,
    "source": "ai2-adapt-dev/openmath-2-math",
    "domain": "math",
    "conversations": [{"from": "human", "value": PROBLEM}, {"from": "gpt", "value": TRACE}],
}
OPENTHOUGHTS2: dict[str, Any] = {
    "conversations": [{"from": "user", "value": PROBLEM}, {"from": "assistant", "value": TRACE}],
    "question": PROBLEM,
    "source": "numinamath_1.5_verified",
    "id": 7,
}
MESSAGES: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Please reason step by step."},
        {"role": "user", "content": PROBLEM},
        {"role": "assistant", "content": TRACE},
    ]
}
BIG_MATH: dict[str, Any] = {
    "problem": PROBLEM,
    "answer": "5",
    "source": "olympiads",
    "domain": ["Mathematics -> Number Theory -> Prime Numbers"],
    "llama8b_solve_rate": 0.4,
}
ACEREASON: dict[str, Any] = {"problem": PROBLEM, "answer": "5"}
POLARIS: dict[str, Any] = {"problem": PROBLEM, "answer": "5", "difficulty": "3/8"}
BARE: dict[str, Any] = {"question": PROBLEM, "answer": "5"}
META_MATH: dict[str, Any] = {
    "query": PROBLEM,
    "response": "2, 3, 5, 7, 11: \\boxed{5}",
    "type": "MATH_AnsAug",
    "original_question": PROBLEM,
}
"""A schema that is not known."""


def sums(count: int) -> list[dict[str, Any]]:
    """Solved exercises, no two of them alike."""
    return [
        {
            "problem": f"Ann adds {i} and {i * i + 7}. What does she get?",
            "solution": f"The sum is \\boxed{{{i + i * i + 7}}}.",
            "answer": str(i + i * i + 7),
        }
        for i in range(count)
    ]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as JSON lines and return the path as an argument."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
