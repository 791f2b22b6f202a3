"""The first batch of a loader, and the loader with it still in it; batches whose inputs are several tensors."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import call_model, empty_line, first_tensor, tensors
from trainability.doctor.error_line import error_place
from trainability.doctor.measure.audits import unpacked
from trainability.doctor.setup import Setup

_FEWEST, _MOST_READ, _SECONDS = 8, 12, 2.0  # numbers of a tensor; batches; until no more are read


def are_inputs_in_parts(batch: Any) -> bool:
    """Whether a batch is (inputs, label), the inputs a tuple, a dict or a dataclass of tensors."""
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        return False
    inputs, label = batch
    return not isinstance(inputs, Tensor) and first_tensor(inputs) is not None and first_tensor(label) is not None


def with_inputs_in_parts(setup: Setup, first: Any) -> Setup:
    """The setup with a training step in place of `loss_fn`, where inputs come in parts: the model is called as loops do it.

    Args:
        setup: as it was given.
        first: its first batch.
    """
    loss_fn = setup.loss
    if loss_fn is None or setup.training_step or setup.step or not are_inputs_in_parts(first):
        return setup

    def training_step(model: Any, batch: Any) -> Tensor:
        inputs, label = batch
        return loss_fn(call_model(model, inputs), label)

    return dataclasses.replace(setup, loss_fn=None, training_step=training_step)


class _ReadAgain:
    """An iterable of what can be read once only: what was drawn is kept, and comes first the next time."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source, self.drawn = source, []

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while True:
            if place == len(self.drawn):
                item = next(self.source, self)
                if item is self:
                    return
                self.drawn.append(item)
            yield self.drawn[place]
            place += 1


def first_batch(setup: Setup) -> tuple[Any, Iterable[Any]]:
    """The first batch, and the loader with that batch still in it.

    Raises:
        ValueError: the loader fails or is empty, or a batch is no pair for `loss_fn`.
    """
    batches = iter(setup.train_loader)
    train = _ReadAgain(batches) if batches is setup.train_loader else setup.train_loader
    try:
        first = next(iter(train), None) if isinstance(train, _ReadAgain) else next(batches, None)
    except Exception as error:
        raise ValueError(f"train_loader failed: {error_place(error)}") from error
    if first is None:
        raise ValueError(empty_line(setup.train_loader))
    if not (setup.training_step or setup.step or are_inputs_in_parts(first)):
        unpacked(first, "train")  # loss_fn takes (output, label)
    return first, train


def with_both_labels(first: Any, batches: Iterable[Any]) -> Any:
    """A batch to ask the loss about: the first one, or where a tensor of it is 0 or 1 all through, one of both.

    Where a label is rare, the first batch often has none of it, and says nothing of what the loss makes of that label.

    Args:
        first: of the loader.
        batches: the loader, of which a few more are read.

    Returns:
        The first batch of the same structure in which one of these tensors has both; the first of all if there is none.
    """
    alike = [place for place, t in tensors(first) if _are_alike(t)]
    shapes = [(place, t.shape, t.dtype) for place, t in tensors(first)]
    began = time.monotonic()
    for batch in itertools.islice(batches if alike else (), 1, _MOST_READ):
        own = dict(tensors(batch))
        if [(place, t.shape, t.dtype) for place, t in own.items()] == shapes and any(_are_both(own[place]) for place in alike):
            return batch
        if time.monotonic() - began > _SECONDS:
            break
    return first


def _are_alike(t: Tensor) -> bool:
    if t.layout != torch.strided or t.numel() < _FEWEST or t.is_complex():
        return False
    return bool((t == 0).all()) or bool((t == 1).all())


def _are_both(t: Tensor) -> bool:
    return bool(((t == 0) | (t == 1)).all()) and bool((t == 0).any()) and bool((t == 1).any())
