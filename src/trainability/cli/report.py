"""`trainability report` and `watch`: pages and live views of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def report(
    runs: Positional[tuple[Path, ...]],
    *,
    against: Literal["paper", "log"] | None = None,
    out: Path | None = None,
    serve: bool = False,
    port: int | None = None,
) -> int:
    """Write report.html into run directories. Each is one file that works offline. Runs may be finished, in progress or killed.

    For two or more runs, also write one page that compares them.

    Args:
        runs: run directories, or names of runs below runs, as `trainability runs` lists them. A directory that contains one
            for each of several optimizers stands for all of them.
        against: also draw published errors: the paper's, or those of the public training log that `trials` re-runs.
            ImageNet only; for other runs the page says that there is nothing to compare with.
        out: the page that compares two or more runs. None writes comparison.html next to the first run's directory.
        serve: serve the report of one run until Ctrl-C, at an address that only this machine can reach, and refresh it while
            the run is in progress. Writes nothing.
        port: for --serve. None takes a free one.
    """
    if not runs:
        raise ValueError("report needs a run directory: trainability report RUN [RUN ...]")
    if serve:
        return _serve(runs, port)
    if port is not None:
        raise ValueError(f"--port {port} is for --serve: trainability report RUN --serve --port {port}")
    from trainability.report.html import write_report
    from trainability.training.run_list import find_runs

    runs = tuple(found for run in runs for found in find_runs(run))
    if out is not None and len(runs) < 2:
        raise ValueError("--out is for the page that compares runs; give two or more of them")
    for run in runs:
        print(write_report(run, against=against))
    if len(runs) > 1:
        from trainability.report.compare import write_comparison

        print(write_comparison(runs, out=out, against=against))
    return 0


def _serve(runs: tuple[Path, ...], port: int | None) -> int:
    """Serve the report of one run until Ctrl-C."""
    if len(runs) != 1:
        raise ValueError(f"--serve shows one run, and got {len(runs)}: {', '.join(map(str, runs))}")
    try:
        from trainability.report.serve import serve_report
        from trainability.training.run_list import find_run

        serve_report(find_run(runs[0]), port=port)
    except KeyboardInterrupt:
        pass
    return 0


def watch(run: Positional[Path], *, every: float = 2, once: bool = False) -> int:
    """Show a run in progress: curves, layers, findings, verdict. Only reads the run, which may be on a shared disk.

    In a terminal it uses the whole screen, elsewhere it prints a line per epoch and finding. It ends when the run ends;
    Ctrl-C does not stop the run.

    Exit code: 0 the run has ended, or Ctrl-C; 2 no readable run.

    Args:
        run: run directory, or its name below runs. If it contains one run directory for each of several optimizers, all
            are shown, one below the other.
        every: seconds between two reads of the run.
        once: draw the run once, and exit; also for a run that has ended.
    """
    try:
        from trainability.training.run_list import find_runs
        from trainability.watch.screen import watch_run

        watch_run(*find_runs(run), every=every, once=once)
    except KeyboardInterrupt:
        pass
    return 0
