"""How the cost of a run on many GPUs looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from trainability.formats import duration, number

if TYPE_CHECKING:
    from trainability.training.cost import StepCost, Work


def print_costs(
    console: Console, net: str, work: Work, rate: str, images_per_second: float, steps: dict[str, list[StepCost]]
) -> None:
    """Print what is known of the network, then a table for each way to share the batch.

    Args:
        console: of the output.
        net: what it is, in words.
        work: of the network.
        rate: where the rate comes from, in words.
        images_per_second: of one process.
        steps: costs by the number of processes, for each way.
    """
    lines = [
        f"{net}: {work.num_parameters:,} parameters,"
        f" {work.forward / 1e9:,.3g} GFLOP forward, {work.step / 1e9:,.3g} for a training image",
        f"one GPU alone: {images_per_second:,.4g} images/s = {images_per_second * work.step / 1e12:,.3g} TFLOP/s ({rate})",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    for name, costs in steps.items():
        console.print(f"\n{name}", highlight=False)
        console.print(_table(costs))
    console.print(
        "images: of a step, per GPU; links: communication alone. used: share of the GPUs' rate, with communication hidden"
        " behind the backward pass where it can be; unhidden: where none is. Not counted: reading the images, and"
        " that a GPU with few images computes at a lower rate.",
        highlight=False,
    )
    sizes = {round(step.images * step.num_processes) for costs in steps.values() for step in costs}
    if (largest := max(sizes)) > min(sizes):
        console.print(f"A batch of {largest:,} images needs another learning rate, and may generalise worse.", highlight=False)


def _table(costs: list[StepCost]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("GPUs", "images", "arithmetic", "links", "step", "used", "unhidden", "whole run"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(
            f"{cost.num_processes:,}",
            number(cost.images, ".3g"),
            *(_short(seconds) for seconds in (cost.compute, cost.communication, cost.seconds)),
            f"{100 * cost.efficiency:.0f} %",
            f"{100 * cost.worst_efficiency:.0f} %",
            duration(cost.seconds * cost.steps),
        )
    return table


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
