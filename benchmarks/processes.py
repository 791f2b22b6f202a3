"""What comparing the processes costs: a data-parallel loop under Monitor, with the comparison and without it.

Two processes with gloo on this machine train one net under DistributedDataParallel: VGG-B at a quarter of its width, 64 images
of 32 pixels in each process, SGD, as in overhead.py. Four loops run interleaved, in turns of five steps: unwatched, unwatched
again (what two equal loops differ by), watched with the comparison switched off, and watched. What is compared is processor
time of the first process, all threads, as a ratio of each round to the unwatched loop; the figure is the median, with
quartiles. Also: what `tell` takes (it writes, reads and compares; wall time), and how many bytes a process writes.

    OMP_NUM_THREADS=1 python benchmarks/processes.py
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from overhead import small_vgg
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from trainability.doctor import Monitor
from trainability.doctor.measure import exchange, processes
from trainability.training.record import environment

TURN = 5  # steps
RESULTS = Path(__file__).parent / "results" / "processes.json"


class Loop:
    """A data-parallel loop with its own model; `run` takes steps and returns processor seconds."""

    def __init__(self, rank: int, options: argparse.Namespace, every: int | None, *, compares: bool = True) -> None:
        torch.manual_seed(0)
        self.net = DistributedDataParallel(small_vgg(options.width))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3, momentum=0.9)
        torch.manual_seed(1 + rank)
        self.images, self.labels = torch.randn(options.batch_size, 3, 32, 32), torch.arange(options.batch_size) % 10
        self.monitor = Monitor(self.net, self.optimizer, every=every) if every is not None else None
        self.compares = compares

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """What is entered for the loop's whole life."""
        return self.monitor if self.monitor is not None else contextlib.nullcontext()

    def run(self, steps: int) -> float:
        """Take steps."""
        off = contextlib.nullcontext() if self.compares else mock.patch.object(processes, "layout_of", return_value=None)
        start = time.process_time()
        with off:
            for _ in range(steps):
                loss = F.cross_entropy(self.net(self.images), self.labels)
                loss.backward()
                if self.monitor is not None:
                    self.monitor.after_backward(loss)
                self.optimizer.step()
                self.optimizer.zero_grad()
        return time.process_time() - start


class Told:
    """Counts calls of `Exchange.tell`: seconds of wall time, and bytes written."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.num_bytes: list[int] = []

    def install(self) -> None:
        """Wrap the calls."""
        tell, write = exchange.Exchange.tell, exchange.Exchange._write

        def timed(each: Any, post: Any) -> None:
            start, before = time.perf_counter(), len(self.num_bytes)
            tell(each, post)
            self.seconds.append(time.perf_counter() - start)
            self.num_bytes[before:] = [sum(self.num_bytes[before:])]

        def counted(each: Any, which: str, *, ended: bool) -> None:
            write(each, which, ended=ended)
            self.num_bytes.append(len(each._store.get(each._key(f"{each._rank}/{which}"))))

        exchange.Exchange.tell, exchange.Exchange._write = timed, counted  # type: ignore[method-assign]


def measure(rank: int, every: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median ratios and their quartiles to the unwatched loop at one sampling interval."""
    off = mock.patch.object(processes, "layout_of", return_value=None)
    loops = {"plain": Loop(rank, options, None), "plain again": Loop(rank, options, None)}
    loops |= {"alone": Loop(rank, options, every, compares=False), "compared": Loop(rank, options, every)}
    times: dict[str, list[float]] = {name: [] for name in loops}
    with contextlib.ExitStack() as stack:
        with off:
            stack.enter_context(loops["alone"].context())
        stack.enter_context(loops["compared"].context())
        for loop in loops.values():
            loop.run(2)
        turns = max(1, every // TURN)
        for _ in range(max(5, options.steps // (turns * TURN))):
            sums = dict.fromkeys(loops, 0.0)
            for _ in range(turns):
                for name, loop in loops.items():
                    sums[name] += loop.run(TURN)
            for name, seconds in sums.items():
                times[name].append(seconds / (turns * TURN))
        start = time.perf_counter()
    row: dict[str, Any] = {
        "rounds": len(times["plain"]),
        "seconds_per_step": statistics.median(times["plain"]),
        "seconds_to_end": time.perf_counter() - start,
    }
    compared, alone = loops["compared"].monitor, loops["alone"].monitor
    assert compared is not None
    assert alone is not None
    assert compared.evidence().processes is not None
    assert compared.evidence().problems == ()
    assert alone.evidence().processes is None
    pairs = {"plain again": ("plain again", "plain"), "Monitor": ("alone", "plain"), "Monitor, compared": ("compared", "plain")}
    for name, (one, other) in {**pairs, "comparing": ("compared", "alone")}.items():
        ratios = [a / b for a, b in zip(times[one], times[other], strict=True)]
        row[name] = statistics.median(ratios)
        row[f"{name} quartiles"] = [round(q, 4) for q in statistics.quantiles(ratios, n=4)[::2]]
    return row


def work(rank: int, port: int, options: argparse.Namespace) -> None:
    """One of the two processes; the first prints and writes."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    told = Told()
    rows = {every: measure(rank, every, options) for every in options.every}
    told.install()
    measure(rank, 1, argparse.Namespace(**{**vars(options), "steps": 25}))
    dist.destroy_process_group()
    if rank:
        return
    titles = [f"{title:>17}" for title in ("Monitor", "Monitor, compared", "compared/Monitor", "unwatched again")]
    print(f"{'every':>6}  {'s/step':>8}  {'  '.join(titles)}")
    for every, row in rows.items():
        ratios = [f"{row[name]:17.3f}" for name in ("Monitor", "Monitor, compared", "comparing", "plain again")]
        print(f"{every:>6}  {row['seconds_per_step']:8.4f}  {'  '.join(ratios)}")
    tell = {"median_seconds": statistics.median(told.seconds), "median_bytes": statistics.median(told.num_bytes)}
    print(f"tell: {1e3 * tell['median_seconds']:.2f} ms, {tell['median_bytes']:.0f} bytes, n = {len(told.seconds)}")
    machine = environment(device=torch.device("cpu"), world_size=2)
    del machine["command"]
    results = {"machine": machine, "settings": vars(options), "rows": rows, "tell": {**tell, "n": len(told.seconds)}}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Prints a table and writes it as JSON into results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--steps", type=int, default=100, help="per loop and interval; at least five rounds are made")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(work, (port, options), nprocs=2)


if __name__ == "__main__":
    main()
