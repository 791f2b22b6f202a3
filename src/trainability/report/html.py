"""Write `report.html` from a run directory."""

from __future__ import annotations

from pathlib import Path

from trainability import config as configuration
from trainability.doctor.layer_table import INIT_COLUMNS
from trainability.evaluation.reference import Against
from trainability.formats import percent
from trainability.report import figures, filters, layer_figures, look, other_loop, page, signal_figures, summary
from trainability.report.against import Reference, reference_for
from trainability.report.diagnosis_section import diagnosis_section, layer_numbers
from trainability.report.error_section import error_section
from trainability.report.experiments_section import experiments_section
from trainability.training.record import Run, read_run

REPORT = "report.html"


def write_report(folder: Path | str, *, against: Against | None = None) -> Path:
    """Write the report of a run, finished or not, into its directory.

    Args:
        folder: run directory.
        against: published errors to draw with the run's; if none fit, the page says so.

    Returns:
        Path of the page, `report.html` in that directory.

    Raises:
        ValueError: it is not a run directory, or a file in it is damaged.
        OSError: the page cannot be written.
    """
    run = read_run(folder)
    return page.write(Path(folder) / REPORT, render(run, against=against))


def render(run: Run, *, against: Against | None = None, state: str | None = None) -> str:
    """Make the page of a run.

    Args:
        run: the run.
        against: published errors to draw with the run's.
        state: for a served page, the server's name for the state of the run directory: the page polls it and reloads when
            it changes. `None` for a page in a file, which fetches nothing.
    """
    about = summary if run.config is not None else other_loop
    table, budget = summary.init_table(run)
    errors, problems = error_section(run)
    reference, why = find_reference(run, against)
    curves = figures.all_figures(run, reference)
    total = signal_figures.total_budget(run)
    return page.render(
        "report.html.jinja",
        run=run,
        title=about.title(run),
        status=summary.status(run),
        missing=[*about.missing(run), *problems],
        headlines=about.headlines(run),
        tiles=about.tiles(run),
        figures=curves,
        legend_entries=legend_of(curves) | marks_on(curves, reference),
        smoothest=smoothest(len(run.steps)),
        reference=reference,
        no_reference=why,
        diagnosis=diagnosis_section(run),
        experiments=experiments_section(run),
        layer_numbers=layer_numbers(run),
        layers=layer_figures.layer_figures(run),
        filters=filters.first_filters(run) if run.config is not None else None,
        signals=signal_figures.signal_figures(run),
        scale=signal_figures.budget_scale([] if total is None else [("", "ink", total)]),
        epochs=summary.epoch_rows(run),
        errors=errors,
        problems=problems,
        evaluate=summary.evaluate_command(run) if run.config is not None else None,
        percent=percent,
        init=table,
        init_columns=INIT_COLUMNS,
        budget=budget,
        settings=about.settings(run),
        data=summary.data_facts(run),
        machine=summary.machine(run),
        commands=about.commands(run),
        recipe=None if run.config is None else configuration.to_toml(run.config),
        state=state,
    )


def find_reference(run: Run, against: Against | None) -> tuple[Reference | None, str | None]:
    """Find the published error to draw, or the reason why there is none."""
    if against is None:
        return None, None
    try:
        return reference_for(run, against), None
    except ValueError as error:
        return None, f"No reference line: {error}."


def legend_of(curves: list[look.Figure]) -> dict[str, str]:
    """List the kinds of curves that at least one figure has."""
    plots = [figure.plot for figure in curves if figure.plot]
    drawn = {trace["name"] for plot in plots for trace in plot["data"] if any(y is not None for y in trace["y"])}
    drawn |= {shape["name"] for plot in plots for shape in plot["layout"]["shapes"]}
    return {role: name for role, name in look.LEGEND.items() if role in drawn}


def marks_on(curves: list[look.Figure], reference: Reference | None) -> dict[str, str]:
    """List the marks that at least one figure has, for the legend."""
    drawn = {shape["name"] for figure in curves if figure.plot for shape in figure.plot["layout"]["shapes"]}
    names = look.MARKS | ({"reference": f"Reference: {reference.label}"} if reference else {})
    return {role: name for role, name in names.items() if role in drawn}


def smoothest(num_steps: int) -> int:
    """Maximum of the smoothing slider, in steps: a quarter of the run, rounded down to a power of ten times 1 or 3."""
    choices = [10**power * lead for power in range(7) for lead in (1, 3)]
    return max((choice for choice in choices if choice <= num_steps / 4), default=0)
