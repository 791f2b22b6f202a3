"""`trainability report` and `watch`: what a run looks like, when it has ended and while it goes on."""

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
    """Write report.html into run directories: one file each that works offline. Also of a run that is under way or was killed.

    Of two or more runs also one page that compares them.

    Args:
        runs: run directories.
        against: draw the paper's errors beside the run's, or those of the public training log that `trials` re-runs.
            ImageNet only; for another run the page says that there is nothing to compare with.
        out: the page that compares two or more runs. None writes comparison.html beside the first run's directory.
        serve: show the report of one run under an address of this machine, that only this machine reaches, and refresh it by
            itself while the run goes on, until Ctrl-C. Writes nothing.
        port: for --serve. None takes a free one.
    """
    if not runs:
        raise ValueError("report needs a run directory: trainability report RUN [RUN ...]")
    if serve:
        return _serve(runs, port)
    if port is not None:
        raise ValueError(f"--port {port} is for --serve: trainability report RUN --serve --port {port}")
    if out is not None and len(runs) < 2:
        raise ValueError("--out names the page that compares runs; give two or more of them")
    from trainability.report.html import write_report

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

        serve_report(runs[0], port=port)
    except KeyboardInterrupt:
        pass
    return 0


def watch(run: Positional[Path], *, every: float = 2, once: bool = False) -> int:
    """Show a run in progress: curves, layers, findings, verdict. Of a run on a shared disk too; it is only read.

    In a terminal the whole screen, elsewhere a line per epoch and finding. Ends with the run; Ctrl-C ends the watching only.

    Exit code: 0 the run has ended, or Ctrl-C; 2 no run that can be read.

    Args:
        run: run directory.
        every: seconds between two looks.
        once: draw the run as it is now, and exit; also of one that has ended.
    """
    try:
        from trainability.watch.screen import watch_run

        watch_run(run, every=every, once=once)
    except KeyboardInterrupt:
        pass
    return 0
