"""`trainability runs`: the runs below a folder, one line each."""

from __future__ import annotations

import dataclasses
import json as json_module
import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from trainability.training.run_list import RunSummary

SortKey = Literal["name", "net", "data", "state", "error", "verdict", "cost", "started"]

_FIELDS: dict[SortKey, str] = {
    "name": "name",
    "net": "net",
    "data": "data",
    "state": "state",
    "error": "best_top1_error",
    "verdict": "verdict",
    "cost": "train_seconds",
    "started": "started",
}
_ALWAYS = ("run", "net", "state", "verdict")  # the other columns are left out if no run has a value
_WHOLE = ("state", "error", "cost")
_LEAST_WIDTH = 6
_GAP = 2
_FILTERS = ("name", "net", "data", "state", "verdict")


def runs(
    folder: Annotated[Positional[Path | None], arg(metavar="[FOLDER]")] = None,
    *,
    sort: SortKey = "name",
    reverse: bool = False,
    only: tuple[str, ...] = (),
    json: bool = False,
) -> int:
    """List runs: net, data, state, best error, verdict, cost. Of scripts also their arguments. Only reads them.

    If the folder is runs, the other commands accept these names instead of a path: trainability report digits-B-001

    Exit code: 0, or 2 for no such folder or an unknown filter.

    Args:
        folder: folder that contains run directories at any depth. None takes runs.
        sort: column to sort by; runs without a value come last.
        reverse: sort in descending order.
        only: FIELD=TEXT, with FIELD one of name, net, data, state and verdict: list only runs whose field contains the text.
            If there are several, all must match.
        json: print JSON, a list with an object for each run.
    """
    from trainability.training.run_list import ROOT, run_folders, summarise

    root = ROOT if folder is None else folder
    wanted = _filters(only)
    listed = [found for path in run_folders(root) if _passes(found := summarise(path, root=root), wanted)]
    listed = _sorted(listed, _FIELDS[sort], reverse=reverse)
    if json:
        print(json_module.dumps([dataclasses.asdict(found) for found in listed], indent=2, allow_nan=False))
        return 0
    _print(listed, root, any_filter=bool(wanted))
    return 0


def _state(found: RunSummary) -> str:
    """Return the state; for a run that did not finish, also how many epochs are done, if it counts them."""
    if found.state in ("finished", "damaged") or (found.epochs is None and not found.epoch):
        return found.state
    return f"{found.state} {found.epoch}/{found.epochs}" if found.epochs is not None else f"{found.state} epoch {found.epoch}"


def _filters(only: tuple[str, ...]) -> list[tuple[str, str]]:
    wanted = []
    for text in only:
        name, is_written, value = text.partition("=")
        if not is_written or name not in _FILTERS:
            raise ValueError(f"--only {text}: expected FIELD=TEXT, with FIELD one of {', '.join(_FILTERS)}")
        wanted.append((name, value.lower()))
    return wanted


def _passes(found: RunSummary, wanted: list[tuple[str, str]]) -> bool:
    return all(text in str(getattr(found, name) or "").lower() for name, text in wanted)


def _sorted(listed: list[RunSummary], field: str, *, reverse: bool) -> list[RunSummary]:
    """Sort by a field, runs without a value last in both directions."""
    value: Callable[[RunSummary], Any] = operator.attrgetter(field)
    having = sorted((found for found in listed if value(found) is not None), key=value, reverse=reverse)
    return having + [found for found in listed if value(found) is None]


def _widths(columns: dict[str, list[str]], width: int) -> dict[str, int]:
    """Return the widths of columns in a terminal: long texts are wrapped first, names of runs last."""
    longest = {name: max(map(len, (name, *column))) for name, column in columns.items()}
    widths: dict[str, int] = {}
    for whole in ((*_WHOLE, "run"), _WHOLE, ()):
        for most in range(max(longest.values()), _LEAST_WIDTH - 1, -1):
            widths = {name: size if name in whole else min(size, most) for name, size in longest.items()}
            if sum(widths.values()) + _GAP * len(widths) <= width:
                return widths
    return widths


def _print(listed: list[RunSummary], root: Path, *, any_filter: bool) -> None:
    from rich import box
    from rich.table import Table

    from trainability.formats import NONE, duration, percent
    from trainability.terminal.console import plain_console

    console = plain_console()
    if not listed:
        which = "no run passes the filter" if any_filter else "no runs yet; trainability train makes one"
        console.print(f"{root}: {which}", highlight=False, soft_wrap=True)
        return
    cells: dict[str, list[str]] = {
        "run": [found.name for found in listed],
        "arguments": [found.arguments or NONE for found in listed],
        "net": [found.net or NONE for found in listed],
        "data": [found.data or NONE for found in listed],
        "state": [_state(found) for found in listed],
        "error": [percent(found.best_top1_error) for found in listed],
        "verdict": [found.verdict or NONE for found in listed],
        "cost": [NONE if found.train_seconds is None else duration(found.train_seconds) for found in listed],
    }
    told = {name: column for name, column in cells.items() if name in _ALWAYS or any(cell != NONE for cell in column)}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name, width in _widths(told, console.width).items():
        right = "right" if name in ("error", "cost") else "left"
        table.add_column(name, justify=right, overflow="fold", no_wrap=name in _WHOLE, width=width)
    for row in zip(*told.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    counted = "1 run" if len(listed) == 1 else f"{len(listed)} runs"
    meanings = {"error": "; error: best top-1 of validation", "cost": "; cost: training time"}
    meant = "".join(meaning for name, meaning in meanings.items() if name in told)
    console.print(f"{counted} in {root}{meant}", highlight=False, soft_wrap=True)
    for found in listed:
        if found.problem:
            console.print(f"{found.name}: {found.problem}", highlight=False, soft_wrap=True)
