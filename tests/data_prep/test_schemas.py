"""Raw rows of every known form become exercises; others are refused by name, with the flag to use."""

import json

import numpy as np
import pytest

from data_prep.answers import choose_answers
from data_prep.schemas import SCHEMAS, choose_schema, own_answer, recognise
from data_prep.selection import Selection
from data_prep.stages import Dropped
from tests.data_prep import raw_rows
from tests.data_prep.raw_rows import CONVERSATION, GSM8K, LIMO, METADATA, NUMINA, PAPER, PROBLEM, VERL

ROWS = {
    "OpenThoughts-114k metadata": METADATA,
    "OpenThoughts-114k default": CONVERSATION,
    "problem and solution": PAPER,
    "GSM8K": GSM8K,
    "verl": VERL,
    "DeepMath": raw_rows.DEEPMATH,
    "s1K": raw_rows.S1K,
    "OpenMathReasoning": raw_rows.OPEN_MATH_REASONING,
    "question and solution": LIMO,
    "messages": raw_rows.MESSAGES,
    "problem and answer": raw_rows.ACEREASON,
    "question and answer": raw_rows.BARE,
}
CHOICES = {"domain": "math", "assume_math": True, "reference": "concise"}
CONCISE = "2, 3, 5, 7, 11: \\boxed{5}"


def exercise(raw, columns=None, **choices):
    selection = Selection(choose_schema([raw], columns), "somewhere", **(CHOICES | choices))
    (selected,) = selection.mathematics([(7, raw)])
    if isinstance(selected, Dropped):
        return selected
    return selection.exercises([selected])[0]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_recognised_by_its_columns(name):
    assert choose_schema([ROWS[name]]).name == name
    assert set(ROWS) == {schema.name for schema in SCHEMAS}


@pytest.mark.parametrize(
    ("raw", "own", "ground_truth"),
    [(METADATA, "5", "5"), (CONVERSATION, "5", ""), (PAPER, "5", "5"), (GSM8K, "6", "")],
    ids=list(ROWS)[:4],
)
def test_the_final_answer_and_the_separate_ground_truth_are_found(raw, own, ground_truth):
    found = exercise(raw)
    assert (found.own_answer, found.ground_truth) == (own, ground_truth)
    assert found.index == 7


@pytest.mark.parametrize("reference", ["concise", "reasoning"])
@pytest.mark.parametrize("raw", ROWS.values(), ids=ROWS)
def test_the_columns_that_are_read_hold_all_that_an_exercise_needs(raw, reference):
    schema = choose_schema([raw])
    if reference == "reasoning" and schema.reasoning is None:
        return
    columns = schema.columns_read(reference)
    choices = {"reference": reference, "needs_solution": False}
    assert exercise({name: raw[name] for name in columns if name in raw}, **choices) == exercise(
        raw, **choices
    )


@pytest.mark.parametrize("raw", [METADATA, CONVERSATION, PAPER], ids=list(ROWS)[:3])
def test_the_long_reasoning_is_shown_only_when_it_is_asked_for(raw):
    concise, full = exercise(raw), exercise(raw, reference="reasoning")
    assert "four" not in concise.solution
    assert "4" not in concise.solution
    assert full.solution.endswith(concise.solution)
    assert len(full.solution) > len(concise.solution)
    assert full.own_answer == concise.own_answer == "5"


def test_the_request_for_a_box_is_no_part_of_a_conversations_problem():
    assert exercise(CONVERSATION).problem == METADATA["problem"]


def test_gsm8ks_marks_are_no_part_of_the_solution():
    assert exercise(GSM8K).solution == "She has 2*3=6 nuts."


def test_a_row_says_where_it_comes_from_or_the_source_does():
    assert exercise(METADATA).source == "olympiads"
    assert exercise(GSM8K).source == "somewhere"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"domain": "code"}, "domain code"),
        ({"problem": None}, "no problem"),
        ({"problem": "  "}, "no problem"),
        ({"deepseek_solution": ""}, "no solution"),
    ],
)
def test_a_row_that_is_no_solved_mathematics_is_dropped_with_its_reason(change, reason):
    assert exercise(METADATA | change) == Dropped(reason)


def test_other_domains_stay_when_they_are_asked_for():
    assert exercise(METADATA | {"domain": "science"}, domain="any").own_answer == "5"


def test_an_answer_without_solution_marks_is_no_concise_solution():
    turns = [CONVERSATION["conversations"][0], {"from": "assistant", "value": "Hmm, \\boxed{5}?"}]
    assert exercise({"conversations": turns}) == Dropped("no solution")


def test_four_hashes_mark_an_answer_on_the_last_line_only():
    assert own_answer("It is six.\n#### 6\n") == "6"
    assert own_answer("#### Step 1\nAdd them.\n#### Step 2\nDone.") == ""
    assert own_answer("#### Step 1\n\\boxed{6}") == "6"


def test_an_unknown_schema_is_an_error_that_lists_the_columns_and_the_schemas():
    with pytest.raises(ValueError, match="Columns found: prompt, reply") as error:
        recognise(["prompt", "reply"])
    assert all(schema.name in str(error.value) for schema in SCHEMAS)


def test_conversations_are_refused_unless_they_are_known_to_be_mathematics():
    with pytest.raises(ValueError, match="--assume-math"):
        exercise(CONVERSATION, assume_math=False)
    assert exercise(CONVERSATION, assume_math=False, domain="any").own_answer == "5"


def test_reasoning_cannot_be_asked_of_a_schema_without_it():
    with pytest.raises(ValueError, match="hold no long reasoning"):
        exercise(GSM8K, reference="reasoning")


PUBLIC = {
    "DAPO": (VERL, "", "", "5", "math_dapo"),
    "Skywork-OR1": (raw_rows.SKYWORK, "", "", "5", "train-math-numinamath1.5_olympiads"),
    "verl's GSM8K": (raw_rows.VERL_GSM8K, "2+3=5.", "5", "5", "openai/gsm8k"),
    "DeepMath": (raw_rows.DEEPMATH, CONCISE, "5", "5", "somewhere"),
    "s1K": (raw_rows.S1K, CONCISE, "5", "5", "AI-MO/NuminaMath-CoT/olympiads"),
    "OpenMathReasoning": (raw_rows.OPEN_MATH_REASONING, CONCISE, "5", "5", "aops_c4_high_school_math"),
    "NuminaMath-1.5": (NUMINA, CONCISE, "5", "5", "olympiads"),
    "LIMO": (LIMO, LIMO["solution"], "5", "5", "somewhere"),
    "OpenThoughts2": (raw_rows.OPENTHOUGHTS2, CONCISE, "5", "", "numinamath_1.5_verified"),
    "OpenThoughts3": (raw_rows.OPENTHOUGHTS3, CONCISE, "5", "", "ai2-adapt-dev/openmath-2-math"),
    "messages": (raw_rows.MESSAGES, CONCISE, "5", "", "somewhere"),
    "Big-Math": (raw_rows.BIG_MATH, "", "", "5", "olympiads"),
    "AceReason": (raw_rows.ACEREASON, "", "", "5", "somewhere"),
    "Polaris": (raw_rows.POLARIS, "", "", "5", "somewhere"),
    "bare answers": (raw_rows.BARE, "", "", "5", "somewhere"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_row_of_a_public_data_set_is_read(name):
    raw, *expected = PUBLIC[name]
    found = exercise(raw, needs_solution=False)
    assert found.problem == PROBLEM
    assert [found.solution, found.own_answer, found.ground_truth, found.source] == expected
    assert choose_answers([found], "ground_truth")[0].answer == "5"


@pytest.mark.parametrize("name", [name for name in PUBLIC if not PUBLIC[name][1]])
def test_a_row_without_a_solution_is_dropped_where_the_teacher_is_shown_one(name):
    assert exercise(PUBLIC[name][0]) == Dropped("no solution")


def test_openthoughts3_names_its_domain_and_openthoughts2_does_not():
    assert exercise(raw_rows.OPENTHOUGHTS3, assume_math=False).own_answer == "5"
    assert exercise(raw_rows.OPENTHOUGHTS3 | {"domain": "code"}, assume_math=False) == Dropped("domain code")
    with pytest.raises(ValueError, match="--assume-math"):
        exercise(raw_rows.OPENTHOUGHTS2, assume_math=False)


@pytest.mark.parametrize(
    "domain",
    ["math", "Math", " MATH ", "mathematics", ["math"], ["code", "Mathematics -> Algebra"], "", None, []],
)
def test_every_spelling_of_mathematics_is_mathematics(domain):
    assert exercise(METADATA | {"domain": domain}).own_answer == "5"


@pytest.mark.parametrize(
    ("domain", "counted"),
    [("Code", "domain code"), (["physics -> Optics"], "domain physics"), ("aftermath", "domain aftermath")],
)
def test_another_domain_is_counted_by_its_first_part(domain, counted):
    assert exercise(METADATA | {"domain": domain}) == Dropped(counted)


@pytest.mark.parametrize("answer", [0, 0.0, "0", [0]])
@pytest.mark.parametrize(
    "row", [PAPER | {"Answer": None}, LIMO, raw_rows.ACEREASON], ids=["paper", "LIMO", "bare"]
)
def test_zero_is_an_answer(row, answer):
    assert exercise(row | {"answer": answer}, needs_solution=False).ground_truth == "0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"solution": {"text": "x"}}, "holds an object"),
        ({"solution": ["one", "two"]}, "holds a list of several values"),
        ({"solution": float("nan")}, "no solution"),
        ({"solution": None}, "no solution"),
        ({"answer": ["5", "6"]}, "holds a list of several values"),
        ({"answer": {"value": 5}}, "holds an object"),
        ({"answer": True}, "holds true or false"),
        ({"answer": "proof"}, "asks for a proof, not an answer"),
        ({"problem": "half \ud835"}, "holds text with half of a surrogate pair"),
        ({"problem": [PROBLEM, PROBLEM]}, "holds a list of several values"),
    ],
)
def test_a_value_that_is_no_text_drops_its_row_with_the_reason_and_the_value(change, reason):
    dropped = exercise(NUMINA | change)
    assert dropped == Dropped(reason)
    assert dropped.example.startswith("row 7")


@pytest.mark.parametrize("answer", ["5", "\\boxed{5}", "So $\\boxed{5}$.", "2+3=5\n#### 5", '["5"]'])
def test_an_answer_column_may_hold_more_than_the_answer(answer):
    assert exercise(NUMINA | {"answer": answer}).ground_truth == "5"


@pytest.mark.parametrize(
    "raw", [raw_rows.MESSAGES, CONVERSATION, VERL], ids=["messages", "conversations", "verl"]
)
def test_a_row_that_lacks_the_conversation_is_dropped(raw):
    selection = Selection(choose_schema([raw]), "somewhere", **CHOICES)
    assert selection.mathematics([(7, {})]) == [Dropped("no problem")]


@pytest.mark.parametrize("answer", ["notfound", "NaN", "None", "null", float("nan"), None, ""])
def test_an_answer_that_was_not_found_is_the_solutions_own(answer):
    found = exercise(NUMINA | {"answer": answer})
    assert (found.ground_truth, choose_answers([found], "ground_truth")[0].answer) == ("", "5")


@pytest.mark.parametrize(
    "prompt",
    [
        PROBLEM,
        json.dumps(VERL["prompt"]),
        np.array(VERL["prompt"], object),
        [{"role": "system", "content": "Think."}, {"role": "user", "content": PROBLEM}],
        [{"role": "user", "content": [{"type": "text", "text": PROBLEM}]}],
        [
            {
                "role": "user",
                "content": f"{PROBLEM}\nPlease reason step by step, and put your final answer within "
                "\\boxed{}.",
            }
        ],
    ],
    ids=["text", "JSON text", "numpy", "with a system turn", "parts", "with a request"],
)
def test_a_prompt_of_verl_may_have_every_common_form(prompt):
    assert exercise(VERL | {"prompt": prompt}, needs_solution=False).problem == PROBLEM


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": None}, "no problem"),
        ({"prompt": []}, "no problem"),
        ({"prompt": 5}, "holds a conversation that is not a list"),
        ({"prompt": ["x"]}, "holds a turn that is no object"),
        ({"prompt": VERL["prompt"] * 2}, "holds a conversation with several turns of the user"),
        ({"prompt": "[{'role': 'user'}]"}, "holds text that looks like JSON but is not"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "holds an object"),
        ({"reward_model": {"ground_truth": ["1", "2"]}}, "holds a list of several values"),
        ({"reward_model": "rule"}, "holds a text without a field 'ground_truth'"),
        ({"extra_info": "x"}, "holds a text without a field 'problem'"),
        ({"ability": "code"}, "domain code"),
    ],
)
def test_a_row_of_verl_that_cannot_be_read_is_dropped_with_its_reason(change, reason):
    assert exercise(VERL | change, needs_solution=False) == Dropped(reason)


def test_parts_of_verls_rows_may_be_json_text():
    raw = VERL | {
        "reward_model": json.dumps({"ground_truth": "5"}),
        "extra_info": json.dumps({"problem": PROBLEM, "solution": CONCISE}),
    }
    found = exercise(raw)
    assert (found.problem, found.solution, found.ground_truth) == (PROBLEM, CONCISE, "5")


def test_what_this_package_wrote_can_be_read_again():
    from data_prep.rows import to_row

    info = {"problem": PROBLEM, "solution": CONCISE, "answer": "5"}
    row = to_row(data_source="mine", index=1, split="train", source="there", **info)
    found = exercise(row)
    assert (found.problem, found.solution, found.ground_truth) == (PROBLEM, CONCISE, "5")


def test_question_and_answer_are_gsm8ks_only_where_the_answers_are_worked():
    assert choose_schema([raw_rows.BARE, GSM8K]).name == "GSM8K"
    assert choose_schema([raw_rows.BARE] * 3).name == "question and answer"
    assert choose_schema([GSM8K | {"answer": 5}]).name == "question and answer"


def test_a_column_counts_also_when_the_first_row_lacks_it():
    assert choose_schema([{"problem": PROBLEM}, NUMINA]).name == "problem and solution"


def test_a_trace_that_opens_a_solution_is_no_part_of_it_and_one_in_the_middle_is():
    assert exercise(NUMINA | {"solution": raw_rows.TRACE}).solution == CONCISE
    assert exercise(NUMINA | {"solution": "<think> never ends"}) == Dropped("no solution")
    text = f"A tag <think> closes with </think>. {CONCISE}"
    assert exercise(NUMINA | {"solution": text}).solution == text


def test_headings_of_a_worked_solution_are_not_its_end():
    text = f"#### Step 1\nList them.\n#### Step 2\n{CONCISE}"
    assert exercise(VERL | {"extra_info": {"solution": text}}).solution == text


def test_columns_can_be_named():
    named = {"problem": "query", "solution": "response"}
    found = exercise(raw_rows.META_MATH, named)
    assert (found.problem, found.solution, found.own_answer, found.ground_truth) == (
        PROBLEM,
        CONCISE,
        "5",
        "",
    )
    found = exercise(raw_rows.META_MATH | {"gold": {"value": 5}}, named | {"answer": "gold.value"})
    assert found.ground_truth == "5"
    found = exercise(raw_rows.META_MATH | {"field": "Code"}, named | {"domain": "field"})
    assert found == Dropped("domain code")
    found = exercise(
        raw_rows.META_MATH, named | {"source": "type", "reasoning": "query"}, reference="reasoning"
    )
    assert (found.source, found.solution) == ("MATH_AnsAug", f"{PROBLEM}\n\n{CONCISE}")


def test_named_columns_may_hold_conversations():
    raw = {
        "prompt": [{"role": "user", "content": PROBLEM}],
        "completion": json.dumps([{"role": "assistant", "content": raw_rows.TRACE}]),
    }
    found = exercise(raw, {"problem": "prompt", "solution": "completion"})
    assert (found.problem, found.solution) == (PROBLEM, CONCISE)


def test_a_named_column_changes_one_part_of_a_known_schema_unless_the_problem_is_named():
    found = exercise(raw_rows.S1K, {"solution": "gemini_attempt"})
    assert (found.solution, found.ground_truth) == ("It is five.", "5")
    found = exercise(raw_rows.S1K, {"problem": "question", "solution": "deepseek_attempt"})
    assert (found.solution, found.ground_truth) == (CONCISE, "")


def test_a_named_column_that_is_not_there_is_an_error_that_lists_the_columns():
    with pytest.raises(ValueError, match=r"--columns names reply, .* Columns found: query, response, type"):
        exercise(raw_rows.META_MATH, {"problem": "query", "solution": "reply"})


@pytest.mark.parametrize(
    ("columns", "flag"),
    [
        (["query", "response", "type", "original_question"], "problem=query,solution=response"),
        (["prompt", "completion"], "problem=prompt,solution=completion"),
        (["instruction", "input", "output"], "problem=instruction,solution=output"),
        (["Question", "Rationale", "Gold"], "problem=Question,solution=Rationale,answer=Gold"),
        (["question", "answer_type", "reference_answer"], "problem=question,answer=reference_answer"),
        (["prompt", "target"], "problem=prompt,answer=target"),
        (["a", "b"], "problem=NAME,solution=NAME"),
    ],
)
def test_an_unknown_schema_is_answered_with_its_columns_and_the_flag_to_use(columns, flag):
    with pytest.raises(ValueError, match=f"Columns found: {', '.join(columns)}.*--columns {flag}\\."):
        recognise(columns)
