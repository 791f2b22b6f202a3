"""A run directory -> `report.html`: one file that needs no network, in the reader's colour scheme."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from trainability import config as configuration
from trainability.report import figures, look, summary
from trainability.report.errors import error_section
from trainability.training.record import Run, read_run

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Write the report of a run into its directory, whatever state the run is in.

    Args:
        folder: run directory.

    Returns:
        The page, `report.html` in that directory.

    Raises:
        ValueError: it is no run directory, a file in it is damaged, or the page cannot be written.
    """
    page = render(read_run(folder))
    path = folder / REPORT
    partial = path.with_name(REPORT + ".partial")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror})") from None
    return path


def render(run: Run, *, state: str | None = None) -> str:
    """Make the page of a run.

    Args:
        run: the run.
        state: of a page that is served, what its server calls the state of the run directory: the page asks for it and loads
            itself anew when it is another. A page that is a file asks for nothing.
    """
    environment = _templates()
    script, plotly = _source("report.js"), get_plotlyjs()
    refresh = None if state is None else _source("refresh.js")
    table, budget = summary.init_table(run)
    errors, problems = error_section(run)
    return environment.get_template("report.html.jinja").render(
        run=run,
        title=summary.title(run),
        status=summary.status(run),
        missing=[*summary.missing(run), *problems],
        headlines=[summary.headline(run, "top1"), summary.headline(run, "top5")],
        tiles=summary.tiles(run),
        figures=figures.all_figures(run),
        legend=look.LEGEND,
        palettes=look.PALETTES,
        font=Markup(look.FONT),
        epochs=summary.epoch_rows(run),
        errors=errors,
        problems=problems,
        evaluate=summary.evaluate_command(run),
        percent=summary.percent,
        init=table,
        budget=budget,
        settings=summary.settings(run),
        data=summary.data_facts(run),
        machine=summary.machine(run),
        commands=summary.commands(run),
        recipe=configuration.to_toml(run.config),
        style=Markup(_source("report.css")),
        script=Markup(script),
        plotly=Markup(plotly),
        state=state,
        refresh=None if refresh is None else Markup(refresh),
        policy=_policy(script, plotly) if refresh is None else _policy(script, plotly, refresh) + "; connect-src 'self'",
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainability.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _source(name: str) -> str:
    loader = _templates().loader
    assert loader is not None
    return loader.get_source(_templates(), name)[0]


def _policy(*scripts: str) -> str:
    """Let the browser run these scripts and no other, whatever a class name holds, and fetch nothing at all."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"
