"""`trainability pack`: rescale the images of a data set once."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from trainability.config import DataConfig, RunConfig, in_range


def pack(data: Annotated[DataConfig, arg(name="data")], *, processes: int | None = None) -> int:
    """Rescale the images of a data set once, for fast reading. The smaller side becomes data.size.

    The same command continues an interrupted pack, and verifies the checksums of a finished one. Broken images are listed
    and left out; more than 1 % of them is an error.

    Args:
        data: the data set.
        processes: number of decoding processes. None takes one per core.
    """
    if processes is not None:
        in_range("processes", processes, at_least=1)

    from trainability.cli.progress import progress_of
    from trainability.data import cache
    from trainability.terminal.console import plain_console

    console = plain_console()
    with progress_of(console) as progress:
        result = cache.pack(RunConfig(data=data).completed().data, num_workers=processes, progress=progress)
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
