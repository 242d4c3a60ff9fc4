"""docs/contexts.md says what the teacher reads: every template with its text, every mark, every verdict."""

import re
from pathlib import Path

import pytest

from verl_egrsd.teacher.attempts import Attempt
from verl_egrsd.teacher.marks import COLUMNS, KNOWN_MARKS
from verl_egrsd.teacher.templates import TEMPLATES, Template

PAGE = (Path(__file__).parents[2] / "docs" / "contexts.md").read_text()


def first_cells(head: str) -> list[str]:
    """The first cells of the table with this head."""
    rows = PAGE.split(f"\n| {head} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1] for row in rows]


def lines(text: str) -> list[list[str]]:
    """The words of a text by paragraph or marked line: the page wraps long lines."""
    return [part.split() for part in re.split(r"\n\n|(?<===)\n|\n(?===)", text)]


def test_every_template_is_in_the_table_and_no_other():
    assert [re.findall("`([a-z_]+)`", cell)[0] for cell in first_cells("template")] == list(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_a_section_with_its_text_unless_it_is_a_placebo(name):
    section = PAGE.split(f"\n### {name}\n")[1].split("\n## ")[0].split("\n### ")[0]
    if name.endswith("_solution") and name != "reference_solution":
        worked = TEMPLATES["reference_solution"].text
        assert TEMPLATES[name].text == worked.replace("<<solution>>", f"<<{name}>>")
    else:
        (shown,) = re.findall(r"```text\n(.*?)\n```", section, re.DOTALL)
        assert lines(shown) == lines(TEMPLATES[name].text)


def test_every_mark_is_in_the_table_and_no_other():
    *marks, columns = first_cells("mark")
    assert tuple(re.findall("<<(.+?)>>", "".join(marks))) == KNOWN_MARKS
    assert re.findall(r"<<(\w+)\.NAME>>", columns) == list(COLUMNS)


def test_the_verdicts_are_quoted():
    for correct, truncated in ((True, False), (False, False), (False, True)):
        assert f'"{Attempt("", correct, truncated).verdict}"' in PAGE.replace("\n", " ")


@pytest.mark.parametrize(
    ("before", "marks"),
    [
        ("COPSD in German", ("extra_info.problem_en", "solution")),
        ("A sibling may also come from the data", ("extra_info.sibling",)),
    ],
)
def test_an_example_is_a_template_that_shows_what_the_page_says(before, marks):
    example = PAGE.split(before)[1].split("```text\n")[1].split("\n```")[0]
    assert Template(example).marks == marks
