"""One step of each optimizer of a script, recorded, so that it can be asked at the end what `check` asks of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.measure.kept_targets import MOST_STEPS, Held, are_enough, held_of, with_kept_targets
from trainability.doctor.measure.recorded_facts import Kept, facts_of_kept, kept_targets_of, weights_of
from trainability.doctor.measure.recorded_step import recorded_step
from trainability.doctor.measure.step_tape import OpenTape, StepTape
from trainability.doctor.measure.warned import unheard
from trainability.loops.recorder import num_processes

if TYPE_CHECKING:
    from trainability.loops.monitor import Monitor

_MOST_TRIES = 8  # steps that turn out not to be known as a function
_MOST_WEIGHTS = 1 << 26
_MOST_KEPT = 4  # optimizers


@dataclass(frozen=True)
class _First:
    weights: dict[str, Tensor]  # when the model was found
    at_start: bool  # its optimizer had made no step


@dataclass(frozen=True)
class _Recorded:
    kept: Kept
    batches: Iterable[Any]  # of the loader that the step's batch is from
    held: list[Held]  # what the step was given that may be targets, and the steps behind it; of most steps nothing


class OwnStep:
    """Records one step of an optimizer, from its second on, and keeps the model's weights of then and of the start.

    Where optimizers take turns, no step is a function of one model. Of a step that is given what may be targets, and is not of
    its batch, some more are recorded behind it.

    Args:
        batches: the loader that the script trains on now, read in this process; nothing where there is none, or none is known.
    """

    def __init__(self, batches: Callable[[], Iterable[Any]] = tuple) -> None:
        self._batches = batches
        self._open = OpenTape()
        self._monitor: Monitor | None = None  # of the step that is being recorded
        self._first: dict[int, _First] = {}  # by optimizer
        self._tries: dict[int, int] = {}  # likewise
        self._recorded: dict[int, _Recorded] = {}  # likewise
        self._order: list[torch.optim.Optimizer] = []  # which have stepped, each time another than before

    def begin(self, monitor: Monitor, *, at_start: bool) -> None:
        """A model is watched from now on.

        Args:
            monitor: of it.
            at_start: its optimizer has made no step.
        """
        is_alone = num_processes() == 1  # what one of several computes again may wait for the others
        if is_alone and len(self._first) < _MOST_KEPT and _num_weights(monitor.model) <= _MOST_WEIGHTS:
            self._first[id(monitor.optimizer)] = _First(weights_of(monitor.model), at_start)

    def given(self, batch: Any) -> None:
        """A loader has yielded a batch, to be trained on or not."""
        if self._open.tape is not None:
            if torch.is_grad_enabled():
                self._open.tape.take(batch)
            else:  # an evaluation has no part in a step
                self._open.drop()

    def backward(self, loss: Any, *, is_turned: bool = False) -> None:
        """A backward pass is over; what it was turned by is not recorded."""
        if self._open.tape is not None:
            with contextlib.suppress(Exception):  # a step that cannot be read tells nothing
                if not is_turned:
                    self._read(loss)
            self._open.drop()

    def stepped(self, optimizer: torch.optim.Optimizer, monitor: Monitor | None) -> None:
        """A step is over: the next may be recorded.

        Args:
            optimizer: that has stepped.
            monitor: of it; None without one.
        """
        self._open.drop()
        if not self._order or self._order[-1] is not optimizer:
            self._order = [*self._order[-2 * _MOST_KEPT :], optimizer]
        tries, known = self._tries.get(id(optimizer), 0), self._recorded.get(id(optimizer))
        most = _MOST_TRIES if known is None else _MOST_TRIES + MOST_STEPS
        if monitor is None or tries >= most or monitor.has_tape:  # which is a mode of its own
            return
        if id(optimizer) not in self._first or self._takes_turns:
            return
        if known is not None and (not known.held or are_enough(known.held)):
            return
        self._tries[id(optimizer)] = tries + 1
        self._monitor = monitor
        self._open.begin(StepTape(monitor.model))

    @property
    def is_recording(self) -> bool:
        """Whether the step that follows is recorded."""
        return self._open.tape is not None

    def end(self) -> None:
        """The script has ended."""
        self._open.drop()

    def facts(self, monitor: Monitor) -> Facts | None:
        """What a step shows; None where none is known, or where it cannot be computed again.

        Args:
            monitor: of the optimizer that made it.
        """
        found = self._recorded.get(id(monitor.optimizer))
        if found is None or self._takes_turns:
            return None
        batches = found.batches if found.kept.step.is_of_loader else ()
        try:
            with unheard():  # the loop itself was warned, by its own line
                facts = facts_of_kept(monitor.model, found.kept, optimizer=monitor.optimizer, batches=batches)
                return with_kept_targets(facts, kept_targets_of(monitor.model, found.kept, found.held, batches))
        except Exception:  # one that cannot be computed again tells nothing
            return None

    @property
    def _takes_turns(self) -> bool:
        return len({id(optimizer) for optimizer in self._order}) < len(self._order)

    def _read(self, loss: Any) -> None:
        tape, monitor = self._open.tape, self._monitor
        assert tape is not None
        assert monitor is not None
        tape.end()
        step = recorded_step(tape, monitor.model, loss)
        known = self._recorded.get(id(monitor.optimizer))
        held = held_of(step) if step is not None else None
        if known is not None:
            known.held[:] = [*known.held, held] if held is not None else []
        if step is None or known is not None:
            return
        weights, first = weights_of(monitor.model), self._first[id(monitor.optimizer)]
        is_alike = {name: t.shape for name, t in first.weights.items()} == {name: t.shape for name, t in weights.items()}
        kept = Kept(
            step=step,
            loss=float(loss.detach()),
            weights=weights,
            first=first.weights if is_alike else weights,
            at_start=first.at_start and is_alike,
            was_training=tape.was_training,
            random_state=tape.random_state,
        )
        self._recorded[id(monitor.optimizer)] = _Recorded(kept, self._batches(), [held] if held is not None else [])


def _num_weights(model: nn.Module) -> float:
    lazy = any(nn.parameter.is_lazy(p) for p in model.parameters())
    return float("inf") if lazy else sum(p.numel() for p in model.parameters())
