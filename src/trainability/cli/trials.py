"""`trainability trials list`, `run` and `report`: the book of trials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

BOOK_FOLDER = Path("runs/trials")


def list_trials() -> int:
    """List every trial with its chapter, its data, and what the log reports."""
    from trainability.cli.book import print_book

    print_book()
    return 0


def run_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="ID|CHAPTER|all")],
    *,
    scale: Literal["pocket", "real", "full"] = "pocket",
    as_published: bool = False,
    repaired: bool = False,
    data_path: Path | None = None,
    dir: Path = BOOK_FOLDER,
    processes: int | None = None,
    keep_weights: bool = False,
) -> int:
    """Make the runs of trials and compare them with the log: is its result reproduced, and does its explanation hold?

    Runs that exist are not made again; an interrupted run continues.

    Args:
        names: trials or chapters, as trials list prints them, or all.
        scale: pocket: minutes on two cores, 32 pixels, generated images instead of the data. real: the real data sets, 32
            pixels, the paper's width. full: as in the log, 224 pixels.
        as_published: only the runs with the bugs of the published code.
        repaired: only the runs without them. By default, both are made.
        data_path: folder with caltech256, imagenet, cifar100 and so on, for real and full. Missing sets come from the Hub.
        dir: folder of the runs.
        processes: runs at the same time, each on one core. None takes one per core, or one on a GPU.
        keep_weights: keep the checkpoints of every run, which take gigabytes.
    """
    from trainability.cli.book import replay_book

    if data_path is not None and not data_path.is_dir():
        raise ValueError(f"--data-path {data_path}: no such folder")
    if not names:
        raise ValueError("trials run needs trials or chapters, or all; trainability trials list shows them")
    both = as_published == repaired
    return replay_book(
        names,
        scale=scale,
        variants=["as-published", "repaired"] if both else ["as-published"] if as_published else ["repaired"],
        data_path=data_path,
        root=dir,
        num_processes=processes,
        keep_weights=keep_weights,
    )


def report_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[ID|CHAPTER|all]")] = ("all",),
    *,
    scale: Literal["pocket", "real", "full"] = "pocket",
    dir: Path = BOOK_FOLDER,
    out: Path | None = None,
    markdown: Path | None = None,
) -> int:
    """Write the book's page: every trial in the log's order, what the log says and what was measured, with figures.

    One file that works offline, made from the existing runs; trials without runs are listed with the command that makes
    them.

    Args:
        names: trials or chapters, as trials list prints them, or all.
        scale: of the runs.
        dir: folder of the runs.
        out: the page. None writes book.html next to the runs.
        markdown: also write the table and the reasons as Markdown.
    """
    from trainability.trials.book import select

    select(names)  # does not import torch, so that an unknown name is refused at once
    from trainability.trials.report.page import write_book

    written = write_book(names, scale=scale, root=dir, standard=BOOK_FOLDER, out=out, markdown_path=markdown)
    for line in written.problems:
        print(f"not read: {line}", file=sys.stderr)
    print(f"{written.num_made} of {written.num_trials} trials have runs")
    for path in written.paths:
        print(path)
    return 0
