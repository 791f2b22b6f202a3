"""Models of words whose answers do not go by the order of these, asked with places exchanged, and targets that do."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.place_blind import woken
from trainability.doctor.measure.placed_targets import explained, standardised
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import OrderPooled

_FEWEST_PLACES, _FEWEST_ROWS, _MOST_ROWS = 3, 4, 64  # of a batch
_SAME = 1e-4  # change of the outputs by exchanging places, over their spread between examples
_FEWEST, _MOST, _SECONDS = 200, 600, 5.0  # examples; for reading
_MOST_CLASSES, _MOST_NUMBERS = 64, 8
_WORDS, _KNOWN, _MOST_FEATURES = 64, 0.9, 1024  # words that are counted; of the places, those that hold one of them
_PAIRED = 20  # words of which it is asked which comes first
_LEAST, _MOST_FREE = 0.4, 1 / 3  # explained by the order; by what is there, over that
_SHUFFLES = 2
_MIXED = 0.15  # of the pairs of words, those whose order is the rarer one; half, of words in any order


def order_pooled(seen: ForwardPass, batches: Iterable[Any]) -> OrderPooled | None:
    """Look for a model that cannot tell sequences of the same words apart, and targets that go by their order.

    The model is asked with the places of each sequence exchanged. That the order tells the targets is asked of the data: which
    word comes first, which is where and which follows which are held against them, beside the counts of the words, and beside
    the order of the same words after they are shuffled, which tells what is due to the words alone.

    Args:
        seen: a pass of the model, with one input, (examples, places) of whole numbers, and an answer for each example.
        batches: the training loader, of which up to 600 examples are read where the model is blind.

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
        if not _is_blind(model, given, repeat=True):
            return None
        twin = woken(model)  # tables of positions may begin at zero
        if twin is None or not _is_blind(twin, given):
            return None
        with generators_restored(batches):
            read = _read(batches, place, target)
    told = _told(*read) if read is not None else None
    if read is None or told is None:
        return None
    bag = next((type(m).__name__ for m in seen.model.modules() if isinstance(m, nn.EmbeddingBag)), None)
    return OrderPooled(given=place, target=target, examples=len(read[0]), ordered=told[0], free=told[1], pools=bag)


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
    own = [(p, t) for p, t in seen.batch if t.shape == words.shape and not t.is_floating_point()]
    others = [(p, t) for p, t in seen.batch if len(own) == 1 and p != own[0][0]]
    if len(others) != 1 or not torch.equal(own[0][1], words) or others[0][1].shape[:1] != words.shape[:1]:
        return None
    target = others[0][1]
    is_few = target[0].numel() <= (_MOST_NUMBERS if target.is_floating_point() else 1)
    return (words[:_MOST_ROWS], own[0][0], others[0][0]) if is_few and not target.is_complex() else None


def _is_blind(model: nn.Module, given: Tensor, *, repeat: bool = False) -> bool:
    """Whether exchanging the places of each sequence leaves all answers as they are, and these differ."""
    training = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        own, again = _answers(model, given), _answers(model, given) if repeat else None
        if own is None or (repeat and (again is None or not torch.equal(own, again))):
            return False
        draws = torch.Generator().manual_seed(0)
        orders = torch.rand(given.shape, generator=draws).argsort(dim=1).to(given.device)
        exchanged = given.gather(1, orders)
        spread = float((own - own.mean(dim=0)).square().mean().sqrt())
        if not spread > 1e-4 * float(own.square().mean().sqrt()) or float((exchanged != given).float().mean()) < 0.1:
            return False
        for other in (exchanged, given.flip(1)):
            answers = _answers(model, other)
            if answers is None or answers.shape != own.shape or float((answers - own).abs().amax()) > _SAME * spread:
                return False
        return True
    finally:
        for module, mode in training:
            module.training = mode


def _answers(model: nn.Module, words: Tensor) -> Tensor | None:
    found = [t for _, t in tensors(model(words))]
    if not found or any(t.is_complex() or t.shape[:1] != words.shape[:1] or not bool(t.isfinite().all()) for t in found):
        return None
    return torch.cat([t.reshape(len(words), -1).double() for t in found], dim=1)


def _read(batches: Iterable[Any], given: str, target: str) -> tuple[Tensor, Tensor] | None:
    """Sequences (examples, places), and targets (examples, numbers): a column for each class."""
    found = read(batches, given, target, _MOST)
    if found is None or found[1].is_floating_point():
        return (found[0], found[1].double()) if found is not None and bool(found[1].isfinite().all()) else None
    labels = found[1][:, 0].unique(return_inverse=True)[1]
    classes = int(labels.max()) + 1
    return (found[0], F.one_hot(labels, classes).double()) if 2 <= classes <= _MOST_CLASSES else None


def read(batches: Iterable[Any], given: str, target: str, most: int) -> tuple[Tensor, Tensor] | None:
    """Sequences (examples, places), and their targets (examples, numbers) as they are; None of fewer than 200 examples.

    Args:
        batches: the training loader.
        given: place of the sequences in a batch.
        target: place of the targets.
        most: examples.
    """
    began, rows, wanted = time.perf_counter(), list[Tensor](), list[Tensor]()
    for batch in batches:
        parts = dict(tensors(batch))
        x, y = parts.get(given), parts.get(target)
        if x is None or y is None or len(x) != len(y):
            return None
        rows.append(x.detach().cpu().long())
        wanted.append(y.detach().cpu().reshape(len(y), -1))
        if sum(map(len, rows)) >= most or time.perf_counter() - began > _SECONDS:
            break
    count = max((x.shape[1] for x in rows), default=0)
    if sum(map(len, rows)) < _FEWEST or len({y.shape[1] for y in wanted}) != 1 or any(x.shape[1] != count for x in rows):
        return None
    return torch.cat(rows)[:most], torch.cat(wanted)[:most]


def _told(words: Tensor, wanted: Tensor) -> tuple[float, float] | None:
    """Shares of the targets' variance that the order explains, and what is there; None where it is not by order alone."""
    top = most_frequent(words)
    if top is None:
        return None
    columns = standardised(wanted)
    if not columns.shape[1]:
        return None
    # Rarer classes are columns of less variance, and weigh less.
    weights = wanted.var(dim=0)[wanted.std(dim=0, correction=0) > 1e-6 * wanted.abs().amax()]
    weights = weights / weights.sum() if weights.shape[0] == columns.shape[1] else torch.ones(columns.shape[1]).double()
    weights = weights / weights.sum()

    def share(groups: list[Tensor]) -> float:
        fine = [each for each in map(standardised, groups) if each.shape[1]]
        return float((explained(fine, columns, bent=True) * weights).sum())

    held = words[:, :, None] == top
    if are_sorted(held):
        return None
    ordered = share(_order(held))
    if ordered < _LEAST:
        return None
    number = held.double().sum(dim=1)
    free = share([number, (number > 0).double(), torch.cat([number, number.square(), (number > 0).double()], dim=1)])
    draws = torch.Generator().manual_seed(0)
    for _ in range(_SHUFFLES):
        orders = torch.rand(words.shape, generator=draws).argsort(dim=1)
        free = max(free, share(_order(words.gather(1, orders)[:, :, None] == top)))
    free = max(free, 0.0)
    return (ordered, free) if free <= _MOST_FREE * ordered else None


def most_frequent(words: Tensor) -> Tensor | None:
    """The words that are counted; None where they are less than nine tenths of all, or one alone.

    Args:
        words: (examples, places) of whole numbers.
    """
    values, counts = words.unique(return_counts=True)
    top = values[counts.argsort(descending=True)[:_WORDS]]
    is_most = float(counts.sort(descending=True).values[:_WORDS].sum()) >= _KNOWN * words.numel()
    return top if is_most and len(top) > 1 else None


def are_sorted(held: Tensor) -> bool:
    """Whether of two words it is mostly the same that stands first, so that the words tell their order, as of sorted sets.

    Args:
        held: (examples, places, words) bool, which word each place holds.
    """
    count = held.shape[1]
    first = torch.where(held, torch.arange(count)[:, None], count).amin(dim=1)
    pairs = torch.triu_indices(held.shape[2], held.shape[2], 1)
    one, other = first[:, pairs[0]], first[:, pairs[1]]
    both = (one < count) & (other < count)
    before = (both & (one < other)).sum(dim=0)
    rarer = torch.minimum(before, both.sum(dim=0) - before)
    return float(rarer.sum()) < _MIXED * float(both.sum())


def _order(held: Tensor) -> list[Tensor]:
    """Where words stand first and last, which stand before which, which stands at each place, and which follows which.

    Args:
        held: (examples, places, words), which word each place holds.
    """
    rows, count, words = held.shape
    places = torch.arange(count).double()[:, None]
    there = held.any(dim=1)
    first = torch.where(held, places, float(count)).amin(dim=1)
    last = torch.where(held, places, -1.0).amax(dim=1)
    middle = torch.where(there, (held * places).sum(dim=1) / held.sum(dim=1).clamp(min=1), count / 2)
    few = min(words, _PAIRED)
    pairs = torch.triu_indices(few, few, 1)
    found = [torch.cat([first, last, middle], dim=1)]
    for each in (first, last):
        found.append((each[:, pairs[0]] - each[:, pairs[1]]).sign())
    if count * words <= _MOST_FEATURES:
        found.append(held.double().reshape(rows, -1))
    if words * words <= _MOST_FEATURES:
        found.append(torch.einsum("npa,npb->nab", held[:, :-1].double(), held[:, 1:].double()).reshape(rows, -1))
    return found
