"""The phase diagram of a net: gain budget against learning rate, and the borders that the theory predicts.

One axis is the gain budget: the weights of all layers are multiplied by one factor. The other is the learning rate. A run
trains within the band of budgets (theory, section 4), above the rate below which the net stays at chance for longer than the
run (section 7), and below the rate at which an update raises the loss (the critical step). `short_run` gives the outcome.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trainability.doctor.batches import empty_line, to_device
from trainability.doctor.evidence import ProbeResult
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.reading import total_budget
from trainability.doctor.setup import Setup
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW, PILOT_DEPTH, PLATEAU_SHARE, PLATEAU_START
from trainability.doctor.theory.signal import layer_kind
from trainability.prescribe.at_budget import AtBudget, measured_at, probed
from trainability.prescribe.short_run import ShortRun

Outcome = Literal["trained", "slow", "dead", "exploded"]
OUTCOMES: dict[Outcome, str] = {
    "trained": "left chance level, and was below it at the end",
    "slow": "did not leave chance within the run, and did at a larger rate, or was still falling from above it",
    "dead": "stayed at chance level, at every rate that was tried",
    "exploded": "the loss rose or was not finite, or the units died",
}
BUDGETS = tuple(float(budget) for budget in range(-12, 13))
_ROWS, _DECADES = 17, 5
_PROBED_EXAMPLES = 128
# If there is time for only a few budgets: those that the lines need most, first.
_MEASURED_FIRST = (0, -5, 3, -8, 8, -2, -12, 12, -3, 2, -1, 1, -4, -6, 4, -7, -10, 6)
_FEWEST = 8  # budgets that are always measured, however long it takes


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the map: budget and rate, and its name."""

    budget: float
    lr: float

    @property
    def name(self) -> str:
        """Key of the run, "budget -3 lr 0.01"."""
        return f"budget {self.budget:g} lr {self.lr:.3g}"


@dataclass(frozen=True, kw_only=True)
class PhaseMap:
    """A map without its runs.

    Attributes:
        budget: log10, with the input, of the unchanged program.
        lr: learning rate of the program.
        steps: number of steps of a run.
        chance: loss of the best constant answer.
        budgets: columns.
        rates: rows, ascending.
        band: lowest and highest budget of the nets that trained; `None` for nets unlike those on which it was found (fewer
            than eight layers, biases that carry a signal, an optimizer other than SGD).
        measured: the measured budgets, ascending.
        notes: what is not drawn, and why.
    """

    budget: float
    lr: float
    steps: int
    chance: float
    budgets: tuple[float, ...]
    rates: tuple[float, ...]
    band: tuple[float, float] | None
    measured: tuple[AtBudget, ...]
    notes: tuple[str, ...] = ()

    @property
    def here(self) -> Cell:
        """The cell of the grid that contains the unchanged program."""
        budget = min(self.budgets, key=lambda b: abs(b - self.budget))
        return Cell(budget=budget, lr=min(self.rates, key=lambda lr: abs(math.log(lr / self.lr))))

    def first_critical_lr(self, budget: float) -> float | None:
        """Rate at which the first update raises the loss; `None` if unknown."""
        return _between([(m.budget, m.critical_lr) for m in self.measured], budget)

    def critical_lr(self, budget: float) -> float | None:
        """Lowest rate at which an update raises the loss, over the budgets from this one to 0.

        The budget of a net that trains grows from below 0 towards 0, and the critical rate changes on the way.
        """
        return self._lowest_on_the_way(budget, self.first_critical_lr(budget), {m.budget: m.critical_lr for m in self.measured})

    def slowest_lr(self, budget: float) -> float | None:
        """Rate at which the predicted stay at chance is as long as the run; infinite if no rate ends it; `None` if unknown."""
        # Growth is proportional to the rate, and so is what decay takes away: T is inversely proportional to it.
        longest = max(self.steps - PLATEAU_START, 1) / PLATEAU_SHARE
        return _between([(m.budget, _over(self.lr, m.slower(longest))) for m in self.measured], budget)

    def stay(self, budget: float, lr: float) -> float | None:
        """Predicted steps at chance; infinite for never; `None` if unknown."""
        found = _between([(m.budget, m.growing(self.lr / lr)) for m in self.measured], budget)
        return None if found is None else PLATEAU_START + PLATEAU_SHARE * found

    def told(self, budget: float, lr: float) -> str | None:
        """The predicted outcome in words, "trained, at chance for about 80 steps"; `None` without a prediction."""
        said, stay = self.predicted(budget, lr), self.stay(budget, lr)
        if said not in ("trained", "slow") or stay is None or math.isinf(stay):
            return said
        return f"{said}, at chance for about {stay:,.0f} steps"

    def noise_lr(self, budget: float) -> float | None:
        """Rate above which noise exceeds the signal at chance, the lowest from this budget to 0; `None` if unknown."""
        at = {m.budget: m.noise_lr for m in self.measured}
        return self._lowest_on_the_way(budget, _between(list(at.items()), budget), at)

    def _lowest_on_the_way(self, budget: float, here: float | None, at: Mapping[float, float | None]) -> float | None:
        way = [lr for place, lr in at.items() if budget < place <= 0]
        return min((lr for lr in (here, *way) if lr is not None), default=None)

    def predicted(self, budget: float, lr: float) -> Outcome | None:
        """Predict the outcome at a point from theory and critical step; `None` if they do not determine it.

        As in the doctor, a predicted stay at chance that ends within the run overrides the band's lower edge. Above its upper
        edge, which was found at usual rates, the critical rate decides, and below that rate there is no prediction. There is
        also none if noise moves the weights further than the signal before the net has left chance.
        """
        low, high = self.band or (-math.inf, math.inf)
        first, critical, slowest = self.first_critical_lr(budget), self.critical_lr(budget), self.slowest_lr(budget)
        if lr > first if first is not None else budget > high:
            return "exploded"
        if budget > high:
            return None
        if (slowest is None and budget < low) or (slowest is not None and lr < slowest):
            return "dead" if budget < low or slowest == math.inf else "slow"
        if critical is None or (self.band is None and slowest is None):
            return None
        if lr > critical:
            return "exploded"
        noisy = self.noise_lr(budget)
        return None if noisy is not None and lr > noisy else "trained"


def _over(lr: float, times: float | None) -> float | None:
    return None if times is None else lr / times if times > 0 else math.inf


def _between(points: Sequence[tuple[float, float | None]], place: float) -> float | None:
    """Interpolate linearly in the logarithm; `None` beyond the points, and next to a point without a value."""
    for place_, value in points:
        if math.isclose(place_, place, abs_tol=1e-9):
            return value
    for (left, low), (right, high) in itertools.pairwise(points):
        if left < place < right:
            if low is None or high is None:
                return None
            if math.isinf(low) or math.isinf(high):
                return math.inf
            share = (place - left) / (right - left)
            return math.exp(math.log(low) * (1 - share) + math.log(high) * share) if low > 0 and high > 0 else min(low, high)
    return None


def cells(phase_map: PhaseMap, count: int) -> list[Cell]:
    """Return the first `count` cells of the grid, spread evenly over it; later runs fill the gaps between earlier ones.

    The cell nearest to the unchanged program comes first.
    """
    every = [Cell(budget=b, lr=r) for b in phase_map.budgets for r in phase_map.rates]
    # Golden-ratio steps in two directions (Roberts' R2 sequence) are spread evenly for any count.
    order: dict[Cell, None] = {phase_map.here: None}
    columns, rows, number = len(phase_map.budgets), len(phase_map.rates), 0
    while len(order) < min(count, len(every)):
        column = int(columns * ((0.5 + number * 0.7548776662466927) % 1))
        row = int(rows * ((0.5 + number * 0.5698402909980532) % 1))
        order[every[column * rows + row]] = None
        number += 1
        if number > 50 * len(every):  # the last few cells may take many draws
            order |= dict.fromkeys(every)
    return list(order)[: min(count, len(every))]


def outcomes(runs: dict[Cell, ShortRun]) -> dict[Cell, Outcome]:
    """Return the outcome of every run. For a net that stayed at chance, runs at larger rates decide between slow and dead."""
    found: dict[Cell, Outcome] = {}
    for cell, run in runs.items():
        if run.end in ("trained", "exploded"):
            found[cell] = run.end
        elif run.end == "falling":
            found[cell] = "slow"
        else:
            faster = (o for c, o in runs.items() if c.budget == cell.budget and c.lr > cell.lr)
            found[cell] = "slow" if any(other.left_chance_step is not None for other in faster) else "dead"
    return found


def phase_map(setup: Setup, *, steps: int, seconds: float = 10.0) -> PhaseMap:
    """Measure the values from which the borders are drawn, without training.

    Args:
        setup: one model with one optimizer, batches (input, label); nothing of it is changed.
        steps: number of steps of the runs on the map.
        seconds: approximate upper limit of the time. With more time, more budgets are measured.

    Raises:
        ValueError: there are several models or optimizers, several learning rates, the loop is known only as a whole, gains
            do not multiply, or the loss at chance is not known.
    """
    began = time.monotonic()
    lr = _checked(setup)
    model = setup.whole_model
    assert model is not None
    with randomness_restored(), generators_restored(setup.train_loader):
        first = _examples(setup, _PROBED_EXAMPLES)
        seen = probed(setup, model, first, steps)
        budget = total_budget(seen)
        if budget is None:
            why = {"normalised": "normalisation resets the signal's scale", "residual": "skip connections add to it"}
            why["branched"] = "branches that meet again add to it"
            raise ValueError(
                f"map needs a net with a gain budget, and this one has none: {why.get(seen.structure, 'see check')}"
            )
        chance = rehearse(
            setup.model,
            setup.optimizer,
            setup.train_loader,
            loss_fn=setup.loss,
            training_step=setup.training_step,
            max_steps=1,
        ).task.chance
        if chance is None:
            raise ValueError("map needs to know what chance costs, which is known for classification and regression losses")
        measured = {budget: measured_at(setup, 0.0, budget, first, steps=steps, chance=chance)}
        for at in sorted(BUDGETS, key=_place):
            if time.monotonic() - began > seconds and len(measured) >= _FEWEST:
                break
            measured[at] = measured_at(setup, at - budget, at, first, steps=steps, chance=chance)
    band, notes = _band(setup, seen)
    if seen.dropout_noise:
        notes.append("dropout lengthens the stay at chance beyond what is predicted (docs/map.md)")
    if len(measured) <= len(BUDGETS):
        notes.append(f"borders measured at {len(measured)} of {len(BUDGETS) + 1} budgets within {seconds:g} s (--seconds)")
    return PhaseMap(
        budget=budget,
        lr=lr,
        steps=steps,
        chance=chance,
        budgets=BUDGETS,
        rates=tuple(lr * 10 ** (_DECADES * (row / (_ROWS - 1) - 0.5)) for row in range(_ROWS)),
        band=band,
        measured=tuple(measured[at] for at in sorted(measured)),
        notes=tuple(notes),
    )


def _place(budget: float) -> int:
    return _MEASURED_FIRST.index(int(budget)) if budget in _MEASURED_FIRST else len(_MEASURED_FIRST) + int(abs(budget))


def _checked(setup: Setup) -> float:
    optimizer = setup.single_optimizer
    if setup.whole_model is None or optimizer is None:
        raise ValueError("map takes one model with one optimizer")
    if setup.loss is None and setup.training_step is None:
        raise ValueError("map needs loss_fn or training_step; the setup has the loop as a whole (step)")
    rates = {float(group["lr"]) for group in optimizer.param_groups}
    if len(rates) != 1:
        raise ValueError(f"map takes one learning rate, and the optimizer has {len(rates)}")
    return rates.pop()


def _band(setup: Setup, seen: ProbeResult) -> tuple[tuple[float, float] | None, list[str]]:
    """Return the band if it applies to such nets, and notes if it does not."""
    model, optimizer = setup.whole_model, setup.single_optimizer
    assert model is not None
    depth = sum(layer_kind(module) in ("conv", "linear") for module in model.modules())
    why = None
    if depth < PILOT_DEPTH:
        why = f"{depth} weight layers"
    elif not isinstance(optimizer, torch.optim.SGD):
        why = type(optimizer).__name__
    elif seen.biased:
        why = "biases that carry a signal"
    if why is None:
        return (BUDGET_LOW, BUDGET_HIGH), []
    return None, [f"no band of budgets: it was found under SGD on nets of {PILOT_DEPTH} and more layers, and this has {why}"]


def _examples(setup: Setup, count: int) -> tuple[Tensor, Tensor]:
    """Return the first examples of the loader, on the model's device."""
    assert setup.whole_model is not None
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in setup.train_loader:
        if not (
            isinstance(batch, tuple | list)
            and len(batch) == 2
            and isinstance(batch[0], Tensor)
            and isinstance(batch[1], Tensor)
        ):
            raise ValueError("map takes batches of (input, label), each one tensor, and the train loader gives another kind")
        images.append(batch[0])
        labels.append(batch[1])
        if sum(map(len, images)) >= count:
            break
    if not images:
        raise ValueError(empty_line(setup.train_loader))
    device = next(setup.whole_model.parameters()).device
    return to_device((torch.cat(images)[:count], torch.cat(labels)[:count]), device)


def to_plain(phase_map: PhaseMap) -> dict[str, Any]:
    """Write a map in plain containers; infinity as text."""
    found = dataclasses.asdict(phase_map)
    for row in found["measured"]:
        if row["plateau_steps"] is not None and math.isinf(row["plateau_steps"]):
            row["plateau_steps"] = "inf"
    return found
