"""What a trial of the book is: configuration, faults, what was claimed, and what is expected. Data only; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["seed", "public code", "paper", "our choice"]
Variant = Literal["as-published", "repaired"]
VARIANTS: tuple[Variant, ...] = ("as-published", "repaired")

Role = Literal["phenomenon", "holds", "fails"]
"""What an expectation speaks to: what the seed saw; or, if it is met, for the seed's explanation, or against it."""


EVENTS = ("nan_step", "left_chance_step")
"""Metrics that are steps at which something happened, and have no value where it never did."""


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
    """

    label: str
    plan: str
    input: str = "standard"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial of the seed.

    Attributes:
        id: as on the command line.
        chapter: trials that belong together.
        section: the seed's own heading.
        data: the seed's data set: a key of `scales.STAND_INS`.
        reports: what the seed says happened.
        explanation: why, according to the seed.
        reading: what really happened, according to the public code, its plots and the theory.
        settings: fields of the configuration, by flag, beside those that are constant through the seed.
        faults: known bugs that the published run had; keys of `faults.FAULTS`.
        published: settings of the published run only.
        expectations: what is to be measured.
        seeds: one run each.
        steps: updates at pocket scale.
        sessions: calls that the run was spread over, each resuming the one before.
        plans: starts to probe, at the seed's own size and whatever the scale; the trial then trains nothing.
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
    published: dict[str, Value] | None = None
    seeds: tuple[int, ...] = (0,)
    steps: int = 400
    sessions: int = 1
    plans: tuple[Plan, ...] = ()
    compared_with: str | None = None
    not_at_pocket: str = ""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The runs that differ: one where nothing was wrong with the published one."""
        return VARIANTS if self.faults or self.published else ("repaired",)
