"""A trial of the book: configuration, faults, the log's claims, and the expectations. Data only; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["the log", "its code", "paper", "our choice"]

Variant = Literal["as-run", "as-told", "repaired"]
"""as-run: what the log's code ran, with its bugs. as-told: what the log's text describes, if that differs, without the bugs.
repaired: what the code ran, without the bugs."""
VARIANTS: tuple[Variant, ...] = ("as-run", "as-told", "repaired")

Role = Literal["phenomenon", "holds", "fails"]
"""What an expectation that is met is evidence for: what the log saw, or for or against its explanation."""

Answer = Literal["yes", "no", "open", "none"]
"""open: not decided at this scale. none: not run."""


EVENTS = ("nan_step", "left_chance_step")
"""Metrics that are the step at which something happened, without a value if it never happened."""

LEARNING = ("times_constant", "top1_error", "left_chance_step", "two_classes_share", "predicted_classes")
"""Metrics of what a net has learned; not conclusive for a net that is still within its predicted stay at chance."""

GAINS = ("times_constant", "left_chance_step")
"""Those of `LEARNING` that reach a lower bound only by learning."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A setting of a trial and its source.

    Attributes:
        value: at full scale, of the type of the configuration's field.
        source: who gives it.
        note: reason for the choice, if the source is ambiguous.
    """

    value: Any
    source: Source
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A metric and the range in which it is expected.

    Attributes:
        metric: a name of `measure.METRICS`; for a probe trial followed by ":" and the label of the plan.
        text: what it means if it is met, in one clause.
        role: what it is evidence for.
        variant: variant of the run; with several seeds, it must hold for more than half of them.
        low: lower bound; `None` for no bound.
        high: upper bound; `None` for no bound.
        never: the metric must have no value (an event that never happened).
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
        settings: fields of the configuration, by flag, that the code ran, in addition to those of the whole log.
        faults: known bugs that the run had; keys of `faults.FAULTS`.
        as_run: settings that are themselves bugs, only for the run with the bugs.
        as_told: settings in the log's text that differ from what its code ran.
        expectations: metrics and their ranges.
        seeds: one run each.
        steps: updates at pocket scale.
        sessions: number of calls that made the run, each resuming the one before.
        plans: starts to probe, at the log's own size for every scale; the trial then trains nothing.
        compared_with: another trial, whose losses are compared step by step.
        not_at_pocket: what pocket scale cannot show; "" if it shows everything.
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
        """The variants that differ: only one if the log's run had no bugs and its text describes what was run."""
        has = {"as-run": bool(self.faults or self.as_run), "as-told": self.as_told is not None, "repaired": True}
        return tuple(variant for variant in VARIANTS if has[variant])
