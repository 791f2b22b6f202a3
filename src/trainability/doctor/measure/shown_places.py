"""What was hidden from a model, and what of it the loss asks for: values that a step hides, and words that it replaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged, loss_of, pull, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training

_FEWEST, _FEWEST_KINDS = 16, 3  # places
_MOST_NUMBERS = 1 << 20
_LEAST_SHARE, _MOSTLY = 0.05, 0.95  # of the places that are hidden, and that are not; of those that are shown, asked for
_FEW = 4
_MARKED = 0.6  # of the places that are left out; a tenth of them each may hold another word and the very one

Forward = Callable[[Any, Any], Tensor]


def asks_shown_values(model: nn.Module, batch: Any, forward: Forward) -> bool:
    """Whether a step hides values of the batch at random, and asks for those alone that it does not hide.

    Args:
        model: returns as many numbers as the batch holds, in one call; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        False where the same places are hidden with other random numbers, as values that nobody knows are; where what is shown
        is noisy, or not seen by the answer for it; where all that the model makes of an example goes through fewer numbers; and
        where it cannot be asked.
    """
    set_training(model, True)
    for _, values in tensors(batch):
        if not values.is_floating_point() or values.dim() < 2 or not 2 * _FEWEST <= values.numel() <= _MOST_NUMBERS:
            continue
        first, second = (_Hidden(model, batch, forward, values, seed) for seed in (0, 1))
        hidden, other = first.places, second.places
        if hidden is None or other is None or torch.equal(hidden, other) or not first.gives(values, ~hidden):
            continue
        shown, asked = ~hidden, _asked(model, batch, forward, values)
        is_mixed = _LEAST_SHARE <= float(hidden.float().mean()) <= 1 - _LEAST_SHARE
        if asked is None or not is_mixed or bool((asked & hidden).any()) or int(asked.sum()) < _MOSTLY * int(shown.sum()):
            continue
        if first.sees_itself(asked):
            return True
    return False


class _Hidden:
    """One pass, and which places of the batch no output of it changes with.

    Attributes:
        places: None where the outputs are not as many, or go through fewer numbers.
    """

    def __init__(self, model: nn.Module, batch: Any, forward: Forward, values: Tensor, seed: int) -> None:
        self.places: Tensor | None = None
        self._leaf = values.detach().clone().requires_grad_()
        self._given: list[Tensor] = []
        found: list[Tensor] = []
        narrow: list[bool] = []

        def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if module is model:
                self._given = [t.detach() for _, t in tensors((args, kwargs))]
                found.extend([t for _, t in tensors(output) if t.numel() == values.numel() and t.requires_grad][:1])
            elif isinstance(output, Tensor) and output.dim() == 2 and len(output) == len(values):
                narrow.append(output.shape[1] < values[0].numel())

        handles = [module.register_forward_hook(look, with_kwargs=True) for module in model.modules()]
        try:
            with torch.enable_grad(), randomness_restored():
                seed_torch(seed)
                forward(model, exchanged(batch, values, self._leaf))
        finally:
            for handle in handles:
                handle.remove()
        if len(found) != 1 or any(narrow):
            return
        self._output = found[0]
        weights = torch.rand(found[0].shape, generator=torch.Generator().manual_seed(0)).to(found[0]) + 0.5
        (slope,) = torch.autograd.grad((found[0] * weights).sum(), self._leaf, allow_unused=True, retain_graph=True)
        self.places = slope == 0 if slope is not None else None

    def gives(self, values: Tensor, shown: Tensor) -> bool:
        """Whether the model is given what is shown as it is, also beside a mask in further columns or channels."""
        return any(bool((part == values)[shown].all()) for t in self._given for part in _parts_of(t, values))

    def sees_itself(self, asked: Tensor) -> bool:
        """Whether answers at places that are asked for go by what stands there."""
        if self._output.shape != asked.shape:
            return True
        flat, places = self._output.flatten(), asked.flatten().nonzero().flatten()
        for at in places[:: max(len(places) // _FEW, 1)][:_FEW].tolist():
            (slope,) = torch.autograd.grad(flat[at], self._leaf, retain_graph=True)
            if not bool(slope.flatten()[at]):
                return False
        return True


def _parts_of(given: Tensor, values: Tensor) -> Iterator[Tensor]:
    """The tensor, or its first and its last columns or channels, in the shape of the values."""
    if given.dim() != values.dim() or given.shape[0] != values.shape[0] or given.shape[2:] != values.shape[2:]:
        return
    width, own = given.shape[1], values.shape[1]
    for start in {0, width - own} if width >= own else ():
        yield given.narrow(1, start, own)


def _asked(model: nn.Module, batch: Any, forward: Forward, values: Tensor) -> Tensor | None:
    """Places of the batch that the loss holds outputs against, where each of these is asked for one."""
    own = returned_once(model, batch, forward)
    place = next((k for k, t in enumerate(own.tensors) if t.numel() == values.numel()), None) if own is not None else None
    pulled = pull(model, batch, forward, own, place=place) if own is not None and place is not None else None
    if own is None or place is None or pulled is None or pulled.shape == values.shape:
        return pulled != 0 if pulled is not None else None
    leaf, answers = values.detach().clone().requires_grad_(), [t.detach() for t in own.tensors]
    answers[place].requires_grad_()
    with torch.enable_grad():
        loss = loss_of(model, exchanged(batch, values, leaf), forward, own, answers)
        (slope,) = torch.autograd.grad(loss, answers[place], create_graph=True)
        moved = torch.autograd.grad(slope.sum(), leaf, allow_unused=True)[0] if slope.requires_grad else None
    asked = moved != 0 if moved is not None else None
    return asked if asked is not None and int(asked.sum()) == int((pulled != 0).sum()) else None


def asks_shown_rest(given: Tensor, target: Tensor, asked: Tensor) -> bool:
    """Whether numbers are hidden behind one and the same, and the loss asks for the others alone, which stand in the input.

    Args:
        given: what the model is given.
        target: what the loss is given.
        asked: where it asks for an answer, in the same shape.

    Returns:
        False, too, where the target is one number, too, where they are hidden, as what is missing in the data is; and where all
        that is hidden is at an end of each example, as padding is.
    """
    if not given.is_floating_point() or not given.shape == target.shape == asked.shape or given.dim() < 2:
        return False
    hidden = given != target
    behind, known = given[hidden], target[hidden]
    if len(behind) < _FEWEST or bool((behind != behind[0]).any()) or 2 * len(known.unique()) < len(known):
        return False
    rows = hidden.flatten(1)
    at_end = ((rows.flip(1).int().cumprod(dim=1).flip(1) | rows.int().cumprod(dim=1)) == rows).all()
    is_mixed = float(hidden.float().mean()) <= 1 - _LEAST_SHARE
    covers = not bool((asked & hidden).any()) and int(asked.sum()) >= _MOSTLY * int((~hidden).sum())
    return not bool(at_end) and is_mixed and covers


def asks_shown_words(given: Tensor, asked: Tensor, is_asked: Tensor) -> bool:
    """Whether words are asked for at some places, and each of these holds the very word in what the model is given.

    Args:
        given: (examples, places) of whole numbers, as the model is given them.
        asked: the number that cross-entropy asks for at each place.
        is_asked: whether it asks for one.

    Returns:
        False, too, where places that are left out hold one or two words, as padding is.
    """
    if int(is_asked.sum()) < _FEWEST or len(given[~is_asked].unique()) < _FEWEST_KINDS:
        return False
    there = given[is_asked]
    mark = there.mode().values  # which stands there alone
    is_mark = 2 * int((there == mark).sum()) > len(there) and not bool((given[~is_asked] == mark).any())
    return is_mark and bool((asked == given)[is_asked].all())


def leaves_out_hidden(given: Tensor, asked: Tensor, is_asked: Tensor) -> bool:
    """Whether the places that are left out are those of a mask's token, amid others that are asked for the very word there.

    Args:
        given: (examples, places) of whole numbers, as the model is given them.
        asked: the number that cross-entropy asks for at each place.
        is_asked: whether it asks for one.

    Returns:
        False, too, where what is left out is at an end of the sequences, as padding is, or of several words, as a prompt is.
    """
    amid = ~is_asked & (is_asked.int().cumsum(dim=1) > 0) & (is_asked.flip(1).int().cumsum(dim=1).flip(1) > 0)
    hidden = given[amid]
    if len(hidden) < _FEWEST or not bool((asked == given)[is_asked].all()) or len(hidden) < _LEAST_SHARE * int(is_asked.sum()):
        return False
    mark = hidden.mode().values
    is_mark = float((hidden == mark).float().mean()) >= _MARKED and not bool((given[is_asked] == mark).any())
    return is_mark and len(given[is_asked].unique()) >= _FEWEST_KINDS


def asks_some_of_shown(given: Tensor, asked: Tensor, is_asked: Tensor) -> bool:
    """Whether some places amid others are asked for, each holds the very word that is asked for, and so do the others.

    Args:
        given: (examples, places) of whole numbers, as the model is given them.
        asked: the number that cross-entropy asks for at each place.
        is_asked: whether it asks for one.

    Returns:
        False, too, where what is left out is at an end of the sequences, as padding or a prompt is, or of one or two words.
    """
    before, behind = is_asked.int().cumsum(dim=1), is_asked.flip(1).int().cumsum(dim=1).flip(1)
    amid = ~is_asked & (before > 0) & (behind > 0)
    if min(int(amid.sum()), int(is_asked.sum())) < max(_FEWEST, _LEAST_SHARE * is_asked.numel()):
        return False
    kinds = min(len(given[amid].unique()), len(given[is_asked].unique()))
    are_alike = bool(set(given[amid].unique().tolist()) & set(given[is_asked].unique().tolist()))
    return kinds >= _FEWEST_KINDS and are_alike and bool((asked == given)[is_asked].all())
