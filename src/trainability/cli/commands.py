"""What the commands `evaluate`, `errors` and `pack` do, and how their results look in a terminal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from trainability.config import DataConfig, RunConfig, RunSettings, in_range
from trainability.data import cache
from trainability.evaluation import predictions
from trainability.evaluation.error_analysis import error_analysis, tables
from trainability.evaluation.protocols import parse_protocol, parse_scales
from trainability.evaluation.reference import Against, beside
from trainability.terminal.display import percent
from trainability.training import engine as engines
from trainability.training.evaluate import Asking, Evaluation, evaluate_runs, evaluate_weights
from trainability.training.record import check_is_run


def evaluate_networks(
    runs: Sequence[Path],
    *,
    protocol: str,
    scales: str | None,
    flip: bool | None,
    against: Against | None,
    weights: Path | None,
    weights_input: str,
    step: int | None,
    batch_size: int,
    data: DataConfig,
    settings: RunSettings,
    as_json: bool,
) -> int:
    """Evaluate runs or published weights and print the errors; see `cli.evaluate`."""
    if bool(runs) == (weights is not None):
        raise ValueError("evaluate needs run directories, or --weights FILE, and not both")
    if weights is None and data != DataConfig():
        raise ValueError("data.* names the images for --weights FILE; a run is asked about its own")
    if weights is not None and step is not None:
        raise ValueError(f"step is {step}; it names a checkpoint of a run, which --weights FILE has not")
    parse_protocol(protocol)
    in_range("batch-size", batch_size, at_least=1)
    asking = Asking(
        protocol=protocol, scales=None if scales is None else parse_scales(scales), flip=flip, batch_size=batch_size
    )
    console = Console()
    bars = _bars(console)
    with engines.start(settings) as engine, bars:
        advance = _counter(bars, "images") if engine.is_main and console.is_terminal else lambda num_images: None
        if weights is not None:
            config = RunConfig(data=data, run=settings).completed()
            result = evaluate_weights(weights, config, asking, engine=engine, input=weights_input, advance=advance)
        else:
            result = evaluate_runs(runs, asking, engine=engine, step=step, advance=advance)
        if not engine.is_main:
            return 0
    if as_json:
        kept = {name: getattr(result, name) for name in ("names", "configs", "data_name", "protocol", "scales")}
        print(json.dumps({**kept, **dataclasses.asdict(result.errors)}))
        return 0
    console.print(_evaluation_table(result, against))
    return 0


def _evaluation_table(result: Evaluation, against: Against | None) -> Table:
    found = result.errors
    table = Table(title=f"{', '.join(result.names)}: {result.described}", title_justify="left")
    table.add_column("who")
    for name in ("top-1 error", "top-5 error", "loss", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(
        "+".join(f"VGG-{config}" for config in result.configs),
        percent(found.top1_error),
        percent(found.top5_error),
        f"{found.loss:.4f}",
        f"{found.num_examples:,}",
    )
    if against is not None:
        rows = beside(
            result.configs, data_name=result.data_name, protocol=result.protocol, scales=result.scales, against=against
        )
        for row in rows:
            sides = ", ".join(map(str, row.test))
            who = f"{row.config}, trained at {row.train}, {row.protocol} at {sides}: {row.source}"
            first = "-" if row.top1_error is None else percent(row.top1_error)
            table.add_row(who, first, percent(row.top5_error), "-", "50,000")
    return table


def print_errors(run: Path, *, num_classes: int, num_pairs: int, num_images: int) -> int:
    """Print the error analysis of a run; see `cli.errors`.

    Raises:
        ValueError: it is no run, it has kept no answers, or there is nothing to list.
    """
    for name, value in (("num-classes", num_classes), ("num-pairs", num_pairs), ("num-images", num_images)):
        in_range(name, value, at_least=1)
    check_is_run(run)
    kept = run / predictions.FILE
    if not kept.is_file():
        raise ValueError(f"{run} has no {predictions.FILE}; make it with: trainability evaluate {run} --protocol centre")
    analysis = error_analysis(predictions.load(kept), num_pairs=num_pairs, num_images=num_images)
    console = Console()
    for title, rows in tables(analysis, num_classes=num_classes).items():
        console.print(_plain_table(title, rows))
    return 0


def _plain_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading, value in rows[0].items():
        table.add_column(heading.removesuffix(" %"), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(
            *(
                "-" if value is None else f"{value:.2f} %" if heading.endswith("%") else str(value)
                for heading, value in row.items()
            )
        )
    return table


def pack_data(config: DataConfig, *, processes: int | None) -> int:
    """Pack a data set, or verify its pack; see `cli.pack`."""
    if processes is not None:
        in_range("processes", processes, at_least=1)
    console = Console()
    bars = _bars(console)
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
        result = cache.pack(config, num_workers=processes, progress=progress)
    for name in result.broken:
        console.print(f"left out: {name}", highlight=False, markup=False, soft_wrap=True)
    num_images = result.num_train + result.num_val + result.num_unsplit
    done = "verified" if result.num_shards_made == 0 else "packed"
    console.print(
        f"{done} {num_images:,} images of {result.num_classes} classes, {result.num_bytes / 2**20:,.1f} MiB,"
        f" {len(result.broken)} broken: {result.folder}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 0


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _counter(bars: Progress, what: str) -> Any:
    task = bars.add_task(what, total=None)
    return lambda num_images: bars.advance(task, num_images)
