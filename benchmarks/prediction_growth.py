"""Growth of the weights at the end of the rehearsals of `prediction_runs.py` and `real_sets.py`, made before it was measured.

    OMP_NUM_THREADS=1 python benchmarks/prediction_growth.py --data-root ../shared/data   # restartable; a second a run

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

from prediction_runs import DATA, STEPS, build, rows
from torch.nn import functional as F

from trainability.doctor.measure import rehearsal as rehearsals
from trainability.doctor.rehearsed import Growth

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
    found = rehearsals.rehearse(
        program.model,
        program.optimizer,
        program.batches,
        loss_fn=F.cross_entropy,
        clip=program.clip,
        planned_steps=STEPS,
        max_steps=steps,
        seconds=60.0,
    )
    growth = None if found.growth is None else {n: float(f"{v:.5g}") for n, v in dataclasses.asdict(found.growth).items()}
    losses = [_plain(found.reference[-1].loss), row["check"]["looks"][-1][1]]
    return {"name": row["spec"]["name"], "steps": steps, "growth": growth, "losses": losses}


def _plain(loss: float) -> float | str:
    return float(f"{loss:.6g}") if abs(loss) < 1e300 else str(loss)


def _lacking(path: Path, want: str) -> Iterator[Row]:
    from prediction import is_scored  # it reads this module

    done = {json.loads(line)["name"] for line in path.read_text().splitlines()} if path.exists() else set()
    for row in rows():
        if row["spec"]["name"] not in done and want in ("both", "scored" if is_scored(row) else "set_on"):
            yield row


def main() -> None:
    """Append the rows that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=GROWTH)
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--half", choices=("both", "scored", "set_on"), default="both")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this call; what is not begun by then is left")
    options = parser.parse_args()
    rehearsals.CRITICAL_STEPS = rehearsals.REFERENCE_STEPS = ()
    began = time.monotonic()
    with options.path.open("a") as file:
        for row in _lacking(options.path, options.half):
            file.write(json.dumps(measured(row, options.data_root)) + "\n")
            file.flush()
            if time.monotonic() - began > 60 * options.minutes:
                return


if __name__ == "__main__":
    main()
