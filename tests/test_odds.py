"""The predicted stay at chance and the odds of leaving it: closed forms, directions, and the runs that they were set on."""

import dataclasses
import math
from typing import Any

import prediction
import pytest
import torch
from rule_examples import SGD, probed
from torch import nn

from trainability.doctor import Evidence, diagnose
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.measure.dropout import dropout_noise
from trainability.doctor.odds import CONSTANT, WEIGHTS, odds_of
from trainability.doctor.rehearsed import CriticalStep, Growth, Observation, OtherRate, Rehearsal, RehearsedStep, Task
from trainability.doctor.stay import FACTORS, LAG, predicted_stay, read_off

CHANCE = math.log(10)


def looks(losses: list[float], spreads: list[float] | None = None) -> tuple[Observation, ...]:
    spreads = spreads or [0.5] * len(losses)
    return tuple(
        Observation(step=10 * n, loss=loss, output_rms=1.0, output_spread=spread)
        for n, (loss, spread) in enumerate(zip(losses, spreads, strict=True))
    )


def rehearsal(losses: list[float] | None = None, *, multiple: float = 100.0, **changes: Any) -> Rehearsal:
    """Twenty steps that hardly leave chance; looks at 0, 10 and 20."""
    step = CriticalStep(
        multiple=multiple, loss_before=2.3, loss_after=2.3, lowest_loss=2.2, resolution=0, update_norm=1.0, num_evaluations=6
    )
    fields: dict[str, Any] = {
        "steps": tuple(RehearsedStep(step=n, loss=2.3, gradient_norm=1.0, lr=0.01, optimizer_steps=1) for n in range(1, 21)),
        "reference": looks(losses or [2.303, 2.302, 2.301]),
        "critical": ((1, step), (20, step)),
        "task": Task(kind="classification", loss="cross_entropy", num_classes=10, chance=CHANCE, floor=0.0),
        "planned_steps": 200,
    }
    return Rehearsal(**{**fields, **changes})


def rate(scale: float, losses: list[float], spread: float = 0.5, ended_by: str = "steps") -> OtherRate:
    return OtherRate(scale=scale, ended_by=ended_by, reference=looks(losses, [0.5, 0.5, spread]))


GROWTH = Growth(signal=1 / (100 * SGD.lr), noise=0.0, norm=1.0, batches=4.0)  # T of 100 steps without momentum
ANEW = (30 + FACTORS["closed form"] * (50 + 0.8 * 100), "closed form anew")


@pytest.mark.parametrize(
    ("seen", "plateau", "expected"),
    [
        (rehearsal([2.4, 0.9 * CHANCE + 0.1, 0.9 * CHANCE - 0.1]), 400.0, (15.0, "rehearsal")),  # half way between two looks
        (
            rehearsal(other_rates=(rate(10.0, [2.4, 2.3, 1.0]),)),
            400.0,
            (10 * (10 + 10 * (2.3 - 0.9 * CHANCE) / 1.3), "forecast"),
        ),
        (rehearsal(), 60.0, (60.0, "closed form")),
        (rehearsal(), math.inf, (math.inf, "closed form")),
        (
            rehearsal(other_rates=(rate(10.0, [2.3, 2.3, 2.3]),)),
            60.0,
            (200.0, "closed form"),
        ),  # as far, and still there
        (rehearsal(other_rates=(rate(10.0, [2.3, 2.3, 2.3], spread=0.01),)), 60.0, (60.0, "closed form")),  # its units are dead
        (rehearsal(other_rates=(rate(10.0, [2.3, 2.3, 2.3], ended_by="not finite"),)), 60.0, (60.0, "closed form")),
        (rehearsal(other_rates=(rate(50.0, [2.3, 2.3, 1.0]),)), 60.0, (60.0, "closed form")),  # a fifth of 100 is believed
        # Outlasted: 0.74 of the closed form and the lag are less than the 20 steps that were rehearsed at chance.
        (rehearsal([2.8, 2.6, 2.4]), 13.0, (20 + 10 * math.log(2.4 / (0.9 * CHANCE)) / math.log(2.6 / 2.4), "pace")),
        (rehearsal([2.3, 2.3, 2.3]), 13.0, (300.0, "beyond")),
        (rehearsal([2.8, 2.6, 2.4]), None, (20 + 10 * math.log(2.4 / (0.9 * CHANCE)) / math.log(2.6 / 2.4), "pace")),
        (rehearsal([16.0, 8.0, 4.0]), None, (20 + 10 * math.log2(4 / (0.9 * CHANCE)) + 80, "descent")),
        (rehearsal([2.3, 2.3, 2.3]), None, (300.0, "beyond")),
        # Half of the closed form is rehearsed, and outputs tell examples apart: equation (9) from the end of it.
        (rehearsal([2.303, 2.302, 2.301, 2.3], growth=GROWTH), 60.0, ANEW),
        (rehearsal([2.3, 2.3, 2.3, 2.3], growth=GROWTH), 60.0, ANEW),
        (rehearsal(reference=looks([2.3, 2.3, 2.3, 2.3], [0.5, 0.5, 0.1, 0.1]), growth=GROWTH), 60.0, (300.0, "beyond")),
        (rehearsal([2.303, 2.302, 2.301, 2.3], growth=GROWTH), 66.0, (50 + 0.8 * math.sqrt(25 * 105), "closed form")),
        (rehearsal([16.0, 8.0, 4.0, 4.0], growth=GROWTH), 60.0, (50 + 0.8 * math.sqrt(17.5 * 105), "closed form")),
    ],
)
def test_where_the_steps_at_chance_are_read(seen, plateau, expected):
    settings = dataclasses.replace(SGD, momentum=0.0)
    steps, source = read_off(seen, plateau, settings)
    assert (steps, source) == (pytest.approx(expected[0]), expected[1])
    stay = predicted_stay(seen, plateau, settings)
    assert stay is not None
    assert stay.steps == pytest.approx(max(20.0, FACTORS[source] * steps + LAG))


def test_a_forecast_counts_how_momentum_fills():
    """Ten steps at ten times the rate go as far as so many at the rate itself, summed step by step."""
    seen = rehearsal(other_rates=(rate(10.0, [2.4, 0.9 * CHANCE - 1e-9, 1.0]),))
    ways, velocity, way = [0.0], 0.0, 0.0
    for _ in range(200):
        velocity = 0.9 * velocity + 0.1
        way += velocity
        ways.append(way)
    expected = next(n for n, gone in enumerate(ways) if gone >= 10 * ways[10])
    assert read_off(seen, None, dataclasses.replace(SGD, momentum=0.9))[0] == pytest.approx(expected, abs=1)
    assert read_off(seen, None, dataclasses.replace(SGD, momentum=0.0))[0] == pytest.approx(100.0)


def test_clipped_steps_go_a_way_that_is_known_before() -> None:
    """200 steps of 0.01 * 0.5 / (1 - 0.9) = 10 at most; He's weights of 2 layers of 400 units have the size of 40."""
    layers = tuple(LayerStats(name=str(n), kind="linear", num_units=400) for n in range(2))

    def margin(**settings: float) -> float:
        optimizer = dataclasses.replace(SGD, **{"lr": 0.01, "momentum": 0.9, "clip": 0.5, **settings})
        found = odds_of(probed(layers=layers, optimizer=optimizer), rehearsal())
        assert found is not None
        return found.margins.clipped

    assert margin() == pytest.approx(math.log10(0.3 * 40 / 10))
    assert margin(clip=0.05) == pytest.approx(math.log10(0.3 * 40))
    assert margin(clip=5.0) == 0.0
    assert margin(momentum=0.0) == pytest.approx(math.log10(0.3 * 40))


def test_nothing_is_predicted_where_chance_or_plan_or_optimizer_is_unknown():
    assert odds_of(probed(), rehearsal(planned_steps=None)) is None
    assert odds_of(probed(), rehearsal(task=Task())) is None
    assert odds_of(probed(optimizer=dataclasses.replace(SGD, name="AdamW")), rehearsal()) is None
    assert odds_of(probed(), None) is None
    assert odds_of(None, rehearsal()) is None


@pytest.mark.parametrize(
    "worse",
    [
        (probed(plateau_steps=150.0), rehearsal()),
        (probed(dropout_noise=2.0), rehearsal()),
        (probed(optimizer=dataclasses.replace(SGD, lr=0.5)), rehearsal()),
        (probed(), rehearsal(reference=looks([2.303, 2.302, 2.301], [0.5, 0.1, 0.001]))),
        (probed(), rehearsal(multiple=1e5)),
        (probed(), rehearsal(other_rates=(rate(0.3, [2.3, 2.0, 1.0]),))),
        (probed(), rehearsal([2.303, 5.0, 9.0])),
        (probed(), rehearsal(steps=tuple(RehearsedStep(step=n, gradient_norm=10.0 ** (3 * (n == 20))) for n in range(1, 21)))),
    ],
    ids=["late", "dropout", "long step", "dying units", "short step", "smaller rate learns", "rises", "gradient jumps"],
)
def test_what_speaks_against_a_run_lowers_its_odds(worse):
    healthy, other = odds_of(probed(), rehearsal()), odds_of(*worse)
    assert healthy is not None
    assert other is not None
    assert other.probability < healthy.probability
    assert healthy.probability > 0.5


def test_the_closed_form_promises_only_what_the_odds_bear():
    """The same plateau: with short steps it is a promise, with steps that kill the units it is not."""
    dying = rehearsal(reference=looks([2.303, 2.302, 2.301], [0.5, 0.05, 0.004]))
    long_step = probed(optimizer=dataclasses.replace(SGD, lr=0.3))
    assert diagnose(Evidence(probe=probed(), rehearsal=rehearsal())).verdict == "will train"
    withheld = diagnose(Evidence(probe=long_step, rehearsal=dying))
    assert withheld.verdict == "cannot tell"
    assert "depend on the input" in withheld.reason or "answer less" in withheld.reason


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_noise_is_the_variance_over_masks(p):
    torch.manual_seed(0)
    inputs, weight = torch.randn(512), torch.randn(512)
    masks = nn.functional.dropout(torch.ones(20_000, 512), p)
    logits = (masks * inputs) @ weight
    expected = float((inputs * weight).square().sum())
    assert float(logits.var()) / expected == pytest.approx(dropout_noise(nn.Sequential(nn.Dropout(p))), rel=0.05)


def test_constants_in_the_code_are_what_the_stored_runs_set():
    """The half that is never scored: `python benchmarks/prediction.py --fit`."""
    found = prediction.fitted(prediction.rows())
    assert found["factors"] == pytest.approx({name: FACTORS[name] for name in found["factors"]}, abs=0.01)
    assert found["weights"] == pytest.approx({"CONSTANT": CONSTANT, **WEIGHTS}, abs=0.05)
    assert found["auc_of_folds"] > 0.96
    assert found["never_of_one_that_left"] == []
