"""Draw a run on a screen of any size: progress and verdict, curves, findings, layers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable

from rich.console import Group
from rich.text import Text

from trainability.doctor.view import FindingView, finding_views, tone, verdict_title
from trainability.formats import duration, finite, percent
from trainability.terminal.styles import SEVERITY_STYLES, TONE_STYLES
from trainability.training.folder_verdict import folder_verdict
from trainability.training.run_state import run_state
from trainability.watch.canvas import Curve, plot
from trainability.watch.layer_lines import layer_lines
from trainability.watch.state import LiveRun, Means

# Between the report's light and dark colours, because the terminal's background is unknown.
TRAINING, VALIDATION, CHANCE = "#3a8edb", "#e0791f", "#808891"
_STATUS_STYLES = {"finished": "green", "interrupted": "yellow"}
_MIN_CURVES, _LOW = 10, 8  # fewest lines of the curves; the same in a terminal of fewer than 24 lines
_SPACIOUS = 30  # from this height on, blank lines separate the sections
_SIDE_BY_SIDE = 64  # from this width on, the two figures are side by side


def view(run: LiveRun, *, width: int, height: int, is_whole: bool = False) -> Group:
    """Draw a run.

    Args:
        run: as last read.
        width: in characters.
        height: in lines; if not everything fits, findings are shortened to a line each, then layers are left out.
        is_whole: for a pipe or a file: lines are wrapped instead of cut, and findings are complete, so there may be more lines.
    """
    head = [*_title(run, width), *_notes(run, width)]
    found = findings(run)
    short, long = _findings(found, width, is_short=True), _findings(found, width, is_short=False)
    styles = {name: SEVERITY_STYLES.get(item.severity, "") for item in reversed(found) for name in item.layers}
    room = max(height - len(head), 0)
    least = _MIN_CURVES if height >= 24 else _LOW
    # Room goes to the curves first, then to one line for each of the worst findings, then to layers; the rest to full
    # findings, then to higher curves.
    num_kept = max(min(room - least, 3 if height < _SPACIOUS else 8), 0)
    kept = short[:num_kept]
    if 0 < num_kept < len(short):
        more = f"and {len(short) - num_kept + 1} more findings: trainability diagnose {run.folder}"
        kept = [*kept[:-1], Text(more, style="dim")]
    layers = layer_lines(run.layers, styles, width=width, height=room - least - len(kept))
    blank = [Text()] if height >= _SPACIOUS else []
    if is_whole or len(long) + len(layers) + 2 * len(blank) <= room - least:
        kept = long
    sections = [section for section in (kept, layers) if section]
    curves = _figures(run, width, least if is_whole else room - sum(len(blank) + len(section) for section in sections))
    lines = [*head, *curves, *(line for section in sections for line in (*blank, *section))]
    if is_whole:
        return Group(*lines)
    lines = lines[:height]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


def _title(run: LiveRun, width: int) -> list[Text]:
    """Draw the header: network, data and status; progress and newest numbers; verdict."""
    state, style = _state(run)
    name = Text(title(run), style="bold")
    room = width - len(name) - len(state) - 4
    folder = str(run.folder)
    folder = folder if len(folder) <= room else "…" + folder[len(folder) - room + 1 :] if room > 8 else ""
    first = name.append(f"  {folder}", "not bold dim")
    first.append(" " * max(width - len(first) - len(state), 1)).append(state, f"not dim {style}")
    return [first, _progress(run, width), *_verdict(run)]


def title(run: LiveRun) -> str:
    """Name the network and its data; for a loop other than `train`, the model and the directory."""
    if run.config is None:
        return f"{run.loop.get('model', 'A model')} in {run.folder.resolve().name}"
    return f"VGG-{run.config.model.config} on {run.config.data.name}"


def _state(run: LiveRun) -> tuple[str, str]:
    if run.result is not None:
        status = str(run.result["status"])
        return status, _STATUS_STYLES.get(status, "red")
    if is_silent(run):
        return f"no record for {duration(run.silent_seconds)}", "yellow"
    if run.step is None:
        return "waiting for the first step", "yellow"
    return f"last record {duration(run.silent_seconds)} ago", "green"


def is_silent(run: LiveRun) -> bool:
    """Whether a run that has not ended has written nothing for longer than its steps take, and at least for a minute."""
    usual = 0.0
    if run.steps_per_second:
        usual = run.loop.get("every", 1) / run.steps_per_second
    if run.images_per_second and run.config is not None:
        usual = run.config.run.log_every_steps * run.config.optim.batch_size / run.images_per_second
    return run.result is None and run.silent_seconds > max(60, 10 * usual)


def _progress(run: LiveRun, width: int) -> Text:
    step = int(run.step["step"]) if run.step else 0
    if run.config is None:
        return _progress_of_loop(run, step)
    epochs, per_epoch = run.config.optim.epochs, run.steps_per_epoch
    line = Text(f"epoch {len(run.evaluations)}/{epochs} done")
    if per_epoch:
        total = epochs * per_epoch
        line.append(f"  step {step:,}/{total:,}  ")
        length = min(max(width - 76, 8), 40)
        full = round(length * min(step / total, 1))
        line.append("━" * full, TRAINING).append("━" * (length - full), "bright_black dim")
        line.append(f" {math.floor(100 * step / total)} %")
    # An epoch's mean is steadier; a run that has ended records its own.
    newest = run.result or (run.evaluations[-1] if run.evaluations else {})
    speed = finite(newest.get("images_per_second")) or run.images_per_second
    if speed:
        line.append(f"  {speed:,.0f} images/s")
    if speed and per_epoch and run.result is None and not is_silent(run) and run.data:
        left = (epochs * per_epoch - step) / per_epoch * run.data["num_train"] / speed
        line.append(f"  {duration(left)} left")
    return line


def _progress_of_loop(run: LiveRun, step: int) -> Text:
    planned = run.loop.get("planned_steps")
    line = Text(f"step {step:,}" + (f"/{planned:,}  {math.floor(100 * min(step / planned, 1))} %" if planned else ""))
    if run.steps_per_second:
        line.append(f"  {run.steps_per_second:,.3g} steps/s")
        if planned and run.result is None and not is_silent(run):
            line.append(f"  {duration(max(planned - step, 0) / run.steps_per_second)} left")
    return line


def _verdict(run: LiveRun) -> list[Text]:
    """Draw the verdict with its step."""
    if not run.findings:
        return []
    verdict = str(run.findings["verdict"])
    title = verdict_title(folder_verdict(run.folder, verdict), run.findings.get("remaining_steps"))
    line = Text(title.upper(), style=f"bold {TONE_STYLES[tone(verdict, run.findings.get('findings', ()))]}")
    line.append(f"  {run.findings['reason']}", "not bold default")
    seen_at = run.findings["step"]
    if run.result is not None and seen_at and seen_at == run.result["step"]:
        return [line]
    return [line.append(f"  (at step {seen_at:,})" if seen_at else "  (check before the first step)", "not bold dim default")]


def _notes(run: LiveRun, width: int) -> list[Text]:
    """Draw lines for exceptional events."""
    notes = []
    if run.result is not None:
        notes += [Text(line, style=_state(run)[1]) for line in textwrap.wrap(ending(run), max(width, 20))[:3]]
    elif is_silent(run):
        notes.append(Text(f"{run_state(run.folder, None)}: nothing was written for a while", style="yellow"))
    if run.first_nonfinite is not None and run.result is None:  # the message of an ended run contains it, too
        notes.append(Text(f"loss or gradient is NaN or infinite at step {run.first_nonfinite:,}", style="red"))
    notes += [Text(problem, style="yellow") for problem in run.problems]
    return notes


def ending(run: LiveRun) -> str:
    """Write in one line how a run ended.

    Args:
        run: with a result.
    """
    assert run.result is not None
    epochs = f"{run.result['epoch']:,} epochs, " if "epoch" in run.result else ""
    text = f"{run.result['status']} after {epochs}{run.result['step']:,} steps"
    if run.result.get("message"):
        text += f": {run.result['message']}"
    if run.result.get("best_top1_error") is not None:
        text += f"; best top-1 error {percent(run.result['best_top1_error'])} after step {run.result['best_step']:,}"
    return text


def findings(run: LiveRun) -> list[FindingView]:
    """List the findings, the most severe first."""
    return finding_views((run.findings or {}).get("findings", []))


def _findings(found: list[FindingView], width: int, *, is_short: bool) -> list[Text]:
    lines = []
    for item in found:
        head = Text(item.line) if is_short else Text(item.heading, style="bold")
        head.stylize(f"bold {SEVERITY_STYLES.get(item.severity, '')}", 0, len(item.severity))
        lines.append(head)
        for word, text in () if is_short else item.rows:
            wrapped = textwrap.wrap(text, max(width - 11, 20))
            lines += [Text.assemble((f"  {'' if i else word:<8} ", "dim"), part) for i, part in enumerate(wrapped)]
    return lines


def _figures(run: LiveRun, width: int, height: int) -> list[Text]:
    """Draw loss and top-1 error, side by side if there is room."""
    if height < 4 or width < 20:
        return []
    wide = width >= _SIDE_BY_SIDE
    each = (width - 2) // 2 if wide else width
    num_classes = run.num_classes
    unknown = finite((run.findings or {}).get("chance_loss")), None
    levels = (math.log(num_classes), 1 - 1 / num_classes) if num_classes else unknown
    if not wide and height < 2 * _LOW:
        return _figure(run, "loss", run.losses, levels[0], each, height)
    rows = height if wide else height // 2
    if not has_errors(run):
        return _figure(run, "loss", run.losses, levels[0], width, height)
    loss = _figure(run, "loss", run.losses, levels[0], each, rows)
    error = _figure(run, "top1_error", run.errors, levels[1], each, rows)
    if not wide:
        return [*loss, *error]
    lines = []
    for left, right in zip(loss, error, strict=True):
        left.truncate(each, pad=True)
        lines.append(left.append("  ").append_text(right))
    return lines


def has_errors(run: LiveRun) -> bool:
    """Whether there is a top-1 error to draw: a loop other than `train` may not report one."""
    return run.config is not None or any("val_top1_error" in row for row in run.evaluations)


def _figure(run: LiveRun, key: str, means: Means, level: float | None, width: int, height: int) -> list[Text]:
    write: Callable[[float | None], str] = _loss if key == "loss" else _error
    heading = Text("loss" if key == "loss" else "top-1 error", style="bold", no_wrap=True)
    parts = []
    if run.evaluations:
        newest = run.evaluations[-1]
        both = [("train", f"train_{key}", TRAINING), ("val", f"val_{key}", VALIDATION)]
        parts = [(word, newest[name], style) for word, name, style in both if name in newest]
    elif run.step and key in run.step:
        parts = [("train", run.step[key], TRAINING)]
    parts += [("chance", level, CHANCE)] if level is not None else []
    parts += [("now", run.step[key], TRAINING)] if run.step and run.evaluations and key in run.step else []
    for word, value, style in parts:
        text = f"  {word} {write(finite(value))}"
        if len(heading) + len(text) <= width:
            heading.append(text, f"not bold {style}")
    step = run.step["step"] if run.step else run.steps_per_epoch or 1
    curves = [
        # One point per character: the noise of single steps would only fill the canvas.
        Curve(points=means.points(width), style=TRAINING),
        Curve(points=[(row["step"], finite(row.get(f"val_{key}"))) for row in run.evaluations], style=VALIDATION),
    ]
    drawn = plot(curves, width=width, height=height - 2, last_x=step, level=level, level_style=CHANCE, label=write)
    return [heading, *drawn, _x_labels(run, width, step)]


def _x_labels(run: LiveRun, width: int, step: int) -> Text:
    per_epoch = run.steps_per_epoch
    right = f"epoch {step / per_epoch:.3g}" if per_epoch else f"step {step:,}"
    return Text(f"{'':7} 0{right:>{max(width - 9, 1)}}", style="dim", no_wrap=True)


def _loss(value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{value:.3f}" if value == 0 or 0.001 <= value < 100 else f"{value:.1e}"


def _error(value: float | None) -> str:
    return percent(value, missing="not finite")
