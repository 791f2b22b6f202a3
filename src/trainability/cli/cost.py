"""`trainability cost`: the cost of a run on many GPUs, without the GPUs."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from trainability.config import RunConfig, in_range


def cost(
    config: Annotated[RunConfig, arg(name="")],
    *,
    recipe: Path | None = None,
    processes: tuple[int, ...] = (1, 8, 64, 512),
    images_per_second: float | None = None,
    num_train: int | None = None,
    per_host: int = 8,
    within_host: float = 450.0,
    between_hosts: float = 50.0,
    seconds: float = 5.0,
    json: bool = False,
) -> int:
    """Calculate what a run costs on many GPUs. Arithmetic and communication per step, and the whole run.

    Counts the operations of the network, measures how many images per second this device trains (or takes the rate of
    another device), and computes the communication from the speeds of the links. Reads no data and writes nothing.

    The default speeds are published values for H100 hosts, per GPU and direction: NVLink 4 within a host, 400 Gb/s InfiniBand
    between hosts.

    Exit code: 0, or 2 for an unusable value.

    Args:
        config: the run, with the flags of train.
        recipe: TOML file with the same names, as for train.
        processes: numbers of GPUs; each has one process.
        images_per_second: rate at which one GPU alone trains, measured elsewhere. None measures this device.
        num_train: number of training images, if it is not known before the data is read.
        per_host: GPUs per host.
        within_host: gigabytes per second and direction of a GPU to the others of its host.
        between_hosts: gigabytes per second and direction of a GPU to other hosts.
        seconds: duration of the measurement.
        json: print JSON.
    """
    _check(processes, images_per_second, num_train, per_host, within_host, between_hosts, seconds)

    from trainability.training import cost as costs

    config = config.completed()
    images, classes = costs.extent_of(config, num_train)
    work = costs.work_of(config, classes)
    rate = images_per_second or costs.measured_rate(config, classes, seconds=seconds)
    links = costs.Links(per_host=per_host, within=within_host * 1e9, between=between_hosts * 1e9)
    each = config.optim.micro_batch_size or config.optim.batch_size
    steps = {
        name: [
            costs.step_cost(
                config, work, num_processes=n, batch_size=size(n), num_train=images, images_per_second=rate, links=links
            )
            for n in processes
        ]
        for name, size in (("same batch", lambda n: config.optim.batch_size), ("same batch per GPU", lambda n: each * n))
    }
    if json:
        rows = {name: [dataclasses.asdict(step) | {"efficiency": step.efficiency} for step in of] for name, of in steps.items()}
        print(json_module.dumps({"work": dataclasses.asdict(work), "images_per_second": rate, **rows}, indent=2))
        return 0
    from trainability.terminal.console import plain_console
    from trainability.terminal.cost import print_costs

    source = f"measured here, {config.run.precision}" if images_per_second is None else "as given"
    net = f"VGG-{config.model.config} at {config.data.crop} pixels, {config.run.parallel}"
    print_costs(plain_console(), net, work, source, rate, steps)
    return 0


def _check(
    processes: tuple[int, ...],
    images_per_second: float | None,
    num_train: int | None,
    per_host: int,
    within_host: float,
    between_hosts: float,
    seconds: float,
) -> None:
    for number in processes:
        in_range("processes", number, at_least=1, below=2**31)
    if not processes:
        raise ValueError("processes is empty; accepted: numbers of GPUs, as in --processes 8 64")
    in_range("per-host", per_host, at_least=1)
    for name, value in (("within-host", within_host), ("between-hosts", between_hosts), ("seconds", seconds)):
        in_range(name, value, above=0)
    if images_per_second is not None:
        in_range("images-per-second", images_per_second, above=0)
    if num_train is not None:
        in_range("num-train", num_train, at_least=1)
