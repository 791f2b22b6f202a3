"""What a trial of the book is: configuration, faults, what was claimed, and what is expected. Data only; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["the log", "its code", "paper", "our choice"]

Variant = Literal["as-run", "as-told", "repaired"]
"""as-run: what the log's code ran, with its bugs. as-told: what the log's text says where that is something else, without the
bugs. repaired: what the code ran, without the bugs."""
VARIANTS: tuple[Variant, ...] = ("as-run", "as-told", "repaired")

Role = Literal["phenomenon", "holds", "fails"]
"""What an expectation speaks to: what the log saw; or, if it is met, for the log's explanation, or against it."""

Answer = Literal["yes", "no", "open", "none"]
"""open: cannot be told at this scale. none: not run."""


EVENTS = ("nan_step", "left_chance_step")
"""Metrics that are steps at which something happened, and have no value where it never did."""

LEARNING = ("times_constant", "top1_error", "left_chance_step", "two_classes_share", "predicted_classes")
"""Metrics that say what a net has learned: of one that is still at chance, no longer than predicted, they say nothing."""

GAINS = ("times_constant", "left_chance_step")
"""Of these, the ones that only learning makes reach a lower bound."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A setting of a trial and where it comes from.

    Attributes:
        value: at full scale, as the field of the configuration wants it.
        source: who gives it.
        note: why this one, where the source leaves room.
    """

    value: Any
    source: Source
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A measured number that is to lie in a range.

    Attributes:
        metric: a name of `measure.METRICS`; for a probe trial followed by ":" and the label of the plan.
        text: what it means if it is met, in one clause.
        role: what it speaks to.
        variant: of which run; of a trial's several seeds, it must hold in more than half.
        low: at least; `None` for no bound.
        high: at most; `None` for no bound.
        never: the metric has no value (a step that never came).
    """

    metric: str
    text: str
    role: Role
    variant: Variant = "repaired"
    low: float | None = None
    high: float | None = None
    never: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A start whose gradients a probe trial measures.

    Attributes:
        label: short name, for expectations and tables.
        plan: as for `--init.plan`, at full scale.
        input: as for `--data.input`.
        source: who gives it.
    """

    label: str
    plan: str
    input: str = "standard"
    source: Source = "our choice"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial of the log.

    Attributes:
        id: as on the command line.
        chapter: trials that belong together.
        section: the log's own heading.
        data: the log's data set: a key of `scales.STAND_INS`.
        reports: what the log says happened.
        explanation: why, according to the log.
        reading: what really happened, according to the code, its plots and the theory.
        settings: fields of the configuration, by flag, that the code ran, beside those that are constant through the log.
        faults: known bugs that the run had; keys of `faults.FAULTS`.
        as_run: settings of the run with the bugs only, that are themselves bugs.
        as_told: settings that the log's text names where its code ran something else.
        expectations: what is to be measured.
        seeds: one run each.
        steps: updates at pocket scale.
        sessions: calls that the run was spread over, each resuming the one before.
        plans: starts to probe, at the log's own size and whatever the scale; the trial then trains nothing.
        compared_with: another trial, whose losses are compared step by step.
        not_at_pocket: what pocket scale cannot show; "" if it shows all.
    """

    id: str
    chapter: str
    section: str
    data: str
    reports: str
    explanation: str
    reading: str
    settings: dict[str, Value]
    expectations: tuple[Expectation, ...]
    faults: tuple[str, ...] = ()
    as_run: dict[str, Value] | None = None
    as_told: dict[str, Value] | None = None
    seeds: tuple[int, ...] = (0,)
    steps: int = 400
    sessions: int = 1
    plans: tuple[Plan, ...] = ()
    compared_with: str | None = None
    not_at_pocket: str = ""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The runs that differ: one where nothing was wrong with the log's, and the text says what was run."""
        has = {"as-run": bool(self.faults or self.as_run), "as-told": self.as_told is not None, "repaired": True}
        return tuple(variant for variant in VARIANTS if has[variant])
