"""Render a template to one HTML file that needs no network and follows the reader's colour scheme.

Every page extends `templates/page.jinja` with a title, a header and a main part, built from the macros of
`templates/parts.jinja`; `report.css` styles it, and `report.js` draws each figure that `parts.drawn` inserted.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from trainability.disk import whole
from trainability.report import look


def render(template: str, *, state: str | None = None, **values: Any) -> str:
    """Render a page.

    Args:
        template: name of a template that extends `page.jinja`.
        state: for a served page, the value to compare with its server's /state; `None` for a page that fetches nothing.
        values: of the template. All text is escaped.
    """
    script, plotly = _source("report.js"), get_plotlyjs()
    refresh = None if state is None else _source("refresh.js")
    policy = _policy(script, plotly) if refresh is None else _policy(script, plotly, refresh) + "; connect-src 'self'"
    return (
        _templates()
        .get_template(template)
        .render(
            palettes=look.PALETTES,
            font=Markup(look.FONT),
            style=Markup(_source("report.css")),
            script=Markup(script),
            plotly=Markup(plotly),
            state=state,
            refresh=None if refresh is None else Markup(refresh),
            policy=policy,
            **values,
        )
    )


def write(path: Path, page: str) -> Path:
    """Write a page atomically, so that a reader sees either the old or the new one.

    Raises:
        OSError: it cannot be written; an existing page is unchanged.
    """
    whole.write(path, page.encode())
    return path


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainability.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = lambda text: text.replace("-", "−")
    environment.filters["sections"] = _sections
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _sections(main: str) -> list[tuple[str, Markup]]:
    """List the headings of a page's main part: identifier and text, which is escaped already."""
    return [(name, Markup(text)) for name, text in re.findall(r'<h2 id="([^"]+)"[^>]*>(.*?)</h2>', main)]


def _source(name: str) -> str:
    loader = _templates().loader
    assert loader is not None
    return loader.get_source(_templates(), name)[0]


def _policy(*scripts: str) -> str:
    """Allow the browser only these scripts, whatever text a class name contains, and no requests."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"
