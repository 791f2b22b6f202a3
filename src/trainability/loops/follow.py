"""`trainability.follow`: what `trainability run` does with a script, from inside a program."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

from trainability.doctor.arguments import check_counts, with_near_names
from trainability.loops.saying import folder_for_run
from trainability.loops.script_watch import ScriptWatch
from trainability.training.free_folder import check_is_path


@with_near_names
def follow(*, every: int = 50, run: str | Path | None = None) -> ScriptWatch:
    """Watch everything that this program trains from here on, as `trainability run` watches a script, until it ends.

    Call it before models and optimizers are made. The loop needs no other line, however many networks it trains.

    Args:
        every: sample layers at every so many optimizer steps.
        run: directory to write, with one below it for each optimizer where there are several; if it holds a run already, the
            next free one beside it, NAME-002 and so on. `None` writes none.

    Returns:
        The watch: `diagnoses`, and `end(None)` to stop earlier.

    Raises:
        ValueError: `every` is no whole number from 1, or `run` no path.
    """
    check_counts(every=every)
    if run is not None:
        check_is_path("run", run)
    folder = None if run is None else Path(run).resolve()
    place = None if folder is None else lambda: folder_for_run(folder, holds_several=True)
    watch = ScriptWatch(Path(sys.argv[0] or "python"), every=every, most_steps=None, place=place)
    watch.begin()
    atexit.register(watch.end, None)
    return watch
