"""Pages that are one file, load nothing, and run no script but those of this package.

Texts of strangers are escaped. A content security policy names our scripts by their hash, so that no other
script runs even if a text became markup.
"""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def fill(package: str, template: str, script: str = "", **values: Any) -> str:
    """Fill a template file of a package; values are escaped unless the template marks them as safe.

    Args:
        package: its folder holds template and script.
        template: name of the template's file.
        script: name of the script's file, see :func:`own_script`; "" for a page without.
        values: what the template reads.
    """
    environment = page_environment(package)
    return environment.get_template(template).render(**values, **own_script(environment, script))


@cache
def page_environment(package: str, folder: str = ".") -> Environment:
    """Return the environment of a package's templates, with :func:`embedded` as a filter."""
    environment = Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    return environment


def own_script(environment: Environment, name: str) -> dict[str, Markup]:
    """Return what a template writes for its script: `script`, the element, and `policy`, which allows it."""
    assert environment.loader is not None
    code = environment.loader.get_source(environment, name)[0] if name else ""
    return {"script": Markup(f"<script>{code}</script>"), "policy": content_policy(code)}


def content_policy(script: str) -> Markup:
    """Return the element that allows a page its own styles and this script, and nothing else."""
    allowed = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"
    return Markup(f'<meta http-equiv="Content-Security-Policy" content="{rules}; form-action \'none\'">')


def embedded(value: Any) -> Markup:
    """Return JSON that is safe inside a script element, whatever texts it holds.

    Raises:
        ValueError: for a number that is not finite, which a browser could not read.
    """
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
