"""`trainability trials list`, `run` and `report`: the book of trials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

BOOK_FOLDER = Path("runs/trials")


def list_trials() -> int:
    """Show every trial: its chapter, the data it stands for, and what the seed says happened."""
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
    """Make the runs of trials and judge them: is it as the seed saw it, and does the seed's explanation hold.

    What is there already is not made again; a run that was broken off goes on where it was.

    Args:
        names: trials or chapters, as trials list shows them, or all.
        scale: pocket: minutes on two cores, 32 pixels, stand-ins for the data. real: the real sets, 32 pixels, the
            paper's width. full: as the seed, 224 pixels.
        as_published: only the runs with the bugs of the published code.
        repaired: only the runs without them. Neither makes both.
        data_path: folder with caltech256, imagenet, cifar100 and so on, for real and full. What it lacks comes from the Hub.
        dir: where the runs are kept.
        processes: runs side by side, each on one core. None takes one per core, or one on a GPU.
        keep_weights: keep the checkpoints of every run: gigabytes.
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
    """Write the book's page: every trial in the seed's order, what the seed says beside what was measured, with its pictures.

    One file that works offline, from the runs that are there; trials without runs are listed with the command that makes them.

    Args:
        names: trials or chapters, as trials list shows them, or all.
        scale: of the runs.
        dir: where the runs are.
        out: the page. None puts book.html beside the runs.
        markdown: write the table and the reasons as a page of documentation, too.
    """
    from trainability.trials.book import select

    select(names)  # imports no torch: a name that is none is refused at once
    from trainability.trials.report.page import write_book

    written = write_book(names, scale=scale, root=dir, standard=BOOK_FOLDER, out=out, markdown_path=markdown)
    for line in written.problems:
        print(f"not read: {line}", file=sys.stderr)
    print(f"{written.num_made} of {written.num_trials} trials have runs")
    for path in written.paths:
        print(path)
    return 0
