"""What `train` costs with its defaults, over the same run without the check and the monitor.

    python benchmarks/watched.py                 # A at an eighth, B at a quarter and at full width, fp32 and bf16

Two runs of `trainability.fit` in one process, each in a thread that makes 50 steps, of which the monitor samples one, while the
other waits; who is first alternates. They have the same network, data and seeds. The ratio is unwatched / watched of each turn
(goal 0.97): median and quartiles over the turns after the first, by the clock and in processor time on all cores. Beside it
stands what comes once, before the first step: the check, the first plan of the layers and all else that the watched run does
there and the other does not, in steps of the unwatched run.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from throughput import setting

from trainability.config import RunConfig
from trainability.training import engine as engines
from trainability.training.loop import fit
from trainability.training.parts import assemble
from trainability.training.record import RunWriter, environment

EVERY = 50
"""Steps of a turn, and between sampled ones."""
RESULTS = Path(__file__).parent / "results" / "watched.json"
_WATCHING: dict[str, dict[str, Any]] = {"watched": {}, "unwatched": {"check": "off", "monitor_every_steps": None}}


class Turned:
    """A run in a thread of its own that goes on while it is asked to; it is also its display."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._asked, self._answered = threading.Semaphore(0), threading.Semaphore(0)
        self._num_due, self._is_over = 1, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(config, folder), daemon=True)
        self._thread.start()

    def _run(self, config: RunConfig, folder: Path) -> None:
        self._asked.acquire()
        try:
            with engines.start(config.run) as engine, contextlib.suppress(KeyboardInterrupt):
                fit(config, assemble(config, engine), RunWriter.create(folder, config), engine=engine, display=self)
        except BaseException as error:
            self._error = error
        self._answered.release()

    def steps(self, num_steps: int) -> tuple[float, float]:
        """Make so many steps.

        Returns:
            Seconds by the clock, and of the process on all cores.
        """
        self._num_due = num_steps
        seconds, processor = time.perf_counter(), time.process_time()
        self._asked.release()
        self._answered.acquire()
        if self._error is not None:
            raise self._error
        return time.perf_counter() - seconds, time.process_time() - processor

    def end(self) -> None:
        """Stop the run."""
        self._is_over = True
        self._asked.release()
        self._thread.join()

    def start(self, start: object) -> None:
        """Nothing to show."""

    def step(self, position: object) -> None:
        """Give way after the last step that is due."""
        self._num_due -= 1
        if self._num_due == 0:
            self._answered.release()
            self._asked.acquire()
            if self._is_over:
                raise KeyboardInterrupt

    def rows(self, rows: object) -> None:
        """Nothing to show."""

    def diagnosed(self, diagnosis: object, new: object) -> None:
        """Nothing to show."""

    def evaluation(self, row: object) -> None:
        """Nothing to show."""


def measure(config: str, width: float, precision: str, num_turns: int) -> dict[str, Any]:
    """Time both runs by turns.

    Returns:
        Quartiles of unwatched / watched, and what comes once, in steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        num_steps = EVERY * (num_turns + 2)
        configs = {way: setting(config, width, 32, precision, 64, "cpu", num_steps, how) for way, how in _WATCHING.items()}
        runs = {way: Turned(complete, Path(folder) / way) for way, complete in configs.items()}
        once = {way: run.steps(EVERY) for way, run in runs.items()}
        rows = []
        for turn in range(num_turns):
            order = list(runs.items())[:: 1 if turn % 2 else -1]
            rows.append({way: run.steps(EVERY) for way, run in order})
        for run in runs.values():
            run.end()
    seconds, processor = (
        [
            round(quartile, 4)
            for quartile in statistics.quantiles([row["unwatched"][k] / row["watched"][k] for row in rows], n=4)
        ]
        for k in (0, 1)
    )
    step = statistics.median(row["unwatched"][1] for row in rows) / EVERY
    return {
        "model": f"{config} x{width:g}",
        "precision": precision,
        "num_turns": num_turns,
        "steps_per_turn": EVERY,
        "step_ms": 1000 * statistics.median(row["unwatched"][0] for row in rows) / EVERY,
        "unwatched/watched": seconds,
        "unwatched/watched, processor": processor,
        "once_steps, processor": round((once["watched"][1] - once["unwatched"][1]) / step, 1),
    }


def main() -> None:
    """Run the rows, print a table, write JSON."""
    parser = argparse.ArgumentParser(description="What watching costs `train`; see the head of the file.")
    parser.add_argument("--turns", type=int, default=12, help="turns of a row of the small networks; of the full one a quarter")
    parser.add_argument("--only", nargs="*", default=["small", "quarter", "full"], choices=["small", "quarter", "full"])
    arguments = parser.parse_args()
    # One heap for all threads: where each has its own, large tensors are mapped and cleared anew at every step.
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(-8, 1)
    few = max(2, arguments.turns // 4)
    nets = {"small": ("A", 0.125, arguments.turns), "quarter": ("B", 0.25, arguments.turns), "full": ("B", 1.0, few)}
    measure("A", 0.125, "fp32", 2)  # what is imported at first use belongs to no row
    rows = []
    for which in arguments.only:
        config, width, num_turns = nets[which]
        rows += [measure(config, width, precision, num_turns) for precision in ("fp32", "bf16")]
    table = Table(title=f"unwatched / watched: median (quartiles) over turns of {EVERY} steps", title_justify="left")
    for name in ("network", "precision", "step, ms", "by the clock", "processor", "once, in steps"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in rows:
        ratios = [
            f"{middle:.3f} ({low:.3f}-{high:.3f})"
            for low, middle, high in (row["unwatched/watched"], row["unwatched/watched, processor"])
        ]
        table.add_row(row["model"], row["precision"], f"{row['step_ms']:.0f}", *ratios, f"{row['once_steps, processor']:.0f}")
    console = Console(width=130)
    console.print(table)
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    console.print(f"{machine['device']}, {machine['num_threads']} threads, torch {torch.__version__}; {RESULTS.name}")


if __name__ == "__main__":
    main()
