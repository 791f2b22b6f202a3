"""A run directory -> `report.html`."""

from __future__ import annotations

from pathlib import Path

from trainability import config as configuration
from trainability.report import figures, look, page, summary
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
    return page.write(folder / REPORT, render(read_run(folder)))


def render(run: Run) -> str:
    """Make the page of a run."""
    table, budget = summary.init_table(run)
    errors, problems = error_section(run)
    return page.render(
        "report.html.jinja",
        run=run,
        title=summary.title(run),
        status=summary.status(run),
        missing=[*summary.missing(run), *problems],
        headlines=[summary.headline(run, "top1"), summary.headline(run, "top5")],
        tiles=summary.tiles(run),
        figures=figures.all_figures(run),
        legend_entries=look.LEGEND,
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
    )
