"""Of the rows that hold one problem, the shortest verified solution stays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedupe import Duplicates
from data_prep.rows import normalise_problem
from data_prep.schemas import Exercise
from data_prep.similarity import jaccard, shingles
from data_prep.stages import Dropped, batches
from tests.support.published import published

LONG = "A train leaves town at noon and drives 60 km in every hour of its way. How far is it away at four?"


def exercise(problem, index=0, solution="s", answer="1", verified=True):
    return Exercise(
        index=index,
        source="",
        problem=problem,
        solution=solution,
        own_answer=answer,
        ground_truth="",
        normalised=normalise_problem(problem),
        answer=answer,
        verified=verified,
    )


def found(rows, level="near", similarity=0.8, size=1024):
    duplicates = Duplicates(level, similarity, seed=0)
    for batch in batches(rows, size):
        duplicates.add(batch)
    duplicates.find()
    return duplicates


def staying(rows, **choices):
    return [row.index for row in found(rows, **choices).drop(rows) if not isinstance(row, Dropped)]


def test_the_shortest_verified_solution_of_a_problem_stays():
    rows = [
        exercise(LONG, 0, "long " * 9),
        exercise(LONG.upper(), 1, "x", verified=False),
        exercise(f"  {LONG} ", 2, "short"),
        exercise(LONG, 3, "SHORT"),
    ]
    assert staying(rows) == [2]
    assert {match.match for match in found(rows).matches.values()} == {"row 2"}


def test_a_problem_with_one_word_changed_is_a_near_duplicate_when_the_answer_is_the_same():
    rows = [exercise(LONG, 0), exercise(LONG.replace("train", "bus"), 1)]
    assert staying(rows) == [0]
    assert found(rows).drop(rows)[1] == Dropped("near duplicate")
    match = found(rows).matches[1]
    assert (match.match, match.match_problem) == ("row 0", LONG)
    assert match.similarity == jaccard(shingles(rows[0].normalised), shingles(rows[1].normalised))


def test_exercises_that_differ_in_a_number_have_other_answers_and_both_stay():
    rows = [exercise(LONG, 0, answer="240"), exercise(LONG.replace("60", "70"), 1, answer="280")]
    assert staying(rows) == [0, 1]


def test_equal_problems_go_whatever_their_answers_are_and_both_answers_are_listed():
    rows = [exercise(LONG, 0, answer="240"), exercise(LONG, 1, answer="250")]
    assert staying(rows) == [0]
    assert (found(rows).matches[1].answer, found(rows).matches[1].match_answer) == ("250", "240")


@pytest.mark.parametrize(("level", "stays"), [("near", [0]), ("exact", [0, 2]), ("off", [0, 1, 2])])
def test_each_level_removes_what_it_says(level, stays):
    rows = [exercise(LONG, 0), exercise(LONG, 1), exercise(LONG.replace("train", "bus"), 2)]
    assert staying(rows, level=level) == stays


PROBLEMS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8).map(" ".join)
ROWS = st.lists(
    st.tuples(PROBLEMS, st.integers(1, 3), st.booleans(), st.sampled_from("12")), max_size=25
).map(lambda rows: [exercise(p, i, "s" * n, a, v) for i, (p, n, v, a) in enumerate(rows)])


@given(ROWS, st.floats(0.3, 1))
def test_every_row_that_goes_has_a_preferred_partner_through_which_its_problem_stays(rows, similarity):
    duplicates = found(rows, similarity=similarity)
    stays = set(staying(rows, similarity=similarity))
    assert stays.isdisjoint(duplicates.matches)
    for index, match in duplicates.matches.items():
        gone, partner = rows[index], rows[int(match.match.removeprefix("row "))]
        if partner.index not in stays:
            # The partner of an exact duplicate may itself go, once, for a near one.
            assert match.kind == "exact duplicate"
            assert duplicates.matches[partner.index].kind == "near duplicate"
        assert (not partner.verified, len(partner.solution)) <= (not gone.verified, len(gone.solution))
        measured = jaccard(shingles(gone.normalised), shingles(partner.normalised))
        if match.kind == "exact duplicate":
            assert gone.normalised == partner.normalised
        else:
            assert measured == match.similarity >= similarity
            assert gone.answer == partner.answer


def test_an_exact_duplicate_goes_with_its_partner_when_that_goes_for_a_near_one():
    other = LONG.replace("train", "bus")
    rows = [exercise(LONG, 0), exercise(other, 1, "longer"), exercise(other, 2, "longer")]
    matches = found(rows).matches
    assert {index: match.match for index, match in matches.items()} == {1: "row 0", 2: "row 1"}


@given(ROWS)
def test_no_two_rows_with_the_same_problem_stay(rows):
    stays = [rows[index].normalised for index in staying(rows)]
    assert len(stays) == len(set(stays))


@given(ROWS, st.randoms(), st.integers(1, 9))
def test_the_order_of_the_stream_and_its_batches_do_not_matter(rows, random, size):
    shuffled = random.sample(rows, len(rows))
    assert sorted(staying(shuffled, size=size)) == staying(rows)


def test_every_reworded_real_problem_above_the_threshold_is_found():
    originals = [exercise(row["question"], i) for i, row in enumerate(published("gsm8k_train")[:120])]
    reworded = []
    for row in originals:
        words = row.problem.split(" ")
        words[len(words) // 2] = "indeed"
        changed = exercise(" ".join(words), 120 + row.index, "longer")
        if jaccard(shingles(row.normalised), shingles(changed.normalised)) >= 0.8:
            reworded.append(changed)
    assert len(reworded) > 90
    rows = [replace(row, answer=str(row.index % 120)) for row in [*originals, *reworded]]
    assert staying(rows) == list(range(120))
