"""Display a run: progress bars in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from trainability import formats
from trainability.doctor.layer_table import INIT_COLUMNS, init_budget, init_cells, power
from trainability.doctor.view import finding_view

# These import torch; `watch`, which prints the same lines, must start at once.
if TYPE_CHECKING:
    from trainability.doctor.diagnosis import Diagnosis
    from trainability.doctor.finding import Finding
    from trainability.initialization import LayerInit
    from trainability.training.checkpoint import Position
    from trainability.training.logbook import Outcome, RunOverview

UNDEFINED = "not defined"
"""Written for an error that is not defined: top-5 for fewer than five classes."""


def percent(fraction: float | None) -> str:
    """Write an error in percent, in the middle of a line of text."""
    return formats.percent(fraction, missing=UNDEFINED)


class _Numbers(ProgressColumn):
    """Column with the text of a task: loss, error, speed."""

    def render(self, task: Any) -> Text:
        return Text(task.fields.get("numbers", ""), style="cyan")


class TerminalDisplay:
    """Shows a run on a console; implements `training.logbook.Display`."""

    def __init__(self, console: Console) -> None:
        """Use a console; bars are drawn only if it is a terminal."""
        self.console = console
        self.progress: Progress | None = None
        self.begin: RunOverview | None = None

    def start(self, start: RunOverview) -> None:
        """Print network, data, settings and initialisation table, and start the bars."""
        self.begin = start
        for line in describe(start):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        if start.position.step == 0:
            self.console.print(init_table(start.table))
        for note in start.notes:
            self.console.print(f"note: {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        if self.console.is_terminal:
            self._start_bars(start)

    def _start_bars(self, start: RunOverview) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            _Numbers(),
            console=self.console,
            transient=True,
            # Drawing takes processor time from training: a few times a second is smooth enough.
            refresh_per_second=4,
        )
        self.epoch_bar = self.progress.add_task("epoch", total=start.steps_per_epoch)
        total = start.steps_per_epoch * start.config.optim.epochs
        self.run_bar = self.progress.add_task("run", total=total, completed=start.position.step)
        self.progress.start()

    def step(self, position: Position) -> None:
        """Advance the bars."""
        if self.progress:
            epochs = self.begin.config.optim.epochs if self.begin else 0
            self._update(self.epoch_bar, completed=position.step_in_epoch, description=f"epoch {position.epoch + 1}/{epochs}")
            self._update(self.run_bar, completed=position.step)

    def _update(self, task: TaskID, **fields: Any) -> None:
        assert self.progress
        self.progress.update(task, **fields)

    def rows(self, rows: list[dict[str, Any]]) -> None:
        """Show the newest loss, error and speed."""
        if self.progress:
            last = rows[-1]
            numbers = f"loss {last['loss']:.3f}  top-1 {percent(last['top1_error'])}"
            self._update(self.epoch_bar, numbers=numbers)
            self._update(self.run_bar, numbers=f"{last['images_per_second']:,.0f} images/s")

    def evaluation(self, row: dict[str, Any]) -> None:
        """Print an epoch's line."""
        epochs = self.begin.config.optim.epochs if self.begin else row["epoch"]
        self.console.print(epoch_line(row, epochs), highlight=False, soft_wrap=True)

    def diagnosed(self, diagnosis: Diagnosis, new: list[Finding]) -> None:
        """Print the verdict of the check, and every finding when it appears; hints in one line."""
        from trainability.terminal.diagnosis import finding_block

        if not diagnosis.evidence.steps:
            text = f"check: {diagnosis.verdict}: {diagnosis.reason}"
            self.console.print(text, highlight=False, markup=False)
        for finding in new:
            if finding.severity == "hint":
                text = finding_view(finding).line
                self.console.print(text, style="dim", highlight=False, markup=False)
            else:
                self.console.print(finding_block(finding))

    def close(self) -> None:
        """Remove the bars."""
        if self.progress:
            self.progress.stop()
            self.progress = None


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """Format a row of `evaluations.jsonl` as a line.

    Args:
        row: from the loop, or from the file, where numbers that are not finite are `None`.
        epochs: planned.
    """
    losses = [f"{math.nan if row[key] is None else row[key]:.3f}" for key in ("train_loss", "val_loss")]
    speed = row["images_per_second"]
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
        f"  loss {losses[0]} val {losses[1]}"
        f"  top-1 error {percent(row['train_top1_error']):>7} val {percent(row['val_top1_error']):>7}"
        f"{' *' if row['val_top1_error'] == row['best_top1_error'] else '  '}"
        f"  top-5 {percent(row['val_top5_error']):>7}" + ("" if speed is None else f"  {speed:,.0f} images/s")
    )


def evaluation_line(row: dict[str, Any]) -> str:
    """Format an evaluation that another loop than `train` recorded."""
    losses = {"train_loss": "loss", "val_loss": "val loss"}
    errors = {"train_top1_error": "top-1 error", "val_top1_error": "val top-1 error"}
    said = [f"{word} {math.nan if row[key] is None else row[key]:.3f}" for key, word in losses.items() if key in row]
    said += [f"{word} {percent(row[key])}" for key, word in errors.items() if key in row]
    return "  ".join([f"step {row['step']:,}", *said])


def describe(start: RunOverview) -> list[str]:
    """Describe network, data and settings in three lines."""
    config, engine = start.config, start.engine
    model, data, optim = config.model, config.data, config.optim
    where = f"{engine.device.type}, {config.run.precision}"
    if engine.world_size > 1:
        where += f", {engine.world_size} processes ({engine.parallel})"
    micro = "" if optim.micro_batch_size is None else f" in micro-batches of {optim.micro_batch_size}"
    clip = "no clipping" if optim.clip is None else f"clip {optim.clip:g}"
    begun = "" if start.position.step == 0 else f", resumed after step {start.position.step:,}"
    return [
        f"VGG-{model.config}  width {model.width:g}, {start.num_parameters:,} parameters; plan {config.init.plan};"
        f" input {data.input}",
        f"{data.name}  {start.num_train:,} training and {start.num_val:,} validation images of {data.size} pixels,"
        f" cropped to {data.crop}; {start.num_classes} classes, chance: loss {math.log(start.num_classes):.3f},"
        f" top-1 error {percent(1 - 1 / start.num_classes)}",
        f"{optim.epochs} epochs of {start.steps_per_epoch} steps of {optim.batch_size} images{micro}; lr {optim.lr:g}"
        f" ({optim.schedule}), {clip}; {where}; seed {config.run.seed}; {start.folder}{begun}",
    ]


def init_table(rows: Sequence[LayerInit]) -> Table:
    """Draw the initialisation table, and the gain budget below it."""
    budget = init_budget(rows)
    said = "not finite" if budget is None else power(budget)
    caption = f"gain budget of the weights: sum of log10 gain = {said}"
    table = Table(caption=caption, caption_justify="left", padding=(0, 1, 0, 0), pad_edge=False, box=None)
    for name in INIT_COLUMNS:
        is_text = name in ("layer", "shape", "scheme")
        # Where the terminal is narrow, words break over lines; numbers stay whole.
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in rows:
        table.add_row(*init_cells(row))
    return table


def result_table(start: RunOverview, outcome: Outcome, report: Path) -> Table:
    """Draw the results and the path of the report."""
    table = Table(show_header=False, title=f"{start.folder}: {outcome.status}", title_justify="left")
    table.add_column("what", no_wrap=True)
    table.add_column("value", overflow="fold")
    row, plateau = outcome.evaluation, outcome.position.plateau
    if row:
        of = f"of {row['val_num_examples']:,} validation images"
        table.add_row("top-1 error, last epoch", f"{percent(row['val_top1_error'])} {of}")
        table.add_row("top-5 error, last epoch", f"{percent(row['val_top5_error'])}")
        table.add_row("top-1 error, best epoch", f"{percent(plateau.best_error)} after step {plateau.best_step:,}")
    table.add_row("trained", f"{outcome.position.epoch} epochs, {outcome.position.step:,} steps")
    if outcome.images_per_second:
        table.add_row("speed", f"{outcome.images_per_second:,.0f} images/s")
    table.add_row("report", str(report))
    return table
