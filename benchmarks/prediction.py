"""What a check says before the first step, against what then happened: trained or not, and the steps at chance.

    python benchmarks/prediction.py          # scores results/prediction-runs.jsonl, which prediction_runs.py makes
    python benchmarks/prediction.py --wrong  # also lists what was wrong

A run has trained if the mean of its last 20 losses is below 0.9 of chance when it ends; it has left chance at the first step at
which that mean was so low. Runs are split by a hash of their names; what is fitted is fitted on one half, and scored on the
other.

Steps at chance are read off, in this order: the rehearsal itself, if it left chance; the rehearsal at a larger rate, if that
did, its steps multiplied by the scale (a rate c times as large goes c times as far a step, once momentum has filled); the
closed form (docs/theory.md, section 7); where that says nothing, the pace of the loss. Where none says that it leaves within
the plan, it is said to stay longer. "Never" is said where the closed form is infinite and no rehearsal left.

Whether it trains: a logistic regression on the steps at chance over the plan, what the rehearsals reached, the critical step,
the verdict, and how far the budget is from the band.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from prediction_runs import CHANCE, RUNS, STEPS, VGG, rows
from verdict_table import wilson

from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW

RESULTS = Path(__file__).parent / "results" / "prediction.json"
VERDICTS = ("will train", "cannot tell", "too slow", "unstable", "dead")
_FREE = 5.0  # as in the doctor: a scale above the critical multiple over this overshoots, and forecasts nothing
Row = dict[str, Any]


def is_scored(row: Row) -> bool:
    """Whether a run is in the half that is scored."""
    return hashlib.sha256(row["spec"]["name"].encode()).digest()[0] % 2 == 1


# --------------------------------------------------------------------------------------------------- steps at chance


def steps_at_chance(row: Row, constants: dict[str, float]) -> float:
    """Steps that the check predicts; infinite for never.

    Args:
        row: a run.
        constants: of `fitted`.
    """
    raw, source = read_off(row)
    return raw if not math.isfinite(raw) else max(float(WINDOW_STEPS), constants[source] * raw + constants["lag"])


def read_off(row: Row) -> tuple[float, str]:
    """Steps before any fit, and where they were read: "rehearsal", "forecast", "closed form", "pace" or "beyond"."""
    check = row["check"]
    if (step := _crossing(check["looks"])) is not None:
        return step, "rehearsal"
    momentum, furthest = row["spec"]["momentum"], 0.0
    for other in sorted(check["other_rates"], key=lambda other: other["scale"]):
        scale = other["scale"]
        if scale <= 1 or not _believed(row, scale) or other["ended_by"] != "steps":
            continue
        if (step := _crossing(other["looks"])) is not None:
            return _same_way(scale, step, momentum), "forecast"
        furthest = _same_way(scale, other["looks"][-1][0], momentum)
    plateau = check["plateau_steps"]
    if plateau is None:
        end = _at_this_pace(check["looks"])
        return (max(end, furthest), "pace") if end is not None else (max(2 * furthest, 1.5 * STEPS), "beyond")
    if plateau > 1e299:
        return math.inf, "closed form"
    return max(plateau, furthest), "closed form"


def _crossing(looks: Sequence[Sequence[float | None]]) -> float | None:
    """Step at which the loss first is below 0.9 of chance, on a straight line between two looks."""
    before: tuple[float, float] | None = None
    for step, loss, *_ in looks:
        if loss is None or loss > 1e299 or step is None:
            return None
        if loss < LEARNED * CHANCE:
            if before is None:
                return 0.0
            share = (before[1] - LEARNED * CHANCE) / (before[1] - loss)
            return before[0] + share * (step - before[0])
        before = (step, loss)
    return None


def _at_this_pace(looks: Sequence[Sequence[float | None]]) -> float | None:
    """Step at which a loss that falls as in the second half of the rehearsal, by equal factors, is below 0.9 of chance."""
    found = [(step, loss) for step, loss, *_ in looks if step is not None and loss is not None and 0 < loss < 1e299]
    if len(found) < 3 or len(found) < len(looks):
        return None
    (first, before), (last, after) = found[len(found) // 2], found[-1]
    if last <= first or after >= before:
        return None
    pace = math.log(before / after) / (last - first)
    steps = last + math.log(after / (LEARNED * CHANCE)) / pace
    return steps if steps < 10 * STEPS else None


def _believed(row: Row, scale: float) -> bool:
    multiple = typical_multiple(row)
    return multiple is not None and scale <= multiple / _FREE


def typical_multiple(row: Row) -> float | None:
    """Median of the critical multiples after the first step."""
    found = sorted(multiple for _, multiple, *_ in (row["check"]["critical"][1:] or row["check"]["critical"]) if multiple)
    return found[len(found) // 2] if found else None


def _same_way(scale: float, step: float, momentum: float) -> float:
    """Steps at the run's own rate that go as far as so many at a rate `scale` times as large.

    After n steps of momentum m the way is n - m (1 - m^n) / (1 - m) full steps: it takes a while to fill.
    """
    way = scale * _way(step, momentum)
    low, high = step, scale * step + 10 / (1 - momentum)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _way(middle, momentum) < way else (low, middle)
    return high


def _way(steps: float, momentum: float) -> float:
    return steps - momentum * (1 - momentum**steps) / (1 - momentum)


def fitted(half: list[Row]) -> dict[str, float]:
    """Factors by source, and the lag of a mean over 20 steps, that bring the median of measured over predicted to 1."""
    constants = {"rehearsal": 1.0, "forecast": 1.0, "closed form": 1.0, "pace": 1.0, "beyond": 1.0, "lag": WINDOW_STEPS / 2}
    for source in ("rehearsal", "forecast", "closed form", "pace"):
        pairs = [
            (row["run"]["left_chance_step"] - constants["lag"], raw)
            for row in half
            for raw, where in (read_off(row),)
            if where == source and row["run"]["left_chance_step"] is not None and math.isfinite(raw) and raw > 0
        ]
        ratios = sorted(max(measured, 1.0) / raw for measured, raw in pairs)
        if len(ratios) >= 5:
            constants[source] = ratios[len(ratios) // 2]
    return constants


# ----------------------------------------------------------------------------------------------------- trained or not


def features(row: Row, constants: dict[str, float]) -> list[float]:
    """What the check saw, each number about 1 in size."""
    check, predicted = row["check"], steps_at_chance(row, constants)
    multiple = typical_multiple(row)
    budget = check["budget"]
    # Where gains do not multiply, the logits' size takes the budget's place.
    if budget is None:
        rms = check["logit_rms"]
        budget = 2 * math.log10(rms) - math.log10(2) if rms and rms < 1e299 else 12.0
    own, best = _lowest(check["looks"]), [_lowest(o["looks"]) for o in check["other_rates"] if o["scale"] > 1]
    return [
        1.0,
        max(-3.0, min(3.0, math.log(max(predicted, 1.0) / STEPS))) if math.isfinite(predicted) else 3.0,
        float(predicted < STEPS),
        max(0.0, BUDGET_LOW - budget) / 5,
        max(0.0, budget - BUDGET_HIGH) / 5,
        math.log10(multiple) / 3 if multiple else 0.0,
        float(multiple is None or multiple < 2),
        own,
        min(best, default=1.0),
        *(float(check["verdict"] == verdict) for verdict in VERDICTS),
    ]


def _lowest(looks: Sequence[Sequence[float | None]]) -> float:
    """The last loss over chance, at most 2."""
    last = looks[-1][1] if looks else None
    return 2.0 if last is None else min(last / CHANCE, 2.0)


def regression(half: list[Row], constants: dict[str, float]) -> torch.Tensor:
    """Weights of the logistic regression, with a penalty that keeps them of the size of 1."""
    x = torch.tensor([features(row, constants) for row in half], dtype=torch.float64)
    y = torch.tensor([float(row["run"]["trained"]) for row in half], dtype=torch.float64)
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y) + 0.5 * weights.square().sum() / len(y)
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return weights.detach()


def auc(scores: Sequence[float], trained: Sequence[bool]) -> float:
    """Chance that a run that trained has a higher score than one that did not; ties count half."""
    yes = [score for score, is_true in zip(scores, trained, strict=True) if is_true]
    no = [score for score, is_true in zip(scores, trained, strict=True) if not is_true]
    if not yes or not no:
        return math.nan
    return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))


# ------------------------------------------------------------------------------------------------------------- scoring


def scored(found: list[Row]) -> dict[str, Any]:
    """Every figure of the table, and what was wrong."""
    constants = fitted([row for row in found if not is_scored(row)])
    weights = regression([row for row in found if not is_scored(row)], constants)
    half = [row for row in found if is_scored(row)]
    scores = [float(torch.tensor(features(row, constants), dtype=torch.float64) @ weights) for row in half]
    happened = [row["run"]["trained"] for row in half]
    result: dict[str, Any] = {
        "runs": len(found),
        "set_on": len(found) - len(half),
        "scored": len(half),
        "trained": sum(happened),
        "constants": {name: round(value, 3) for name, value in constants.items()},
        "auc": round(auc(scores, happened), 4),
    }
    for name in ("vgg", "other"):
        is_vgg = name == "vgg"
        part = [
            (s, row["run"]["trained"]) for s, row in zip(scores, half, strict=True) if (row["spec"]["net"] in VGG) == is_vgg
        ]
        result[f"auc_{name}"] = [round(auc([s for s, _ in part], [t for _, t in part]), 4), len(part)]
    wrong = sorted(((s > 0) != t, abs(s), row["spec"]["name"]) for s, t, row in zip(scores, happened, half, strict=True))
    result["right_side"] = sum(not is_wrong for is_wrong, *_ in wrong)
    result["wrong"] = [name for is_wrong, _, name in wrong if is_wrong]
    left = [(steps_at_chance(row, constants), row["run"]["left_chance_step"], row) for row in half]
    left = [(predicted, step, row) for predicted, step, row in left if step is not None]
    for factor in (2.0, 1.5):
        near = sum(1 / factor <= predicted / step <= factor for predicted, step, _ in left)
        result[f"within_{factor:g}"] = [near, len(left), *(round(value, 3) for value in wilson(near, len(left)))]
    closed = [(row["check"]["plateau_steps"], step) for _, step, row in left if row["check"]["plateau_steps"] is not None]
    result["closed_form_within_2"] = [sum(0.5 <= p / step <= 2 for p, step in closed), len(closed)]
    result["never_said"] = sum(math.isinf(steps_at_chance(row, constants)) for row in half)
    result["never_of_one_that_left"] = [row["spec"]["name"] for predicted, _, row in left if math.isinf(predicted)]
    result["far"] = [
        [row["spec"]["name"], round(predicted, 1), step, read_off(row)[1]]
        for predicted, step, row in left
        if not 0.5 <= predicted / step <= 2
    ]
    return result


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--wrong", action="store_true", help="also list the wrong ones")
    options = parser.parse_args()
    result = scored(rows(options.path))
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result.items():
        if options.wrong or name not in ("wrong", "far"):
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
