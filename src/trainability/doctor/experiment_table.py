"""The table of experiments as rows of text, for plain text, terminal and report. Data only; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainability.doctor.experimented import INAPPLICABLE, Arm, Experiments, beside, written

COLUMNS = ("change", "loss before", "loss after", "steps", "outcome", "curve")
CURVE_WIDTH = 9
_MOST_NAMED = 4
_BLOCKS = "▁▂▃▄▅▆▇█"
_SAYS = {
    "not finite": "the program as it is ends in a loss that is not finite",
    "at chance": "the program as it is learns no more than one answer for every example",
    "stays above": "the program as it is stays far above what a change reaches",
    "learns": "the program as it is learns, so there is nothing to confirm",
    "open": "the program as it is has not learned yet, and may still within its plan, so there is nothing to confirm",
    "unknown": "the program as it is was not seen for long enough",
}


@dataclass(frozen=True, kw_only=True)
class ExperimentTable:
    """What was tried.

    Attributes:
        title: how the program as it is did, with the number of steps.
        rows: cells in the order of `COLUMNS`, and the outcome for a colour.
        confirmed: the changes that fix the program, in words.
        left_out: changes that were not tried though they apply, each with the reason.
        notes: what else is to be known of the experiments.
        inapplicable: how many changes do not apply to the program.
    """

    title: str
    rows: tuple[tuple[tuple[str, ...], str], ...]
    confirmed: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    inapplicable: int

    @property
    def not_applied(self) -> str:
        """How many changes do not apply, in words; nothing where all do."""
        if not self.inapplicable:
            return ""
        changes = "1 other change does" if self.inapplicable == 1 else f"{self.inapplicable} other changes do"
        return f"{changes} not apply to this program"


def experiment_table(experiments: Experiments) -> ExperimentTable:
    """Lay the experiments out."""
    shown = [arm for arm in experiments.arms if arm.curve]
    losses = [loss for arm in shown for _, loss in arm.curve if math.isfinite(loss)]
    chance = experiments.chance
    top = max([loss for arm in shown[:2] for _, loss in arm.curve if math.isfinite(loss)] or [1.0])
    top = max(top, chance or 0.0)
    bottom = min(losses, default=0.0)
    said = _SAYS[experiments.state] + ("" if chance is None else f" (the best constant answer costs {chance:.4g})")
    return ExperimentTable(
        title=f"Experiments, {experiments.steps:,} steps each: {said}",
        rows=tuple((_cells(arm, bottom, top, experiments), arm.outcome) for arm in shown),
        confirmed=tuple(arm.change for arm in experiments.confirmed),
        left_out=tuple(_left_out(experiments)),
        notes=tuple(note.removeprefix("experiments: ") for note in experiments.notes),
        inapplicable=sum(map(_is_inapplicable, experiments.arms)),
    )


def _left_out(experiments: Experiments) -> list[str]:
    """Changes that were not stepped, by the reason; where it is that of many, their number."""
    reasons: dict[str, list[str]] = {}
    for arm in experiments.arms:
        if not arm.curve and not _is_inapplicable(arm):
            reasons.setdefault(arm.reason, []).append(arm.change)
    return [
        f"{'; '.join(changes) if len(changes) <= _MOST_NAMED else f'{len(changes)} changes'}: {reason}"
        for reason, changes in reasons.items()
    ]


def _is_inapplicable(arm: Arm) -> bool:
    return not arm.curve and arm.reason == INAPPLICABLE


def _cells(arm: Arm, bottom: float, top: float, experiments: Experiments) -> tuple[str, ...]:
    after = written(arm.loss) + (f" ({written(arm.again)})" if arm.again is not None else "")
    is_short = arm.outcome == "not tested" and arm.steps < experiments.steps
    taken = f"{arm.steps:,} of {experiments.steps:,}" if is_short else f"{arm.steps:,}"
    curve = sparkline([loss for _, loss in arm.curve], bottom, top)
    return arm.change, written(arm.first_loss), after, taken, outcome_words(arm, experiments), curve


def outcome_words(arm: Arm, experiments: Experiments) -> str:
    """The outcome of a change as it is shown: beside a program that learns as it is, how its loss compares."""
    if arm.outcome == "trains":
        return "confirmed"
    if arm.outcome == "not tested" and arm.curve:  # it was stepped, and not as long, or as often, as a judgement takes
        return "cut short" if arm.steps < experiments.steps else "one seed only"
    if arm.outcome != "no better":
        return arm.outcome
    if not math.isfinite(arm.loss if arm.loss is not None else math.nan):
        return "not finite"
    stands = beside(arm, experiments)
    if experiments.fails:
        return "lower, not enough" if stands == "lower" else "no better"
    return (
        "not compared"
        if stands is None
        else {"lower": "lower loss", "alike": "about the same", "higher": "higher loss"}[stands]
    )


def sparkline(losses: Sequence[float], bottom: float, top: float, width: int = CURVE_WIDTH) -> str:
    """A curve in block characters, the same scale for every row: full at the top or above, "x" where it is not finite."""
    if len(losses) > width:
        losses = [losses[round(place * (len(losses) - 1) / (width - 1))] for place in range(width)]
    span = max(top - bottom, 1e-30)
    drawn = []
    for loss in losses:
        share = (loss - bottom) / span if math.isfinite(loss) else 0.0
        drawn.append(_BLOCKS[min(max(round(share * (len(_BLOCKS) - 1)), 0), len(_BLOCKS) - 1)] if math.isfinite(loss) else "x")
    return "".join(drawn)
