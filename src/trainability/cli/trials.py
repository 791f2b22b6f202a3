"""`trainability trials list`, `run` and `report`: the book of trials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

BOOK_FOLDER = Path("runs/trials")


def list_trials() -> int:
    """List every trial: its data, what its runs cost, what the log reports."""
    from trainability.cli.book import print_book
    from trainability.terminal.console import plain_console

    print_book(plain_console())
    return 0


def run_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="ID|CHAPTER|all")],
    *,
    scale: Literal["pocket", "desk", "real", "full"] | None = None,
    as_run: bool = False,
    as_told: bool = False,
    repaired: bool = False,
    data_root: Path | None = None,
    data_path: tuple[str, ...] = (),
    dir: Path = BOOK_FOLDER,
    processes: int | None = None,
    cluster: str | None = None,
    keep_weights: bool = False,
) -> int:
    """Make the runs of trials and compare them with the log. Is its result reproduced, and does its explanation hold?

    Runs that exist are not made again; an interrupted run continues.

    Args:
        names: trials or chapters, as trials list prints them, or all.
        scale: pocket: minutes on two cores, 32 pixels, stand-ins for the data. desk: the real MNIST and CIFAR-10 on two
            cores, 32 pixels, a quarter of the width. real: the real sets, 32 pixels, the paper's width. full: as the log,
            224 pixels. None takes pocket, and also desk for the sets in --data-root.
        as_run: only what the log's code ran, with its bugs.
        as_told: only what the log's text describes, if it differs from the code.
        repaired: only what the code ran, without its bugs. Without these three flags, all are made; several may be given.
        data_root: folder that contains some of mnist, cifar10, imagenet-1000, caltech256 and so on. If it has photographs
            (imagenet-1000 or imagenet), starts are probed on these, too.
        data_path: NAME=PATH of sets in other places. Sets without a path come from the Hub.
        dir: folder of the runs.
        processes: runs at the same time, each on one core. None takes one per core, or one on a GPU.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, to make the runs there (needs the extra cluster); its workers
            see dir and the data under the same paths.
        keep_weights: keep the checkpoints of every run, which take gigabytes.
    """
    from trainability.cli.book import replay_book
    from trainability.trials.trial import VARIANTS

    if not names:
        raise ValueError("trials run needs trials or chapters, or all; trainability trials list shows them")
    wanted = {"as-run": as_run, "as-told": as_told, "repaired": repaired}
    return replay_book(
        names,
        scale=scale,
        variants=[variant for variant in VARIANTS if wanted[variant] or not any(wanted.values())],
        data_root=data_root,
        data_paths=data_path,
        root=dir,
        num_processes=processes,
        cluster=cluster,
        keep_weights=keep_weights,
    )


def report_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[ID|CHAPTER|all]")] = ("all",),
    *,
    scale: Literal["pocket", "desk", "real", "full"] = "pocket",
    dir: Path = BOOK_FOLDER,
    out: Path | None = None,
    markdown: Path | None = None,
) -> int:
    """Write the book's page: what the log says and what was measured. Every trial in the log's order, with figures.

    One file that works offline, made from the existing runs; trials without runs are listed with the command that makes
    them.

    Args:
        names: trials or chapters, as trials list prints them, or all.
        scale: scale of the runs; pocket also shows what was run at desk scale.
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
    print(written.counted)
    for path in written.paths:
        print(path)
    return 0
