"""Models that answer each word of a sequence, wherever it stands, and targets of places that go by the order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.order_pooled import are_sorted, most_frequent, read
from trainability.doctor.measure.place_blind import woken
from trainability.doctor.measure.placed_targets import explained, standardised
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import OrderPooled

_FEWEST_PLACES, _FEWEST_ROWS, _MOST_ROWS = 4, 4, 16  # of a batch
_SAME = 1e-4  # change of an output as its word moves with it, over the outputs' spread
_FEWEST, _MOST = 200, 480  # answers that are compared
_MOST_CLASSES, _MOST_FEATURES = 64, 2048
_REACH, _PLACES = 2, 3  # words at either side; places that are asked about one by one
_LEAST, _MOST_FREE = 0.4, 1 / 3  # explained by the order; by what is there, over that
_SHUFFLES = 2


def order_of_tokens(seen: ForwardPass, batches: Iterable[Any]) -> OrderPooled | None:
    """Look for a model whose answer to a word does not go by its place, and targets for each word that do.

    The model is asked with the places of each sequence exchanged: the answers come back exchanged alike. That the targets do
    not is asked of the data: the place, the words next to it and those at the other places are held against the targets,
    beside the word itself and the counts of all words, and beside the same after the other words are shuffled.

    Args:
        seen: a pass of the model, with one input, (examples, places) of whole numbers, an answer for each of its places, and
            one target for each in the batch, a class.
        batches: the training loader, of which up to 480 examples are read where the model is blind.

    Returns:
        None where the order changes the answers, where the targets do not go by it, and where words tell a third as much.
    """
    asked = _asked(seen)
    if asked is None:
        return None
    given, place, target = asked
    with randomness_restored(), torch.no_grad():
        seed_torch(0)
        model = callable_model(seen)
        if not _follows(model, given):
            return None
        twin = woken(model)  # tables of positions may begin at zero
        if twin is None or not _follows(twin, given):
            return None
        with generators_restored(batches):
            data = read(batches, place, target, _MOST)
    told = _told(*data) if data is not None else None
    if data is None or told is None:
        return None
    return OrderPooled(given=place, target=target, examples=len(data[0]), ordered=told[0], free=told[1], is_for_each=True)


def _asked(seen: ForwardPass) -> tuple[Tensor, str, str] | None:
    """The sequences, their place in a batch, and that of the targets."""
    inputs = [x for _, x in tensors(seen.inputs)]
    if len(seen.calls) != 1 or len(seen.inputs) != 1 or len(inputs) != 1 or len(seen.batch) != 2:
        return None
    words = inputs[0].detach()
    if words.is_floating_point() or words.is_complex() or words.dtype == torch.bool or words.dim() != 2:
        return None
    if len(words) < _FEWEST_ROWS or words.shape[1] < _FEWEST_PLACES:
        return None
    alike = all(t.shape == words.shape and not t.is_floating_point() and not t.is_complex() for _, t in seen.batch)
    own = [place for place, t in seen.batch if alike and torch.equal(t, words)]
    others = [place for place, _ in seen.batch if own and place != own[0]]
    return (words[:_MOST_ROWS], own[0], others[0]) if len(own) == 1 and len(others) == 1 else None


def _follows(model: nn.Module, given: Tensor) -> bool:
    """Whether the answers to sequences with their places exchanged are the same answers, exchanged alike."""
    training = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        draws = torch.Generator().manual_seed(0)
        orders = torch.rand(given.shape, generator=draws).argsort(dim=1).to(given.device)
        exchanged = given.gather(1, orders)
        if float((exchanged != given).float().mean()) < 0.1:
            return False
        own, again, other = (_answer(model, x) for x in (given, given, exchanged))
        if own is None or again is None or other is None or not torch.equal(own, again) or own.shape != other.shape:
            return False
        for dim in (1, 2):
            if own.dim() != 3 or own.shape[dim] != given.shape[1]:
                continue
            rows = own.movedim(dim, 1)
            moved = rows.gather(1, orders[:, :, None].expand_as(rows))
            spread = float((rows - rows.mean(dim=(0, 1))).square().mean().sqrt())
            is_alive = spread > 1e-4 * float(rows.square().mean().sqrt())
            if is_alive and float((moved - other.movedim(dim, 1)).abs().amax()) <= _SAME * spread:
                return True
        return False
    finally:
        for module, mode in training:
            module.training = mode


def _answer(model: nn.Module, words: Tensor) -> Tensor | None:
    found = [t for _, t in tensors(model(words))]
    is_one = len(found) == 1 and not found[0].is_complex() and found[0].shape[:1] == words.shape[:1]
    return found[0].double() if is_one and bool(found[0].isfinite().all()) else None


def _told(words: Tensor, targets: Tensor) -> tuple[float, float] | None:
    """Shares of the targets' variance that the order explains, and what is there; None where it is not by order alone."""
    top = most_frequent(words)
    if top is None or targets.shape != words.shape:
        return None
    held = (words[:, :, None] == top).double()
    classes = targets[targets >= 0].unique()  # -100 and its like: not asked for
    if are_sorted(held.bool()) or not 2 <= len(classes) <= _MOST_CLASSES:
        return None
    draws = torch.Generator().manual_seed(0)
    looks = [_all_places(held, targets, draws), *_each_place(held, targets)]
    told = [found for rows, places, numbers in looks if (found := _of_places(held, rows, places, numbers == classes))]
    return max(told, default=None)


def _all_places(held: Tensor, targets: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Examples, places and targets (answers, 1) of some answers, wherever they are."""
    rows, places = (targets >= 0).nonzero(as_tuple=True)
    chosen = torch.randperm(len(rows), generator=draws)[:_MOST]
    rows, places = rows[chosen], places[chosen]
    return rows, places, targets[rows, places][:, None]


def _each_place(held: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Examples, places and targets (answers, 1) of one place after the other."""
    found = []
    if held[0].numel() > _MOST_FEATURES:
        return found
    for place in torch.linspace(0, held.shape[1] - 1, _PLACES).long().tolist():
        rows = (targets[:, place] >= 0).nonzero().flatten()[:_MOST]
        found.append((rows, torch.full_like(rows, place), targets[rows, place][:, None]))
    return found


def _of_places(held: Tensor, rows: Tensor, places: Tensor, is_class: Tensor) -> tuple[float, float] | None:
    """What the order explains of some answers, and what the word and the others explain without it; None where it does not."""
    if len(rows) < _FEWEST:
        return None
    wanted = is_class.double()
    variance = wanted.var(dim=0, correction=0)
    columns = standardised(wanted)
    weights = variance[variance > 1e-12]
    if not columns.shape[1] or len(weights) != columns.shape[1]:
        return None

    def share(groups: list[Tensor], *, bent: bool = False) -> float:
        fine = [each for each in map(standardised, groups) if each.shape[1]]
        return float((explained(fine, columns, bent=bent) * weights).sum() / weights.sum()) if fine else 0.0

    ordered = share(_order(held, rows, places))
    if ordered < _LEAST:
        return None
    own, counts = held[rows, places], held[rows].sum(dim=1)
    free = share([own, counts, torch.cat([own, counts, (counts > 0).double()], dim=1)], bent=True)
    # A class for each pair of a word and the number of its like in the sequence.
    free = max(free, share([torch.cat([own, own * counts, own * counts.square()], dim=1)]))
    draws = torch.Generator().manual_seed(0)
    for _ in range(_SHUFFLES):
        mixed = _shuffled(held, rows, places, draws)
        free = max(free, share(_order(mixed, torch.arange(len(rows)), places, shows_place=False)))
    free = max(free, 0.0)
    return (ordered, free) if free <= _MOST_FREE * ordered else None


def _shuffled(held: Tensor, rows: Tensor, places: Tensor, draws: torch.Generator) -> Tensor:
    """The same words, each of the others at another place than before: (answers, places, words)."""
    mixed = held[rows].gather(
        1, torch.rand(held[rows].shape[:2], generator=draws).argsort(dim=1)[:, :, None].expand_as(held[rows])
    )
    mixed[torch.arange(len(rows)), places] = held[rows, places]
    return mixed


def _order(held: Tensor, rows: Tensor, places: Tensor, *, shows_place: bool = True) -> list[Tensor]:
    """The words next to a place, as far from the other end, at both ends; the place; all words, where it is one place."""
    count = held.shape[1]
    at = [F.one_hot(places, count).double()] if shows_place else []
    padded = F.pad(held, (0, 0, _REACH, _REACH))
    near = [padded[rows, places + shift] for shift in range(2 * _REACH + 1)]
    mirrored = held[rows, count - 1 - places]
    found = [*at, torch.cat(near, dim=1), mirrored, torch.cat([*near, mirrored, *at, held[rows, 0], held[rows, -1]], dim=1)]
    return [*found, held[rows].flatten(1)] if bool((places == places[0]).all()) else found
