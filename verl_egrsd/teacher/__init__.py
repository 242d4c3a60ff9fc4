"""The teacher: the same model with privileged text in its prompt, such as the reference solution."""

from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.templates import TEMPLATES, Template, get_template

__all__ = ["TEMPLATES", "PrivilegedContext", "Template", "get_template"]
