"""Labels for each step of a sequence that are told by the input of a neighbouring step, which the model does not see there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.calls import Call
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.influence import answer
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.told_labels import binned, explained, explained_by_pairs, explained_together
from trainability.doctor.readings import ShiftedLabels

SHIFTS = (-2, -1, 0, 1, 2)
_REACH = max(SHIFTS)
_FEWEST_ROWS, _FEWEST_STEPS, _FEWEST_PLACES, _MOST_PLACES = 4, 7, 400, 12_000
_MOST_CLASSES, _MOST_KINDS, _MOST_COLUMNS = 64, 4000, 64
_SECONDS = 1.0
_SAME_PLACE = 0.99  # share of the places at which the loss asks for the label that stands there
_TOLD, _OWN, _TIMES, _TOGETHER = 0.5, 0.15, 4.0, 0.25  # shares of the labels' variance
_MOST_BACK, _RECALLED = 32, 0.1  # steps before a label's own; share of the labels' variance
_ITSELF, _NAMED, _ALONE = 0.5, 0.9, 0.8  # of the places; of them again; of what all columns tell
_SEEN, _UNSEEN = 1e-4, 1e-6  # of the outputs' rms


@dataclass(frozen=True)
class _Asked:
    """The input of a model, the labels of a batch for each of its steps, and the numbers that the loss leaves out."""

    given: Tensor
    place: str
    target: str
    ignored: Tensor


@dataclass(frozen=True)
class _Places:
    """Inputs at and around each place, in the order of SHIFTS, its label, and whether its sequence is used to fit.

    `sequences` are whole batches, with the places that count in each, from the step _REACH on.
    """

    given: list[Tensor]
    labels: Tensor
    is_fitted: Tensor
    sequences: list[tuple[Tensor, Tensor]]


def shifted_labels(seen: ForwardPass, loss: Tensor, batches: Iterable[Any]) -> ShiftedLabels | None:
    """Compare labels with the inputs at their own steps and at neighbouring ones, and ask which of these the model sees.

    Args:
        seen: a pass of a model that is given one sequence for each example, whole numbers (examples, steps) or numbers
            (examples, steps, columns), and a loss of labels (examples, steps).
        loss: with its graph.
        batches: of the training loader, of which some are read.

    Returns:
        None where the label of a step is told by what the model sees there, where no neighbour tells it that the model does
        not see, where it names that neighbour, as of a language model, or says how large one of its numbers is, as of a
        forecast; where a later step tells it and the model sees earlier ones, one of which tells it too, as in a series that
        repeats itself; and where it cannot be asked.
    """
    asked = _asked(seen, loss)
    if asked is None:
        return None
    places = _places(batches, asked)
    if places is None:
        return None
    told = [explained(x, places.labels, places.is_fitted) for x in places.given]
    best, own = max(range(len(SHIFTS)), key=told.__getitem__), told[_REACH]
    if told[best] < _TOLD or own > _OWN or told[best] < _TIMES * own or (SHIFTS[best] > 0 and _is_forecast(places, best, told)):
        return None
    sees = _seen_shifts(seen.calls[0], asked.given)
    if sees is None or SHIFTS[best] in sees or 0 not in sees:
        return None
    around = [places.given[SHIFTS.index(shift)] for shift in sees]
    together = explained_together(around, places.labels, places.is_fitted)
    if -1 in sees:
        together = max(together, explained_by_pairs(places.given[1], places.given[2], places.labels, places.is_fitted))
    sees_earlier = any(shift < 0 for shift in sees)
    if together > _TOGETHER or (SHIFTS[best] > 0 and sees_earlier and _recalled(places) > _RECALLED):
        return None
    frequencies = torch.bincount(places.labels).double() / len(places.labels)
    return ShiftedLabels(
        given=asked.place,
        target=asked.target,
        by=SHIFTS[best],
        sees_earlier=sees_earlier,
        told=told[best],
        own=own,
        places=len(places.labels),
        cost=float(-(frequencies * frequencies.clamp(min=1e-30).log()).sum()),
    )


def _asked(seen: ForwardPass, loss: Tensor) -> _Asked | None:
    if len(seen.calls) != 1:
        return None
    shown = [t for _, t in tensors(seen.inputs)]
    sequences = [t for t in shown if _is_sequence(t)]
    if len(sequences) != 1 or any(t.dim() > 1 and t is not sequences[0] and not _are_marks(t) for t in shown):
        return None
    given = sequences[0].detach()
    shape = given.shape[:2]
    place = next((name for name, t in seen.batch if t.shape == given.shape and torch.equal(t, given)), None)
    labels = [
        (name, t)
        for name, t in seen.batch
        if t.shape == shape and name != place and not any(_is_one(t, x) for x in shown) and _are_classes(t)
    ]
    if place is None or len(labels) != 1:
        return None
    target, label = labels[0]
    for output in seen.returned:
        for wanted, is_asked in _wanted(output, loss, shape):
            same = (wanted == label)[is_asked]
            if bool(is_asked.any()) and float(same.float().mean()) >= _SAME_PLACE:
                left_out = label[~is_asked].unique()
                ignored = left_out[~torch.isin(left_out, label[is_asked])]
                return _Asked(sequences[0], place, target, ignored)
    return None


def _is_sequence(t: Tensor) -> bool:
    if t.dim() not in (2, 3) or t.is_complex() or t.dtype == torch.bool or t.layout != torch.strided:
        return False
    is_table = t.dim() == 2 or (t.is_floating_point() and t.shape[2] <= _MOST_COLUMNS)
    return len(t) >= _FEWEST_ROWS and t.shape[1] >= _FEWEST_STEPS and is_table and not _are_marks(t)


def _are_marks(t: Tensor) -> bool:
    """Whether these are zeros and ones, as of a mask; columns of them may be features."""
    is_plain = t.layout == torch.strided and t.dim() == 2
    return t.dtype == torch.bool or (is_plain and bool(((t == 0) | (t == 1)).all()))


def _are_classes(t: Tensor) -> bool:
    if t.is_complex() or t.dtype == torch.bool or t.numel() == 0:
        return False
    kinds = t.unique()
    return 2 <= len(kinds) <= _MOST_CLASSES and bool((kinds == kinds.round()).all())


def _is_one(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.data_ptr() == other.data_ptr()


def _wanted(output: Tensor, loss: Tensor, shape: torch.Size) -> Iterator[tuple[Tensor, Tensor]]:
    """The class that the loss raises at each place, and where it asks for any: of scores of classes, or one for yes and no."""
    if not output.requires_grad or output.numel() % shape.numel():
        return
    (slope,) = torch.autograd.grad(loss, [output], allow_unused=True, retain_graph=True)
    if slope is None or not bool(slope.any()):
        return
    if output.numel() == shape.numel():
        slope = slope.reshape(shape)
        yield (slope < 0), slope != 0
        return
    layouts = []
    if output.dim() == 3 and output.shape[:2] == shape:
        layouts.append(slope)
    elif output.dim() == 2 and len(output) == shape.numel():
        layouts.append(slope.reshape(*shape, -1))
    if output.dim() == 3 and (output.shape[0], output.shape[2]) == tuple(shape):
        layouts.append(slope.transpose(1, 2))
    for each in layouts:
        yield each.argmin(dim=-1), each.ne(0).any(dim=-1)


def _places(batches: Iterable[Any], asked: _Asked) -> _Places | None:
    """Places of the loader's first sequences that are asked for a label and have words, or steps, on both sides."""
    given: list[list[Tensor]] = [[] for _ in SHIFTS]
    labels: list[Tensor] = []
    fitted: list[Tensor] = []
    sequences: list[tuple[Tensor, Tensor]] = []
    began, ignored = time.perf_counter(), asked.ignored.cpu()
    with randomness_restored(), generators_restored(batches):
        for batch in batches:
            found = dict(tensors(batch))
            x, y = found.get(asked.place), found.get(asked.target)
            if x is None or y is None or x.shape[:2] != y.shape or x.dim() != asked.given.dim():
                return None
            x, y = x.detach().cpu(), y.detach().cpu()
            length = x.shape[1] - 2 * _REACH
            if length > 0:
                around = [x.narrow(1, _REACH + shift, length) for shift in SHIFTS]
                wanted = y.narrow(1, _REACH, length)
                kept = ~torch.isin(wanted, ignored) & _has_words(x).unfold(1, 2 * _REACH + 1, 1).all(dim=2)
                for held, each in zip(given, around, strict=True):
                    held.append(each[kept])
                labels.append(wanted[kept])
                sequences.append((x, kept))
                fitted.append((torch.arange(len(x)) % 2 == 0)[:, None].expand_as(kept)[kept])
            if sum(map(len, labels)) >= _MOST_PLACES or time.perf_counter() - began > _SECONDS:
                break
    if sum(map(len, labels)) < _FEWEST_PLACES:
        return None
    kinds, classes = torch.cat(labels).unique(return_inverse=True)
    inputs = [torch.cat(each) for each in given]
    if len(kinds) < 2 or not all(bool(x.isfinite().all()) for x in inputs):
        return None
    if not asked.given.is_floating_point():
        names, numbered = torch.stack(inputs).unique(return_inverse=True)
        if len(names) > _MOST_KINDS:
            return None
        if any(_names(x, torch.cat(labels)) for x in inputs):
            return None
        inputs = list(numbered)
    is_fitted = torch.cat(fitted)
    if not bool(is_fitted.any()) or bool(is_fitted.all()):
        return None
    return _Places(inputs, classes, is_fitted, sequences)


def _recalled(places: _Places) -> float:
    """The largest share of the labels' variance that one input tells from farther back than SHIFTS, up to 32 steps."""
    longest, most = max(kept.shape[1] for _, kept in places.sequences), 0.0
    for back in range(_REACH + 1, min(_MOST_BACK + 1, longest + _REACH)):
        inputs, is_long_enough = list[Tensor](), list[Tensor]()
        for x, kept in places.sequences:
            late = kept.clone()
            late[:, : back - _REACH] = False  # the step that is so far back comes before the first
            is_long_enough.append(late[kept])
            rows, steps = late.nonzero(as_tuple=True)
            inputs.append(x[rows, steps + _REACH - back])
        chosen = torch.cat(is_long_enough)
        is_fitted = places.is_fitted[chosen]
        if min(int(is_fitted.sum()), int((~is_fitted).sum())) < _FEWEST_PLACES // 2:
            break
        earlier = torch.cat(inputs)
        if not earlier.is_floating_point():
            earlier = earlier.unique(return_inverse=True)[1]
        most = max(most, explained_together([earlier], places.labels[chosen], is_fitted))
        if most > _RECALLED:
            break
    return most


def _names(tokens: Tensor, labels: Tensor) -> bool:
    """Whether labels are the tokens themselves, by their numbers."""
    return float((tokens == labels).float().mean()) >= _ITSELF


def _has_words(x: Tensor) -> Tensor:
    """Where sequences have not ended yet: behind their last step all numbers are zero, or one number of all sequences."""
    if x.is_floating_point():
        is_blank = (x == 0) if x.dim() == 2 else (x == 0).all(dim=2)
    else:
        is_blank = x == x[:, -1].mode().values
    behind = is_blank.flip(1).cumprod(dim=1).flip(1).bool()
    before = is_blank.cumprod(dim=1).bool()
    return ~behind & ~before


def _is_forecast(places: _Places, best: int, told: list[float]) -> bool:
    """Whether the label of the next step is that step itself: its name, or how large one of its numbers is."""
    later = places.given[best]
    if not later.is_floating_point():
        pairs, counts = torch.stack([places.labels, later]).unique(dim=1, return_counts=True)
        most = torch.zeros(int(pairs[0].max()) + 1, dtype=counts.dtype).scatter_reduce(0, pairs[0], counts, "amax")
        return float(most.sum()) >= _NAMED * len(later)
    columns = later.reshape(len(later), -1).T
    alone = max(explained(binned(column), places.labels, places.is_fitted) for column in columns)
    return alone >= _ALONE * told[best]


def _seen_shifts(call: Call, given: Tensor) -> list[int] | None:
    """At which of the neighbouring steps, and at its own, another input changes the answer for a step; None if unknown."""
    model, length = callable_model(call), given.shape[1]
    whole, again = answer(model, list(call.inputs), None), answer(model, list(call.inputs), None)
    if whole is None or again is None or not torch.equal(whole, again):
        return None
    own = _by_step(whole, given.shape[:2])
    if own is None:
        return None
    size, changes = float(statistics.rms(whole)), dict.fromkeys(SHIFTS, 0.0)
    others, words = given.roll(1, dims=0), _has_words(given)
    for step in sorted({length // 4, length // 3, length // 2, _REACH}):
        rows = words[:, step] & words.roll(1, dims=0)[:, step]
        changed = given.clone()
        changed[rows, step] = others[rows, step]
        if torch.equal(changed, given):
            continue
        other = answer(model, list(exchanged(tuple(call.inputs), _own(call, given), changed)), None)
        moved = _by_step(other, given.shape[:2]) if other is not None else None
        if moved is None or moved.shape != own.shape:
            return None
        for shift in SHIFTS:
            if 0 <= step - shift < length:
                changes[shift] = max(changes[shift], float((moved - own)[:, step - shift].abs().max()) / max(size, 1e-30))
    if any(_UNSEEN < change < _SEEN for change in changes.values()):
        return None
    return [shift for shift, change in changes.items() if change >= _SEEN]


def _own(call: Call, given: Tensor) -> Tensor:
    """The tensor of the call's inputs itself, which `exchanged` looks for."""
    return next(t for _, t in tensors(call.inputs) if _is_one(t, given))


def _by_step(output: Tensor, shape: torch.Size) -> Tensor | None:
    """Answers (examples, steps, numbers)."""
    if output.shape[:2] == shape:
        return output.reshape(*shape, -1)
    if output.dim() == 3 and (output.shape[0], output.shape[2]) == tuple(shape):
        return output.transpose(1, 2)
    if output.dim() <= 2 and len(output) == shape.numel():
        return output.reshape(*shape, -1)
    return None
