"""A recorded step of somebody else's loop as a function of (model, batch) that returns its loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import cloned, map_parts, tensors
from trainability.doctor.measure.replay import Line, is_own_function
from trainability.doctor.measure.step_tape import Event, Item, ModuleCall, StepTape, tensors_of

_MOST_NUMBERS = 1 << 24  # of all that the step was given beside its batch
_PICKS = frozenset({"__getitem__", "index_select", "narrow", "gather", "take", "take_along_dim"})
_JOINS = frozenset({"stack", "cat", "concat", "concatenate", "vstack", "hstack", "pad_sequence", "tensor", "as_tensor"})
_WRITES = frozenset({"batch_norm", "instance_norm"})  # though their names do not say so


@dataclass(frozen=True)
class _Place:
    """Stands for a tensor of the recorded step, so that none of those is kept alive with its graph."""

    key: int


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A function, a module by its name, or an event, with what it is given."""

    what: Callable[..., Any] | str | Event
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    has_gradients: bool
    cast: tuple[str, torch.dtype] | None


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """The loss of one step, computed again with another model of the same parts, and another batch of the same shapes.

    Attributes:
        batch: that the loop took, of the structure in which its loader yielded it.
        is_of_loader: a loader has yielded it; else it is what the loop has picked out of its tensors.
    """

    batch: Any
    is_of_loader: bool
    _calls: tuple[_Call, ...]
    _loss: int  # place of what `backward` was called on last
    _taken: tuple[int, ...]  # places of the batch
    _names: dict[int, str]  # of the model's parameters and buffers, by place
    _others: dict[int, Tensor]  # what else the step was given, as it was then
    _writes: bool  # some function writes into what it is given

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss, one number with its graph.

        Args:
            model: like the one that was recorded.
            batch: like `self.batch`.
        """
        running = self.follow(model, batch)
        while True:
            try:
                next(running)
            except StopIteration as end:
                return end.value.sum()

    @property
    def given(self) -> dict[int, Tensor]:
        """What the step was given besides its batch and the model's weights, by a key that `with_given` takes."""
        return self._others

    def with_given(self, other: dict[int, Tensor]) -> RecordedStep:
        """The same step, given other tensors of the same shapes by their keys."""
        return replace(self, _others={**self._others, **other})

    def follow(self, model: nn.Module, batch: Any) -> Generator[tuple[Event, Tensor | None], None, Tensor]:
        """Yield each event, with its loss if it is a backward pass, between the functions; return the last loss."""
        given = [tensor for _, tensor in tensors(batch)]
        own = torch.clone if self._writes else (lambda tensor: tensor)  # what is written into is to stay as it is
        values = {key: own(tensor) for key, tensor in zip(self._taken, given, strict=True)}
        if self._names:
            named = dict(model.named_parameters()) | dict(model.named_buffers())
            values |= {key: named[name] for key, name in self._names.items()}
        values |= {key: tensor if tensor.requires_grad else own(tensor) for key, tensor in self._others.items()}

        def now(part: Any) -> Any:
            return values[part.key] if isinstance(part, _Place) else map_parts(part, now)

        for call in self._calls:
            if isinstance(call.what, Event):
                yield call.what, now(call.args[0]) if call.args else None
                continue
            function = model.get_submodule(call.what) if isinstance(call.what, str) else call.what
            with _as_then(call):
                found = function(*now(call.args), **now(call.kwargs))
            values |= dict(zip(call.results, tensors_of(found), strict=True))
        return values[self._loss]


@contextlib.contextmanager
def _as_then(call: _Call) -> Iterator[None]:
    device, dtype = call.cast or ("cpu", None)
    with contextlib.ExitStack() as stack:
        if call.cast is not None:
            stack.enter_context(torch.autocast(device, dtype=dtype, cache_enabled=False))
        if not call.has_gradients:
            stack.enter_context(torch.no_grad())
        yield


def recorded_step(tape: StepTape, model: nn.Module, loss: Any) -> RecordedStep | None:
    """Read a step off its tape, right behind its last backward pass.

    Args:
        tape: of the step.
        model: that was recorded.
        loss: that `backward` was called on, the last one of several; the tape's events have the others.

    Returns:
        None where it is not known how the losses were computed, or of what batch.
    """
    losses = [loss, *(item.what.loss for item in tape.items if isinstance(item.what, Event) and item.what.loss is not None)]
    if tape.lost or any(not isinstance(t, Tensor) or t.numel() != 1 or is_own_function(t) for t in losses):
        return None
    items = _needed(tape.items, {id(loss)})
    if not any(isinstance(item.what, ModuleCall) for item in items) or any(map(_is_of_own_function, items)):
        return None
    names = {id(tensor): name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    batch, is_of_loader = _of_loaders(tape.batches, items), True
    if batch is None:
        (items, batch), is_of_loader = _picked(items, names, id(loss)), False
    if batch is None:
        return None
    taken = tuple(tensor for _, tensor in tensors(batch))
    others = _given(items, {id(tensor) for tensor in taken} | set(names))
    if others is None or _goes_on_elsewhere(tape, items, taken, others):
        return None
    read = {id(tensor) for item in items for tensor in item.what.reads()}
    return RecordedStep(
        batch=cloned(batch),
        is_of_loader=is_of_loader,
        _calls=tuple(_call(item) for item in items),
        _loss=id(loss),
        _taken=tuple(id(tensor) for tensor in taken),
        _names={key: name for key, name in names.items() if key in read},
        _others={id(tensor): tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in others},
        _writes=any(item.what.written() is not None or _name(item) in _WRITES for item in items),
    )


def _is_of_own_function(item: Item) -> bool:
    """Whether a function of a user's own made it: what that computes has no gradients, and its result has."""
    made = item.what.results
    return any(is_own_function(t) or (t.requires_grad and not (item.has_gradients or t.is_leaf)) for t in made)


def _call(item: Item) -> _Call:
    what, args, kwargs = item.what, (), {}
    if isinstance(what, Event):
        args = () if what.loss is None else (_Place(id(what.loss)),)
        what = replace(what, loss=None)
    else:
        args, kwargs = _places(what.args), _places(what.kwargs)
    return _Call(
        what=what.func if isinstance(what, Line) else what.name if isinstance(what, ModuleCall) else what,
        args=args,
        kwargs=kwargs,
        results=tuple(id(tensor) for tensor in item.what.results),
        has_gradients=item.has_gradients,
        cast=item.cast,
    )


def _places(part: Any) -> Any:
    return _Place(id(part)) if isinstance(part, Tensor) else map_parts(part, _places)


def _needed(items: Iterable[Item], wanted: set[int]) -> list[Item]:
    """What some tensors were computed by, in order; functions that write into what is needed are."""
    found = []
    for item in reversed(list(items)):
        written = item.what.written()
        made = item.what.results if written is None else (*item.what.results, written)
        if isinstance(item.what, Event) or any(id(tensor) in wanted for tensor in made):
            wanted |= {id(tensor) for tensor in item.what.reads()}
            found.append(item)
    return found[::-1]


def _of_loaders(yielded: list[Any], items: list[Item]) -> Any:
    """The batch, or several, of which a part was read; None where no loader's was."""
    read = {id(tensor) for item in items for tensor in item.what.reads()}
    used = [batch for batch in yielded if any(id(tensor) in read for _, tensor in tensors(batch))]
    return None if not used else used[0] if len(used) == 1 else tuple(used)


def _picked(items: list[Item], names: dict[int, str], loss: int) -> tuple[list[Item], tuple[Tensor, ...] | None]:
    """What a loop without a loader picks out of its tensors, or makes: the first that has one row for each example.

    What it picks out of a memory is given, though it has written something there before.

    Returns:
        What is left to compute, and the batch; None where it is not known what examples are.
    """
    made, picked = set[int](), set[int]()
    left = []

    def is_given(tensor: Tensor) -> bool:
        return id(tensor) not in made and id(tensor) not in names and not tensor.requires_grad

    for item in items:
        read, name = list(item.what.reads()), _name(item)
        fewer = sum(tensor.numel() for tensor in item.what.results) < max((t.numel() for t in read[:1]), default=0)
        is_part = name in _PICKS and fewer and is_given(read[0]) and id(read[0]) not in picked
        if is_part or (name in _JOINS and all(map(is_given, read))):
            picked |= {id(tensor) for tensor in item.what.results}
        else:
            made |= {id(tensor) for tensor in item.what.results}
            left.append(item)
    left = _needed(left, {loss})
    made = {id(tensor) for item in left for tensor in item.what.results}
    inputs = _inputs(left, made | set(names))
    if not inputs:
        left, made = _behind_the_model(items)
        inputs = _inputs(left, made | set(names))
    rows = len(inputs[0]) if inputs else 0
    return left, tuple(t for t in inputs if len(t) == rows) if rows > 1 and not _lie_across(inputs) else None


def _lie_across(inputs: list[Tensor]) -> bool:
    """Whether only the second dimension of the first tensor is the first one of others: it has a step in each row."""
    lengths, shape = {len(tensor) for tensor in inputs[1:]}, inputs[0].shape
    return len(shape) > 1 and shape[0] not in lengths and shape[1] in lengths


def _name(item: Item) -> str:
    return getattr(item.what.func, "__name__", "") if isinstance(item.what, Line) else ""


def _inputs(items: list[Item], known: set[int]) -> list[Tensor]:
    """Tensors of numbers that were given, and are not known."""
    found: dict[int, Tensor] = {}
    for item in items:
        for tensor in item.what.reads():
            if id(tensor) not in known and tensor.dim() and tensor.numel() > 1 and not tensor.requires_grad:
                found.setdefault(id(tensor), tensor)
    return list(found.values())


def _behind_the_model(items: list[Item]) -> tuple[list[Item], set[int]]:
    """What follows from the model's answers, and what that makes: what was tried before without gradients is given."""
    follows: set[int] = set()
    left = []
    for item in items:
        if not item.has_gradients and not isinstance(item.what, Event):
            continue
        if isinstance(item.what, ModuleCall | Event) or any(id(tensor) in follows for tensor in item.what.reads()):
            follows |= {id(tensor) for tensor in item.what.results}
            left.append(item)
    return left, follows


def _given(items: list[Item], known: set[int]) -> list[Tensor] | None:
    """What else was given; None where some of it has a graph of its own, or is too much to be kept."""
    made, found = set(known), dict[int, Tensor]()
    for item in items:
        for tensor in item.what.reads():
            if id(tensor) not in made:
                found.setdefault(id(tensor), tensor)
        made |= {id(tensor) for tensor in item.what.results}
    if any(tensor.requires_grad and not tensor.is_leaf for tensor in found.values()):
        return None
    return list(found.values()) if sum(tensor.numel() for tensor in found.values()) <= _MOST_NUMBERS else None


def _goes_on_elsewhere(tape: StepTape, items: list[Item], taken: Iterable[Tensor], others: list[Tensor]) -> bool:
    """Whether part of the batch, or of what was made of it, was read by Python, or is given on by ways that are not seen.

    So is a draw that Python reads and functions read, too, as a turn of images that is their label. Single numbers of what
    the model returns are read to be printed.
    """
    follows, answers = {id(tensor) for tensor in taken}, set[int]()
    memory = {_memory(tensor) for tensor in taken}
    for item in items:
        read = {id(tensor) for tensor in item.what.reads()}
        made = {id(tensor) for tensor in item.what.results}
        is_answer = isinstance(item.what, ModuleCall) or not answers.isdisjoint(read)
        answers |= made if is_answer else set()
        if is_answer or not follows.isdisjoint(read):
            follows |= made
            memory |= {_memory(tensor) for tensor in item.what.results}
    if any(id(t) in follows for t in tape.escaped if t.numel() > 1) or any(_memory(t) in memory for t in others if t.numel()):
        return True
    used = {id(tensor) for tensor in taken} | {id(t) for item in items for t in item.what.results if id(t) not in answers}
    return any(not used.isdisjoint(_behind(tensor, tape.items)) for tensor in tape.escaped if tensor.numel() == 1)


def _behind(tensor: Tensor, items: list[Item]) -> set[int]:
    """What a tensor was made of, with itself; nothing of what a model has returned."""
    behind = {id(tensor)}
    for item in reversed(items):
        if any(id(made) in behind for made in item.what.results):
            if isinstance(item.what, ModuleCall):
                return set()
            behind |= {id(given) for given in item.what.reads()}
    return behind


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
