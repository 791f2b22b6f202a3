"""How far two seeds of one setting agree: what no prediction from settings alone can beat.

    OMP_NUM_THREADS=1 python benchmarks/prediction_seeds.py --count 123   # restartable; about two seconds a run

Runs of `prediction_runs.py`, of the half that predictions are set on, are made again with another seed of weights, order and
dropout. Runs whose budget is spread over the layers at random are left out: there the seed draws the setting too.
"""

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

from prediction import auc, is_scored
from prediction_runs import DATA, build, rows, trained

RESULTS = Path(__file__).parent / "results" / "prediction-seeds.jsonl"
OTHER = 5000  # added to the seed


def agreed(found: list[dict[str, Any]]) -> dict[str, Any]:
    """How many pairs have both the same outcome, and how many of those that both left did so within a factor."""
    left = [row["left"] for row in found if None not in row["left"]]
    same = sum(row["first"] == row["second"] for row in found)
    # Those that came back to chance stand behind all that stayed below it, and before those that never left.
    when = [(row["second"], -(row["left"][1] or math.inf)) for row in found]
    places = {key: place for place, key in enumerate(sorted(set(when)))}
    ranked = round(auc([places[key] for key in when], [row["first"] for row in found]), 4)
    return {"same_outcome": [same, len(found)], "auc_of_when_the_second_left": ranked} | {
        f"within_{factor:g}": [sum(1 / factor <= a / b <= factor for a, b in left), len(left)] for factor in (2.0, 1.5)
    }


def main() -> None:
    """Make the runs that the file lacks, and print how far they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=123)
    parser.add_argument("--data-root", type=Path, default=DATA)
    options = parser.parse_args()
    drawn = [row for row in rows() if row["spec"]["start"] != "shares" and not is_scored(row)]
    random.Random(0).shuffle(drawn)
    found = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    done = {row["name"] for row in found}
    with RESULTS.open("a") as file:
        for row in drawn[: options.count]:
            spec, first = row["spec"], row["run"]
            if spec["name"] in done:
                continue
            second = trained(build(spec | {"seed": spec["seed"] + OTHER}, options.data_root))
            left = [first["left_chance_step"], second["left_chance_step"]]
            pair = {
                "name": spec["name"],
                "net": spec["net"],
                "first": first["trained"],
                "second": second["trained"],
                "left": left,
            }
            file.write(json.dumps(pair) + "\n")
            file.flush()
            found.append(pair)
    for name, value in agreed(found).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
