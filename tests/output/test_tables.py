"""One writer of tables: aligned for the terminal, and Markdown."""

import pytest

from verl_egrsd.output.tables import text_table


def test_columns_of_a_table_are_aligned():
    assert text_table(["name", "tokens"], [["a", "1,000"], ["longer", "2"]]).splitlines() == [
        "| name   | tokens |",
        "| :----- | -----: |",
        "| a      |  1,000 |",
        "| longer |      2 |",
    ]


def test_a_column_of_texts_behind_numbers_is_aligned_to_the_left():
    assert text_table(["a", "n", "file"], [["x", "10", "p"]], "lrl").splitlines() == [
        *("| a  |  n | file |", "| :- | -: | :--- |", "| x  | 10 | p    |"),
    ]


def test_a_table_without_rows_has_its_head():
    assert len(text_table(["a", "b"], []).splitlines()) == 2


def test_a_row_that_lacks_a_cell_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        text_table(["a", "b"], [["x"]])
