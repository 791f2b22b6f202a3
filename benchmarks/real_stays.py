"""The doctor's predicted stay at chance on MNIST and CIFAR-10, made anew from what `real_sets.py` kept of each check.

    python benchmarks/real_stays.py

`real_sets.py score` scores the closed form as the check printed it. Here the same runs are scored by
`trainability.doctor.stay`, which also reads the rehearsal: a stay that was rehearsed to its end, and a closed form that the
rehearsal outlasted. The runs 0 to 111 suggested its rules, though no constant is fitted to them; those from 112 on were made
afterwards, once. A prediction for a run that was still at chance when it was stopped is right if it is no shorter.
"""

import argparse
import dataclasses
import math
import statistics
from pathlib import Path
from typing import Any

from prediction import rehearsal_of, settings_of
from real_sets import RUNS, Place, config_of, draw, holds, rows
from verdict_table import wilson

from trainability.doctor.rehearsed import Growth
from trainability.doctor.stay import Stay, predicted_stay

Row = dict[str, Any]
SCORED_FROM = 112  # runs before it suggested the rules of doctor/stay.py
TRAINING_IMAGES = {"mnist": 60_000, "cifar10": 50_000}


def stay_of(row: Row) -> Stay:
    """Predict from the closed form and the rehearsal that a row keeps."""
    spec, check = row["spec"], row["check"]
    place = Place(data_root=Path(), cache=None, device="cpu", never_steps=0)
    optim = config_of(draw(spec["seed"]), place).optim
    planned = math.ceil(TRAINING_IMAGES[spec["data"]] / optim.batch_size) * optim.epochs
    rehearsal = dataclasses.replace(rehearsal_of({"check": check["rehearsal"], "spec": spec}), planned_steps=planned)
    if "growth" in check:  # measured by the check itself
        rehearsal = dataclasses.replace(rehearsal, growth=Growth(**check["growth"]) if check["growth"] is not None else None)
    found = predicted_stay(rehearsal, float(check["predicted"]), settings_of(spec))
    assert found is not None
    return found


def is_right(stay: Stay, run: Row) -> bool:
    """Whether a stay is within a factor 2, or no shorter than a run that had not left."""
    return holds(stay.steps, run["left"]) if run["left"] is not None else stay.steps >= run["steps"]


def main() -> None:
    """Print a line a run, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    run = [(row, stay_of(row)) for row in rows(parser.parse_args().path).values() if "run" in row]
    for row, stay in sorted(run, key=lambda pair: pair[1].steps):
        left = row["run"]["left"] or f">{row['run']['steps']}"
        wrong = "" if is_right(stay, row["run"]) else "  *"
        said = f"closed form {float(row['check']['predicted']):6,.0f}  stay {stay.steps:9,.0f} ({stay.source})"
        print(f"{row['name']}  {said}  {left}{wrong}")
    for name, is_of in (("suggested the rules", lambda n: n < SCORED_FROM), ("scored", lambda n: n >= SCORED_FROM)):
        pairs = [pair for pair in run if is_of(pair[0]["spec"]["seed"])]
        print(f"{name}: {len(pairs)} runs")
        for what, part in (
            ("left, within a factor 2", [pair for pair in pairs if pair[0]["run"]["left"] is not None]),
            ("at chance when stopped, and no shorter", [pair for pair in pairs if pair[0]["run"]["ended_by"] == "most steps"]),
        ):
            closed = [(row, Stay(steps=float(row["check"]["predicted"]), source="closed form")) for row, _ in part]
            now, before = (sum(is_right(stay, row["run"]) for row, stay in found) for found in (part, closed))
            sure = " to ".join(f"{share:.0%}" for share in wilson(now, len(part)))
            print(f"  {what}: {now} of {len(part)} ({sure}); the closed form alone {before}")
    for dropout in sorted({row["spec"]["dropout"] for row, _ in run}):
        part = [row for row, _ in run if row["spec"]["dropout"] == dropout]
        left = [row["run"]["left"] / float(row["check"]["predicted"]) for row in part if row["run"]["left"] is not None]
        print(
            f"dropout {dropout}: {len(left)} of {len(part)} left, at {statistics.median(left):.2f} of the closed form (median)"
        )


if __name__ == "__main__":
    main()
