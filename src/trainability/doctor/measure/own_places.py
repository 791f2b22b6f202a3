"""Models that are asked for their own input, number by number, and whether the answer for a number goes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.held_scale import HeldScale
from trainability.doctor.measure.influence import answer
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once
from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.questions import start
from trainability.doctor.measure.randomness import seed_torch
from trainability.doctor.measure.unread_masks import WeightMask, masks_of, unread
from trainability.doctor.readings import OwnPlaces

_FEWEST_ROWS, _FEWEST_NUMBERS, _MOST_NUMBERS = 4, 16, 1 << 20
_MOST_PLACES = 6
_CHANGE, _NONE = 1e-4, 1e-5  # of the outputs' rms: a change, and what rounding leaves of none

Forward = Callable[[Any, Any], Tensor]


def own_places(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> OwnPlaces | None:
    """Look for a model that is to predict each number of its input from those before it, and is given that number as well.

    An autoencoder goes by what it is asked for, too. So nothing is said unless the model shows that it is to go by earlier
    numbers alone: with its unread masks applied it does; or it goes by no later number as it is; or it has masks that hide
    later pixels, and all its layers are as wide as the input, so that it is no autoencoder with such a decoder.

    Args:
        model: that is called once as a whole, with its input first: (batch, numbers) or (batch, channels, height, width), or
            whole numbers (batch, height, width); modes are changed, all else is put back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        None where the targets are not the input's own numbers at the same places, where answers do not go by them, and where
        neither can be asked.
    """
    given = seen.inputs[0] if seen.inputs and isinstance(seen.inputs[0], Tensor) else None
    if len(seen.calls) != 1 or seen.calls[0].model is not model or seen.names or given is None or not _is_of_places(given):
        return None
    given = given.detach()
    start(model)
    own = returned_once(model, batch, forward)
    if own is None or not own.tensors or not own.tensors[0].is_floating_point():
        return None
    for _, target in tensors(batch):
        if target.numel() == given.numel() and len(target) == len(given) and _follows(target, given):
            asked = list(_asked(model, batch, forward, own, target, given))
            if asked:
                return _judged(_Asked(model, seen.inputs, given, asked), model, batch, forward, seen)
    return None


class _Asked:
    """The answers for some numbers of the input, asked again where other numbers of the input are those of other examples."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], given: Tensor, asked: list[tuple[int, Tensor]]) -> None:
        self._model, self._inputs, self._given, self._asked = model, inputs, given, asked
        order = torch.arange(given[0].numel(), device=given.device)
        self._numbers, self._pixels = order, order % num_places(given)

    def itself(self) -> list[float] | None:
        """As `_changes`, where each number itself is exchanged."""
        return self._changes(lambda place: self._numbers == place)

    def later(self) -> list[float] | None:
        """As `_changes`, where all pixels behind its own are exchanged."""
        return self._changes(lambda place: self._pixels > self._pixels[place])

    def earlier(self) -> list[float] | None:
        """As `_changes`, where all pixels before its own are exchanged."""
        return self._changes(lambda place: self._pixels < self._pixels[place])

    def _changes(self, others: Callable[[int], Tensor]) -> list[float] | None:
        """How much each answer changes, over the rms of all answers; None where they are others each time."""
        with HeldScale(self._model) as held:
            whole = self._answer(None)
            held.is_kept = True
            again = self._answer(None)
            if whole is None or again is None or float((whole - again).abs().max()) > _NONE * float(statistics.rms(whole)):
                return None
            size, found = max(float(statistics.rms(again)), 1e-30), []
            for place, outputs in self._asked:
                changed = self._answer(others(place))
                if changed is None or changed.shape != outputs.shape:
                    return None
                found.append(float((changed - again)[outputs].abs().max()) / size)
        return found

    def _answer(self, places: Tensor | None) -> Tensor | None:
        rows = self._given.flatten(1)
        if places is not None:
            rows = torch.where(places, rows.roll(1, dims=0), rows)
        return answer(self._model, [rows.view_as(self._given), *self._inputs[1:]], None)


def num_places(given: Tensor) -> int:
    """Pixels of an image, numbers of a vector."""
    return given[0].numel() if given.dim() == 2 else given.shape[-2:].numel()


def _judged(asked: _Asked, model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> OwnPlaces | None:
    changes = asked.itself()
    if changes is None or not _most(changes):
        return None
    change, masks = median(changes), masks_of(model)
    start(model)
    loose = unread(model, batch, forward, masks) if masks else []
    if loose and _is_blind(asked, model, loose):
        return OwnPlaces(kind="mask", masks=tuple(mask.name for mask in loose), change=change)
    if seen.inputs[0].dim() > 2 and min(seen.inputs[0].shape[-2:]) > 1:
        later, earlier = asked.later(), asked.earlier()
        if later is not None and earlier is not None and max(later) <= _NONE and _most(earlier):
            return OwnPlaces(kind="itself", change=change)
    hiding = tuple(mask.name for mask in masks if mask.is_raster and mask not in loose)
    if hiding and len(seen.returned) == 1 and _is_wide(model, batch, forward, seen.inputs[0].numel()):
        return OwnPlaces(kind="beside", masks=hiding, change=change)
    return None


def _most(changes: Sequence[float]) -> bool:
    return 2 * sum(change > _CHANGE for change in changes) > len(changes)


def _is_blind(asked: _Asked, model: nn.Module, masks: Iterable[WeightMask]) -> bool:
    """Whether no answer goes by its own number once weights are multiplied by their masks, and some still go by others."""
    with put_back(model):
        with torch.no_grad():
            for mask in masks:
                for weight in mask.weights:
                    weight.mul_(mask.values.to(weight.dtype))
        itself, others = asked.itself(), (asked.earlier(), asked.later())
    if itself is None or max(itself) > _NONE:
        return False
    return any(changes is not None and _most(changes) for changes in others)


def _is_wide(model: nn.Module, batch: Any, forward: Forward, num_numbers: int) -> bool:
    """Whether nothing that a module makes has fewer numbers for each example than the input, and nothing is drawn."""
    sizes: list[int] = []

    def look(module: nn.Module, args: Any, output: Any) -> None:
        sizes.extend(t.numel() for _, t in tensors(output) if t.is_floating_point())

    handles = [module.register_forward_hook(look) for module in model.modules()]
    losses = []
    start(model)
    try:
        for seed in (0, 1):
            with torch.enable_grad(), put_back(model):
                seed_torch(seed)
                losses.append(float(forward(model, batch).detach().sum()))
    finally:
        for handle in handles:
            handle.remove()
    return losses[0] == losses[1] and min(sizes, default=0) >= num_numbers


def _is_of_places(given: Tensor) -> bool:
    if len(given) < _FEWEST_ROWS or given.is_complex() or given.numel() > _MOST_NUMBERS:
        return False
    dims = (2, 4) if given.is_floating_point() else (3, 4)
    return given.dim() in dims and given[0].numel() >= _FEWEST_NUMBERS


def _follows(target: Tensor, given: Tensor) -> bool:
    """Whether each number of the target is told by the input's at the same place: the same, scaled, or its class."""
    if target.is_complex() or target.layout != torch.strided:
        return False
    levels, index = given.double().flatten().unique(return_inverse=True)
    values = target.detach().double().flatten()
    if len(levels) < 2 or not bool(values.isfinite().all()):
        return False
    least, most = (
        torch.full_like(levels, 0).scatter_reduce(0, index, values, how, include_self=False) for how in ("amin", "amax")
    )
    steps = least.diff()
    return torch.equal(least, most) and bool((steps >= 0).all() or (steps <= 0).all()) and bool(steps.any())


def _asked(
    model: nn.Module, batch: Any, forward: Forward, own: Returned, target: Tensor, given: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Places of the input, each with the outputs whose gradient goes by the target there: those that are asked for it."""
    before = pull(model, batch, forward, own)
    flat = target.flatten(1)
    size = flat.shape[1]
    places = num_places(given)  # a loss may ask all channels of a pixel together
    differ = (flat != flat.roll(1, dims=0)).any(dim=0).nonzero().flatten()
    differ = differ[(differ >= size // 8) & (differ < size - size // 8)]
    if before is None:
        return
    for place in differ[:: max(len(differ) // _MOST_PLACES, 1)][:_MOST_PLACES].tolist():
        rows = flat.clone()
        rows[:, place] = rows[:, place].roll(1, dims=0)
        after = pull(model, exchanged(batch, target, rows.view_as(target)), forward, own)
        if after is None or after.shape != before.shape:
            return
        outputs = after != before
        if bool(outputs.any()) and int(outputs.sum()) * places <= outputs.numel():
            yield place, outputs
