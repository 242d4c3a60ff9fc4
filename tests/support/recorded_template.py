"""A privileged template that writes down every teacher turn that it fills, for tests that follow a row.

Loaded into every process by `VERL_USE_EXTERNAL_MODULES=tests.support.recorded_template`, chosen by
`actor_rollout_ref.teacher.template=recorded`; the file is named by `RECORDED_TURNS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from verl_egrsd.teacher.templates import TEMPLATES, Template


class RecordedTemplate(Template):
    """The default template, with a witness."""

    def fill(self, texts: Mapping[str, str]) -> str:
        """Return the teacher's user turn for one problem, and append it to the file."""
        turn = super().fill(texts)
        with open(os.environ["RECORDED_TURNS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(turn) + "\n")
        return turn


TEMPLATES["recorded"] = RecordedTemplate(TEMPLATES["reference_solution"].text)
