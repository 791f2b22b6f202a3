"""`trainability pack`: rescale the images of a data set once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from trainability.config import DataConfig, RunConfig, in_range

if TYPE_CHECKING:
    from rich.progress import TaskID


def pack(data: Annotated[DataConfig, arg(name="data")], *, processes: int | None = None) -> int:
    """Rescale every image of a data set once, so that its smaller side is data.size, and store them to be read fast.

    An interrupted packing goes on where it was; a finished one is verified by its checksums. Broken images are listed and
    left out; more than 1 % of them stops.

    Args:
        data: the data set.
        processes: that decode. None takes one per core.
    """
    if processes is not None:
        in_range("processes", processes, at_least=1)

    from rich.console import Console

    from trainability.cli.progress import progress_bars
    from trainability.data import cache

    console = Console()
    bars = progress_bars(console)
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
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
