"""What a check says before the first step, against what then happened: trained or not, and the steps at chance.

    python benchmarks/prediction.py          # scores results/prediction-runs.jsonl, which prediction_runs.py makes
    python benchmarks/prediction.py --wrong  # also lists what was wrong
    python benchmarks/prediction.py --fit    # what the half that is not scored sets, for doctor/stay.py and doctor/odds.py

A run has trained if the mean of its last 20 losses is below 0.9 of chance when it ends; it has left chance at the first step at
which that mean was so low. Runs are split by a hash of their names; what is fitted is fitted on one half, and scored on the
other.

What is scored is the doctor's own: the probability of `trainability.doctor.odds` and the steps of `trainability.doctor.stay`,
made anew from what a row keeps of its probe and rehearsal. "Never" is said where the closed form is infinite and no rehearsal
left.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from prediction_growth import growths
from prediction_runs import PROBED, RUNS, STEPS, VGG, other, rows
from verdict_table import wilson

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings, ProbeResult
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.odds import Margins, Odds, odds_of
from trainability.doctor.rehearsed import CriticalStep, Observation, OtherRate, Rehearsal, RehearsedStep, Task
from trainability.doctor.stay import LAG, NOISY, growing_steps, noise_over_signal, read_off
from trainability.initialization import weight_layers
from trainability.models.vgg import build_vgg

RESULTS = Path(__file__).parent / "results" / "prediction.json"
FOLDS = 5
EARLY = 130  # steps; a stay that is predicted to end so soon has time to
Row = dict[str, Any]


def is_scored(row: Row) -> bool:
    """Whether a run is in the half that is scored."""
    return hashlib.sha256(row["spec"]["name"].encode()).digest()[0] % 2 == 1


# ------------------------------------------------------------------------------------------------- what the check measured


def rehearsal_of(row: Row) -> Rehearsal:
    """The rehearsal that a row keeps."""
    check, spec = row["check"], row["spec"]
    steps = zip(check["rehearsed_losses"], check["norms"], strict=True)
    return Rehearsal(
        steps=tuple(
            RehearsedStep(step=n, loss=_finite(loss), gradient_norm=_finite(norm), lr=spec["lr"], optimizer_steps=1)
            for n, (loss, norm) in enumerate(steps, start=1)
        ),
        reference=_looks(check["looks"]),
        critical=tuple(
            (
                n,
                CriticalStep(
                    multiple=multiple,
                    at_limit=at_limit,
                    loss_before=_finite(before),
                    loss_after=_finite(after),
                    lowest_loss=_finite(lowest),
                    resolution=0.0,
                    update_norm=1.0,
                    num_evaluations=0,
                ),
            )
            for n, multiple, at_limit, before, after, lowest in check["critical"]
        ),
        other_rates=tuple(
            OtherRate(scale=rate["scale"], ended_by=rate["ended_by"], reference=_looks(rate["looks"]))
            for rate in check["other_rates"]
        ),
        growth=growths().get(spec["name"]),
        task=Task(**check["task"]),
        planned_steps=STEPS,
        ended_by=check["ended_by"],
    )


def units_of(spec: Row) -> int:
    """Units of all layers with weights of the network of a run."""
    model = build_vgg(spec["net"], num_classes=10, crop=32, width=1 / 16) if spec["net"] in VGG else other(spec).model
    return sum(module.get_parameter("weight").shape[0] for _, module in weight_layers(model))


def settings_of(spec: Row) -> OptimizerSettings:
    """Settings of the optimizer of a run."""
    names = ("lr", "momentum", "weight_decay", "clip")
    return OptimizerSettings(name="SGD", planned_steps=STEPS, **{name: spec[name] for name in names})


def probe_of(row: Row) -> ProbeResult:
    """The probe that a row keeps, with what its specification says of the optimizer and dropout (VGG has two of it)."""
    check, spec = row["check"], row["spec"]
    square = _finite(check["input_mean_square"])
    return ProbeResult(
        layers=(LayerStats(name="all", kind="linear", num_units=units_of(spec)),),
        batch_size=PROBED,
        input_shape=(),
        input_mean=0.0,
        input_mean_square=square,
        num_logits=10,
        log10_gain=None if check["budget"] is None else check["budget"] - math.log10(square),
        structure=check["structure"],
        biased=check["biased"],
        loss=_finite(check["loss"]),
        logit_rms=_finite(check["logit_rms"]),
        logit_spread=_finite(check["logit_spread"]),
        gradient_norm=_finite(check["gradient_norm"]),
        plateau_steps=None if check["plateau_steps"] is None else _finite(check["plateau_steps"]),
        dropout_noise=2 * spec["dropout"] / (1 - spec["dropout"]),
        optimizer=settings_of(spec),
    )


def _looks(looks: Sequence[Sequence[float | None]]) -> tuple[Observation, ...]:
    return tuple(
        Observation(step=int(step or 0), loss=_finite(loss), output_rms=_finite(rms), output_spread=_finite(spread))
        for step, loss, rms, spread in looks
    )


def _finite(value: float | None) -> float:
    """Undo what JSON does not take: None for NaN, 1e300 for infinity."""
    return math.nan if value is None else math.inf if value > 1e299 else value


def odds(row: Row) -> Odds:
    """What the doctor says of a row."""
    found = odds_of(probe_of(row), rehearsal_of(row))
    if found is None:
        raise ValueError(f"{row['spec']['name']}: no rehearsal with a reference loss")
    return found


# ----------------------------------------------------------------------------------------------------------------- the fit


def factors(half: list[Row]) -> dict[str, float]:
    """By source: the median of measured steps, less the lag of their mean, over those read off."""
    ratios: dict[str, list[float]] = {}
    for row in half:
        left = row["run"]["left_chance_step"]
        raw, source = read_off(rehearsal_of(row), probe_of(row).plateau_steps, settings_of(row["spec"]))
        if left is not None and math.isfinite(raw) and raw > 0:
            ratios.setdefault(source, []).append(max(left - LAG, 1.0) / raw)
    return {source: round(statistics.median(found), 3) for source, found in ratios.items() if len(found) >= 5}


def regression(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Weights of the logistic regression, with a penalty that keeps them of the size of 1."""
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y) + 0.5 * weights.square().sum() / len(y)
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return weights.detach()


def table_of(half: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Constant and margins of every run, and whether it trained."""
    margins = [[1.0, *dataclasses.asdict(odds(row).margins).values()] for row in half]
    return torch.tensor(margins, dtype=torch.float64), torch.tensor(
        [float(row["run"]["trained"]) for row in half], dtype=torch.float64
    )


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
    half = [row for row in found if is_scored(row)]
    said = [odds(row) for row in half]
    scores = [one.probability for one in said]
    happened = [row["run"]["trained"] for row in half]
    result: dict[str, Any] = {
        "runs": len(found),
        "set_on": len(found) - len(half),
        "scored": len(half),
        "trained": sum(happened),
        "auc": round(auc(scores, happened), 4),
    }
    for name in ("vgg", "other"):
        is_vgg = name == "vgg"
        part = [
            (s, row["run"]["trained"]) for s, row in zip(scores, half, strict=True) if (row["spec"]["net"] in VGG) == is_vgg
        ]
        result[f"auc_{name}"] = [round(auc([s for s, _ in part], [t for _, t in part]), 4), len(part)]
    wrong = sorted(
        ((s > 0.5) != t, abs(s - 0.5), row["spec"]["name"]) for s, t, row in zip(scores, happened, half, strict=True)
    )
    result["right_side"] = sum(not is_wrong for is_wrong, *_ in wrong)
    result["wrong"] = [name for is_wrong, _, name in wrong if is_wrong]
    result |= said_to_train(half)
    result |= steps_scored([(one.stay.steps, row["run"]["left_chance_step"], row) for one, row in zip(said, half, strict=True)])
    result["far"] = [
        [row["spec"]["name"], round(one.stay.steps, 1), row["run"]["left_chance_step"], one.stay.source]
        for one, row in zip(said, half, strict=True)
        if row["run"]["left_chance_step"] is not None and not 0.5 <= one.stay.steps / row["run"]["left_chance_step"] <= 2
    ]
    return result


def said_to_train(half: list[Row]) -> dict[str, Any]:
    """Of how many "will train" is said, and how many of them did: when the row was made, and by the doctor as it is now."""
    now = [diagnose(Evidence(probe=probe_of(row), rehearsal=rehearsal_of(row), num_classes=10)).verdict for row in half]
    said = {"when_made": [row["check"]["verdict"] for row in half], "now": now}
    return {
        f"will_train_{name}": [
            sum(row["run"]["trained"] for verdict, row in zip(verdicts, half, strict=True) if verdict == "will train"),
            verdicts.count("will train"),
        ]
        for name, verdicts in said.items()
    }


def steps_scored(pairs: list[tuple[float, int | None, Row]]) -> dict[str, Any]:
    """The steps at chance of those that left, predicted and measured."""
    result: dict[str, Any] = {}
    left = [(predicted, step, row) for predicted, step, row in pairs if step is not None]
    for factor in (2.0, 1.5):
        near = sum(1 / factor <= predicted / step <= factor for predicted, step, _ in left)
        result[f"within_{factor:g}"] = [near, len(left), *(round(value, 3) for value in wilson(near, len(left)))]
    closed = [(row["check"]["plateau_steps"], step) for _, step, row in left if row["check"]["plateau_steps"] is not None]
    result["closed_form_within_2"] = [sum(0.5 <= p / step <= 2 for p, step in closed), len(closed)]
    result["never_said"] = sum(math.isinf(predicted) for predicted, *_ in pairs)
    result["never_of_one_that_left"] = [row["spec"]["name"] for predicted, _, row in left if math.isinf(predicted)]
    return result


def noise_of(row: Row) -> float | None:
    """Noise over signal in the steps that the weights take to grow by their size, after the rehearsal; None where unknown."""
    rehearsal = rehearsal_of(row)
    steps = growing_steps(rehearsal, settings_of(row["spec"]))
    return None if steps is None or rehearsal.growth is None else noise_over_signal(rehearsal.growth, steps)


def folds_auc(x: torch.Tensor, y: torch.Tensor) -> float:
    """How the weights rank a fifth of the runs when they are set on the rest."""
    held_out = torch.zeros(len(y), dtype=torch.float64)
    for fold in range(FOLDS):
        out = torch.arange(len(y)) % FOLDS == fold
        held_out[out] = x[out] @ regression(x[~out], y[~out])
    return round(auc(held_out.tolist(), [bool(value) for value in y]), 4)


def with_noise(half: list[Row], x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    """What the noise of batches says: as a margin, in place of dropout's and beside it, and of runs said to leave soon."""
    noises = [noise_of(row) for row in half]
    margin = torch.tensor([[1.0 if n is None else max(-1.0, min(1.0, math.log10(max(n, 1e-4))))] for n in noises])
    place = 1 + [field.name for field in dataclasses.fields(Margins)].index("dropout")
    without = torch.cat([x[:, :place], x[:, place + 1 :]], 1)
    early = [
        (noise < NOISY, row["run"]["trained"])
        for noise, row in zip(noises, half, strict=True)
        if noise is not None
        and row["check"]["plateau_steps"] is not None
        and not row["spec"]["dropout"]
        and (stay := odds(row).stay).source == "closed form"
        and stay.steps <= EARLY
    ]
    return {
        "auc_of_folds_without_dropout": folds_auc(without, y),
        "auc_of_folds_noise_in_its_place": folds_auc(torch.cat([without, margin], 1), y),
        "auc_of_folds_noise_beside_it": folds_auc(torch.cat([x, margin], 1), y),
        "trained_below_and_above_noise": [
            [sum(trained for is_below, trained in early if is_below == side), sum(is_below == side for is_below, _ in early)]
            for side in (True, False)
        ],
    }


def fitted(found: list[Row]) -> dict[str, Any]:
    """What the half that is not scored sets, and how the weights do in it where they are set on four fifths of it."""
    half = [row for row in found if not is_scored(row)]
    x, y = table_of(half)
    names = ["CONSTANT", *(field.name for field in dataclasses.fields(Margins))]
    pairs = [(odds(row).stay.steps, row["run"]["left_chance_step"], row) for row in half]
    return {
        "factors": factors(half),
        "weights": {name: round(float(w), 2) for name, w in zip(names, regression(x, y), strict=True)},
        "auc_of_folds": folds_auc(x, y),
        **with_noise(half, x, y),
        **said_to_train(half),
        **steps_scored(pairs),
    }


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--wrong", action="store_true", help="also list the wrong ones")
    parser.add_argument("--fit", action="store_true", help="print what the other half sets; score nothing")
    options = parser.parse_args()
    if options.fit:
        for name, value in fitted(rows(options.path)).items():
            print(f"{name}: {value}")
        return
    result = scored(rows(options.path))
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result.items():
        if options.wrong or name not in ("wrong", "far"):
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
