"""Growth of the weights at the end of the rehearsals of `prediction_runs.py` and `real_sets.py`, made before it was measured.

    OMP_NUM_THREADS=1 python benchmarks/prediction_growth.py --data-root ../shared/data          # restartable; a second a run
    OMP_NUM_THREADS=1 python benchmarks/prediction_growth.py --data-root ../shared/data --real   # those of real_sets.py

A run is made anew from its description, and as many steps are rehearsed as then; critical steps and looks on the way are left
out, since they change nothing. The loss after the last step is compared with what was kept, and written down beside it.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import real_sets
from prediction_runs import DATA, STEPS, build, rows
from torch.nn import functional as F

from trainability.checking.run import assembled
from trainability.doctor.measure import rehearsed_steps
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import Growth, Rehearsal
from trainability.training.rehearsing import rehearse_run

GROWTH = Path(__file__).parent / "results" / "prediction-growth.jsonl"
Row = dict[str, Any]


@cache
def growths(path: Path = GROWTH) -> dict[str, Growth]:
    """What was measured, by the name of the run; without those where nothing was to be measured."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {row["name"]: Growth(**row["growth"]) for row in found if row["growth"] is not None}


def measured(row: Row, root: Path) -> Row:
    """Rehearse a run anew."""
    program, steps = build(row["spec"], root), len(row["check"]["norms"])
    found = rehearse(
        program.model,
        program.optimizer,
        program.batches,
        loss_fn=F.cross_entropy,
        clip=program.clip,
        planned_steps=STEPS,
        max_steps=steps,
        seconds=60.0,
    )
    return _kept(row["spec"]["name"], steps, found, row["check"]["looks"][-1][1])


def measured_on_a_real_set(row: Row, root: Path) -> Row:
    """Rehearse a run of `train` anew, from its configuration."""
    place = real_sets.Place(data_root=root, cache=None, device="cpu", never_steps=0)
    steps, config = len(row["check"]["rehearsal"]["norms"]), real_sets.config_of(row["spec"], place)
    with assembled(config) as look:
        found = rehearse_run(
            look.parts, look.config, look.engine, planned_steps=look.planned_steps, seconds=600.0, max_steps=steps
        )
    return _kept(row["name"], steps, found, row["check"]["rehearsal"]["looks"][-1][1])


def _kept(name: str, steps: int, found: Rehearsal, loss: float | None) -> Row:
    growth = None if found.growth is None else {n: float(f"{v:.5g}") for n, v in dataclasses.asdict(found.growth).items()}
    return {"name": name, "steps": steps, "growth": growth, "losses": [_plain(found.reference[-1].loss), loss]}


def _plain(loss: float) -> float | str:
    return float(f"{loss:.6g}") if abs(loss) < 1e300 else str(loss)


def _lacking(path: Path, *, real: bool) -> Iterator[Row]:
    done = {json.loads(line)["name"] for line in path.read_text().splitlines()} if path.exists() else set()
    found = [row for row in real_sets.rows(real_sets.RUNS).values() if "run" in row] if real else rows()
    yield from (row for row in found if row["spec"]["name"] not in done)


def main() -> None:
    """Append the rows that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=GROWTH)
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--real", action="store_true", help="the runs of real_sets.py that were trained")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this call; what is not begun by then is left")
    options = parser.parse_args()
    rehearsed_steps.CRITICAL_STEPS = rehearsed_steps.REFERENCE_STEPS = ()
    began = time.monotonic()
    with options.path.open("a") as file:
        for row in _lacking(options.path, real=options.real):
            made = (measured_on_a_real_set if options.real else measured)(row, options.data_root)
            file.write(json.dumps(made) + "\n")
            file.flush()
            if time.monotonic() - began > 60 * options.minutes:
                return


if __name__ == "__main__":
    main()
