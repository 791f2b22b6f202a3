"""Targets that a loss reads only where they are all the same, as behind a mask that is inverted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST, _MOST_CHANNELS = 8, 64  # values of either kind
_ALIKE = 1e-4
_LEAST_BELOW, _MOST_ALIKE, _ALMOST_ALL = 0.1, 0.5, 0.95  # of all numbers; of those below; of those above
Forward = Callable[[Any, Any], Tensor]


def unread_targets(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, ...]:
    """Channels of the targets of which the loss reads one constant, and not the values that differ.

    The gradient of the loss by its targets tells what it reads. That the others do not count is asked by exchanging them among
    themselves; and that nothing else is asked of the answers there by the gradient of the outputs, and by giving the examples
    of which nothing is read one input: a derivative or smoothness may be what the loss wants of them.

    Args:
        model: runs as it is.
        batch: holds one tensor of numbers, (batch, channels, ...), that the model is not given.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        Numbers of these channels; none where the program takes its targets out of PyTorch, so that they have no gradient.
    """
    asked = _asked(model, batch, forward, seen)
    if asked is None:
        return ()
    target, slope, pulled, cost = asked
    told: list[int] = []
    for channel in range(target.shape[1]):
        values, read = target[:, channel], slope[:, channel] != 0
        used, unused = values[read], values[~read]
        if min(len(used), len(unused)) < _FEWEST or bool((used != used[0]).any()) or not _differ(unused):
            continue
        if not _counts(channel, ~read, target, pulled, cost):
            told.append(channel)
    shown = {x.data_ptr() for _, x in tensors(seen.inputs)}
    bare = ~(slope != 0).flatten(1).any(dim=1)
    own_input = next((t for _, t in seen.batch if t.data_ptr() in shown and t.dim() > 1 and len(t) == len(target)), None)
    if told and own_input is not None and int(bare.sum()) > 1:
        alike = own_input.detach().clone()
        alike[bare] = alike[bare][:1].clone()
        if float(cost(target, (own_input, alike)).detach()) != float(cost(target).detach()):
            return ()
    return tuple(told)


def unread_below_zero(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, float] | None:
    """Find a channel of the targets in which the loss reads every number above zero and none below, though these differ.

    A mask such as target > 0, that is meant for what is missing, leaves out half of targets that were standardised. What is
    missing is one number, or a few; that the others do not count is asked as in `unread_targets`.

    Args:
        model: runs as it is.
        batch: holds one tensor of numbers, (batch, channels, ...), that the model is not given.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        The channel, and the share of its numbers that lie below zero; None without one.
    """
    asked = _asked(model, batch, forward, seen)
    if asked is None:
        return None
    target, slope, pulled, cost = asked
    for channel in range(target.shape[1]):
        values, read = target[:, channel], slope[:, channel] != 0
        below = values < 0
        share, counts = float(below.float().mean()), values[below].unique(return_counts=True)[1]
        if not _LEAST_BELOW <= share <= 1 - _LEAST_BELOW or len(counts) < _FEWEST:
            continue
        if float(counts.max()) > _MOST_ALIKE * float(counts.sum()):  # one number for what is missing
            continue
        above = values > 0
        if bool((read & ~above).any()) or not float(read[above].float().mean()) >= _ALMOST_ALL or not _differ(values[above]):
            continue
        if bool((values[below] == values[below].round()).all()) or _is_multiple(target, cost):
            continue  # codes of what is not known; weights, such as advantages
        if not _counts(channel, below, target, pulled, cost):
            return channel, share
    return None


def _is_multiple(target: Tensor, cost: Callable[..., Tensor]) -> bool:
    """Whether the loss is a multiple of what the targets are, which no distance to them is."""
    own, double = float(cost(target).detach()), float(cost(2 * target).detach())
    return abs(double - 2 * own) <= _ALIKE * abs(own)


def _asked(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass
) -> tuple[Tensor, Tensor, Tensor | None, Callable[..., Tensor]] | None:
    """The targets, the loss's gradients by them and by the outputs, and the loss of other targets; None without."""
    shown = {x.data_ptr() for _, x in tensors(seen.inputs)}
    found = [t for _, t in seen.batch if t.is_floating_point() and t.dim() > 1 and t.data_ptr() not in shown]
    if len(found) != 1 or not 0 < found[0].shape[1] <= _MOST_CHANNELS:
        return None
    sizes = [size for _, t in (*tensors(seen.inputs), *tensors(seen.output)) for size in t.shape]
    if len(found[0]) > max(sizes, default=0):  # all data, of which the loop picks its examples
        return None
    target = found[0].detach()
    outputs: list[Any] = []

    def cost(targets: Tensor, *changes: tuple[Tensor, Tensor]) -> Tensor:
        changed = batch
        for old, new in ((found[0], targets), *changes):
            changed = exchanged(changed, old, new)
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return forward(model, changed).sum()

    given = target.clone().requires_grad_()
    handle = model.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        loss = cost(given * 1)  # no leaf, so that a loss may write into its targets
    except RuntimeError:
        return None
    finally:
        handle.remove()
    own = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tensor) and len(outputs[0]) == len(target) else None
    slope, pulled = _gradients(loss, given, own)
    if slope is None:
        return None
    return target, slope, pulled, cost


def _counts(channel: int, there: Tensor, target: Tensor, pulled: Tensor | None, cost: Callable[..., Tensor]) -> bool:
    """Whether the loss goes by the numbers there of a channel, or asks something else of the outputs there."""
    if pulled is not None and pulled.shape == target.shape and bool(pulled[:, channel][there].any()):
        return True
    if pulled is not None and pulled.dim() == target.dim() and pulled.shape[1] != target.shape[1]:
        of_places = pulled.abs().sum(dim=1)  # of several outputs for a target, as an amount and whether there is any
        if of_places.shape == there.shape and bool(of_places[there].any()):
            return True
    moved, values = target.clone(), target[:, channel][there]
    moved[:, channel][there] = values.roll(len(values) // 2).flip(0)
    return float(cost(moved).detach()) != float(cost(target).detach())


def _gradients(loss: Tensor, given: Tensor, output: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Of the targets and of the outputs; None of what the loss does not depend on."""
    asked = [t for t in (given, output) if t is not None and t.requires_grad]
    if not loss.requires_grad:
        return None, None
    slopes = torch.autograd.grad(loss, asked, allow_unused=True)
    return slopes[0], slopes[1] if len(slopes) > 1 else None


def _differ(values: Tensor) -> bool:
    """Whether there are several values, and not one beside a filler."""
    return len(values.unique()) > 3
