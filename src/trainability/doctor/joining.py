"""Two looks at one training become one: records in order of step, each once. Data only; no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from trainability.doctor.serial import to_plain

if TYPE_CHECKING:
    from trainability.doctor.evidence import Evaluation, OptimizerSettings, ProbeResult, Sample, StepRecord
    from trainability.doctor.facts import Facts, LossGraph
    from trainability.doctor.processes import Processes
    from trainability.doctor.rehearsed import Rehearsal

T = TypeVar("T")


def joined_steps(earlier: tuple[StepRecord, ...], later: tuple[StepRecord, ...]) -> tuple[StepRecord, ...]:
    """Join the steps of two looks.

    Raises:
        ValueError: both have the same step with different numbers.
    """
    before = {record.step: record for record in earlier}
    for record in later:
        if record.step in before and _content(before[record.step]) != _content(record):
            raise ValueError(
                f"step {record.step} is in both with different numbers; merge takes two looks at one training "
                "(a Monitor that continues one takes first_step= or before=)"
            )
    return _joined(earlier, later, key=lambda record: record.step)


def joined_samples(earlier: tuple[Sample, ...], later: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Join the sampled steps of two looks; of a step that both sampled, the later look's."""
    return _joined(earlier, later, key=lambda sample: sample.step)


def joined_evaluations(earlier: tuple[Evaluation, ...], later: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
    """Join the evaluations of two looks; a split may be evaluated twice at one step, with different results."""
    return _joined(earlier, later, key=_content)


def joined_settings(earlier: OptimizerSettings | None, later: OptimizerSettings | None) -> OptimizerSettings | None:
    """The later settings; what only the caller can know of them (`clip`, `planned_steps`) is kept from the earlier ones."""
    if earlier is None or later is None:
        return later or earlier
    known = {name: getattr(earlier, name) for name in ("clip", "planned_steps") if getattr(later, name) is None}
    return replace(later, **known)


def joined_facts(earlier: Facts | None, later: Facts | None) -> Facts | None:
    """The later facts, and of the earlier ones what the later look did not ask: Monitor sees the graph of the loss alone."""
    if earlier is None or later is None:
        return later or earlier
    asked = {field.name: getattr(later, field.name) for field in fields(later) if getattr(later, field.name) not in (None, ())}
    told_by_monitor = ("turn", "unused")  # all that it can tell; check knows why
    if earlier.unreached and all(p.reason in told_by_monitor for p in later.unreached):
        asked.pop("unreached", None)
    asked["graph"] = _joined_graphs(earlier.graph, later.graph)
    asked |= {name: _completed(getattr(earlier, name), getattr(later, name)) for name in ("readings", "opponents")}
    return replace(earlier, **{name: value for name, value in asked.items() if value is not False})


def completed_facts(watched: Facts | None, asked: Facts) -> Facts:
    """What a watched loop showed, and what one of its steps answered, which is asked more; numbers are those of its start."""
    if watched is None:
        return asked
    found = _completed(watched, asked)
    if asked.graph is not None and not asked.unreached:  # found by running the step: it reaches all
        found = replace(found, unreached=())
    parts = {name: _completed(getattr(watched, name), getattr(asked, name)) for name in ("graph", "readings", "opponents")}
    return replace(found, **parts)


def _completed(watched: Any, asked: Any) -> Any:
    """A record's fields, with another's in their places where that has something else than a measured number."""
    if watched is None or asked is None:
        return watched or asked
    told = {field.name: (getattr(watched, field.name), getattr(asked, field.name)) for field in fields(asked)}
    return replace(watched, **{name: new for name, (old, new) in told.items() if _adds(old, new)})


def _adds(old: Any, new: Any) -> bool:
    """Whether an answer says more: that something is not so is an answer where nothing was known, as None says."""
    if old is None and new is False:
        return True
    return new not in (None, (), False) and (old in (None, (), False) or not isinstance(new, float))


def _joined_graphs(earlier: LossGraph | None, later: LossGraph | None) -> LossGraph | None:
    """The later graph, with what made the outputs and where: a look at the forward pass tells it, a graph alone does not."""
    if earlier is None or later is None:
        return later or earlier
    if later.takes not in (None, earlier.takes) or later.made_by not in (None, earlier.made_by):
        return later
    return replace(later, takes=earlier.takes, made_by=earlier.made_by, made_at=earlier.made_at)


def joined_processes(earlier: Processes | None, later: Processes | None) -> Processes | None:
    """The later look at the processes, with the steps that the earlier one compared."""
    if earlier is None or later is None:
        return later or earlier
    return replace(later, comparisons=_joined(earlier.comparisons, later.comparisons, key=lambda row: row.step))


def _content(record: Any) -> str:
    """A record's fields as text, in which one NaN equals another."""
    return str(to_plain(record))


def _joined(earlier: tuple[T, ...], later: tuple[T, ...], *, key: Callable[[T], Any]) -> tuple[T, ...]:
    known = {key(record) for record in later}
    kept = [*(record for record in earlier if key(record) not in known), *later]
    return tuple(sorted(kept, key=lambda record: record.step))  # type: ignore[attr-defined]


def with_rehearsed_updates(looked: ProbeResult | None, rehearsal: Rehearsal | None) -> ProbeResult | None:
    """The probe with the updates that the optimizer made at the first rehearsed step, in place of those predicted."""
    if looked is None or rehearsal is None or not rehearsal.critical:
        return looked
    made = dict(rehearsal.critical[0][1].update_ratios)
    layers = tuple(
        replace(layer, update_ratio=made.get(f"{layer.name}.weight", made.get(layer.name, layer.update_ratio)))
        for layer in looked.layers
    )
    return replace(looked, layers=layers)
