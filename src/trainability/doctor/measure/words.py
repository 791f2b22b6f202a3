"""Whether words have the same numbers in both parts: counts of words, fitted to classes in training, asked of validation."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.batches import tensors
from trainability.doctor.measure.class_signal import compared_labels
from trainability.doctor.measure.randomness import generators_restored, randomness_restored

_MOST_EXAMPLES = 4000
_BUCKETS = 512
_FEWEST_PLACES, FEWEST_NAMES = 5, 20  # of a row that is a text, and of all words: fewer are columns of categories


def words_compared(train: Iterable[Any], held_out: Iterable[Any], target: str) -> LabelsCompared | None:
    """Fit classes on counts of training's words, and ask about validation's.

    Args:
        train: loader, read from its beginning: rows of words with a class each, or bags of words (words, offsets).
        held_out: likewise.
        target: the classes, as `tensors` names them.

    Returns:
        The comparison; None where batches hold something else, examples are too few, or words do not tell the class.
    """
    with randomness_restored(), generators_restored(train), generators_restored(held_out):
        first = _read(train, target)
        second = _read(held_out, target) if first is not None else None
    return compared_labels(first, second) if first is not None and second is not None else None


def _read(batches: Iterable[Any], target: str) -> tuple[Tensor, Tensor] | None:
    counts: list[Tensor] = []
    classes: list[Tensor] = []
    most, read = 0, 0
    for batch in batches:
        found = counted(batch, target)
        if found is None:
            return None
        counts.append(found[0])
        classes.append(found[1])
        most, read = max(most, found[2]), read + len(found[1])
        if read >= _MOST_EXAMPLES:
            break
    if not counts or most < FEWEST_NAMES:
        return None
    return torch.cat(counts), torch.cat(classes)


def counted(batch: Any, target: str) -> tuple[Tensor, Tensor, int] | None:
    """Counts of words and the class of each example, and the largest word.

    Args:
        batch: rows of words with a class each, or bags of words (words, offsets); None of another kind.
        target: the classes, as `tensors` names them.
    """
    found = {name: tensor.detach().cpu() for name, tensor in tensors(batch)}
    classes = found.pop(target, None)
    whole = [t.long() for t in found.values() if not t.is_floating_point() and not t.is_complex() and t.dtype != torch.bool]
    if classes is None or classes.is_floating_point() or classes.numel() != len(classes) or int(classes.min()) < 0:
        return None
    if any(t.is_floating_point() and t.dim() > 1 for t in found.values()):  # what else is read may tell the class
        return None
    rows = [t for t in whole if t.dim() == 2 and len(t) == len(classes) and t.shape[1] >= _FEWEST_PLACES]
    if rows:
        words = max(rows, key=lambda t: int(t.max()))  # a mask beside it holds ones
        example = torch.arange(len(words))[:, None].expand_as(words).flatten()
    else:
        bag = bag_of([t for t in whole if t.dim() == 1 and t.numel()], len(classes))
        if bag is None:
            return None
        words, example = bag
    words = words.flatten()
    counts = torch.zeros(len(classes), _BUCKETS)
    counts.index_put_((example, words.remainder(_BUCKETS)), torch.ones(len(words)), accumulate=True)
    return counts, classes.flatten().long(), int(words.max()) if len(words) else 0


def bag_of(flat: list[Tensor], size: int) -> tuple[Tensor, Tensor] | None:
    """Words of all examples in a row, and the example of each: of words and of where each example's begin.

    Args:
        flat: rows of whole numbers, two of them: words, and offsets.
        size: how many examples there are.

    Returns:
        Both; None where no row is offsets of the other.
    """
    for offsets in flat:
        others = [t for t in flat if t is not offsets]
        begins = len(offsets) in (size, size + 1) and int(offsets[0]) == 0 and bool((offsets.diff() >= 0).all())
        if len(others) == 1 and begins and len(others[0]) >= int(offsets[-1]) > 0:
            places = torch.arange(len(others[0]))
            return others[0], (torch.searchsorted(offsets[:size].contiguous(), places, right=True) - 1)
    return None
