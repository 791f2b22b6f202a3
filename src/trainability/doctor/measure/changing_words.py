"""Whether a word's number means the same all through a data set: words and classes of near examples and of far ones."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.named_values import target_beside
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.words import FEWEST_NAMES, counted
from trainability.doctor.readings import ChangingWords

_STRETCHES, _LONGEST, _SHORTEST = 10, 400, 100  # of examples in their order, evenly spread; examples of each
_BLOCKS = (400, 200, 100, 50)  # examples that are near each other
_SECONDS = 5.0  # for reading
_SHUFFLES = 60  # of targets within a block
_EVERYWHERE, _FEWEST_OF_EACH, _MOSTLY = 0.8, 20, 0.9  # blocks that have a word, of those that might; occurrences; of all words
_OF_A_BLOCK = 0.9  # of a block's examples, that hold a word which other blocks lack: it names the block
_ALIKE = 0.4  # of what varies near, that varies far apart
_MOST_CLASSES = 64


def changing_words(seen: ForwardPass, batches: Iterable[Any]) -> ChangingWords | None:
    """Compare what words say of classes in near examples and in far ones, in the order in which the data set holds them.

    Where every chunk of the data has a vocabulary of its own, pairs of examples of one chunk that share words share classes,
    and pairs of different chunks that share the same numbers do not.

    Args:
        seen: a pass with a batch of the loader, which knows the target.
        batches: of the training loader: a torch DataLoader over a data set with indices, which is read in order, for a few
            seconds at most.

    Returns:
        The comparison. None where batches hold anything but words with a class each, where examples are too few, words do not
        tell the class even of near examples, or near examples have words of their own, by which a model may know the chunk.
    """
    given = [(name, tensor) for name, tensor in seen.batch if not tensor.is_floating_point() and tensor.dim() == 2]
    target = target_beside(seen, given[0][0]) if len(given) == 1 else None
    is_read = isinstance(batches, DataLoader) and not isinstance(batches.dataset, IterableDataset)
    if target is None or not is_read or not isinstance(batches, DataLoader) or batches.collate_fn is None:
        return None
    with randomness_restored(), generators_restored(batches), contextlib.suppress(LookupError):
        found = _in_order(batches, target)
        return compared(*found) if found is not None else None
    return None


def _in_order(loader: DataLoader[Any], target: str) -> tuple[Tensor, Tensor] | None:
    """Word counts (stretches, examples, words) and classes (stretches, examples), in the order of the data set."""
    order = _order(loader.dataset)
    size = min(len(order) // _STRETCHES, _LONGEST) // _BLOCKS[-1] * _BLOCKS[-1]
    if size < _SHORTEST:
        return None
    began, counts, classes, most = time.perf_counter(), [], [], 0
    for stretch in range(_STRETCHES):
        begin = stretch * (len(order) - size) // (_STRETCHES - 1)
        for first in range(begin, begin + size, _BLOCKS[-1]):
            found = counted(loader.collate_fn([loader.dataset[k] for k in order[first : first + _BLOCKS[-1]]]), target)
            if found is None or time.perf_counter() - began > _SECONDS:
                return None
            counts.append(found[0])
            classes.append(found[1])
            most = max(most, found[2])
    if most < FEWEST_NAMES:
        return None
    return torch.cat(counts).unflatten(0, (_STRETCHES, size)), torch.cat(classes).unflatten(0, (_STRETCHES, size))


def _order(data: Any) -> list[int]:
    """Indices of a data set in the order of what it takes its examples from: a random part of a data set has its order."""
    places = range(len(data))
    own = list(places)
    while hasattr(data, "indices") and isinstance(getattr(data, "dataset", None), Dataset):
        own = [int(data.indices[k]) for k in own]
        data = data.dataset
    return sorted(places, key=own.__getitem__)


def compared(counts: Tensor, classes: Tensor) -> ChangingWords | None:
    """The comparison of stretches of examples in order.

    Args:
        counts: (stretches, examples, words), how often each word occurs.
        classes: (stretches, examples) integers.
    """
    kinds = classes.unique(return_inverse=True)[1]
    if not 1 < int(kinds.max()) + 1 <= _MOST_CLASSES:
        return None
    num_stretches, size = classes.shape
    found: list[ChangingWords | None] = []
    for block in _BLOCKS:
        if size % block:
            continue
        words = counts.double().reshape(-1, block, counts.shape[2])
        shared = _recurring(words)
        names_block = bool(((words > 0).double().mean(dim=1)[:, ~shared] >= _OF_A_BLOCK).any())
        if names_block or float(words[..., shared].sum()) < _MOSTLY * float(words.sum()):
            continue
        marks = nn.functional.one_hot(kinds).double().reshape(-1, block, int(kinds.max()) + 1)
        found.append(_near_and_far(words[..., shared], marks, num_stretches))
    return max((each for each in found if each is not None), key=lambda each: each.z, default=None)


def _recurring(words: Tensor) -> Tensor:
    """Which words occur in as many blocks as if they were drawn evenly."""
    times = words.sum(dim=(0, 1))
    expected = len(words) * (1 - (1 - 1 / len(words)) ** times)
    return ((words.sum(dim=1) > 0).sum(dim=0) >= _EVERYWHERE * expected) & (times >= _FEWEST_OF_EACH)


def _near_and_far(words: Tensor, marks: Tensor, num_stretches: int) -> ChangingWords | None:
    """How much classes agree where words do, in pairs of a block and in pairs of stretches half of the data apart.

    None where other words or classes vary far apart than near, as of data in the order of their classes.
    """
    words, marks = (part - part.mean(dim=1, keepdim=True) for part in (words, marks))
    own = (words.square().sum(dim=2) * marks.square().sum(dim=2)).sum()
    stretch = torch.arange(num_stretches)
    is_far = (stretch[:, None] - stretch).abs() >= num_stretches // 2
    expected = _expected(words, is_far) * _expected(marks, is_far)
    if expected < _ALIKE:
        return None

    def agreement(marks: Tensor) -> Tensor:
        together = words.transpose(1, 2) @ marks
        by_stretch = together.unflatten(0, (num_stretches, -1)).sum(dim=1).flatten(1)
        return torch.stack([together.square().sum() - own, (by_stretch @ by_stretch.T)[is_far].sum()])

    rng = torch.Generator().manual_seed(0)
    shuffled = [marks.gather(1, _orders(marks, rng)) for _ in range(_SHUFFLES)]
    spread = torch.stack([agreement(each) for each in shuffled])
    num_blocks, block = marks.shape[:2]
    pairs = torch.tensor([num_blocks * block * (block - 1), int(is_far.sum()) * (num_blocks * block // num_stretches) ** 2])
    above = agreement(marks) - spread.mean(dim=0)
    near, far = (above / pairs).tolist()
    near *= expected
    return ChangingWords(
        num_examples=num_blocks * block,
        block=block,
        z=float(above[0] / spread[:, 0].std().clamp(min=1e-12)),
        far=far / near if near > 0 else 1.0,
        error=float(spread[:, 1].std() / pairs[1]) / near if near > 0 else 1.0,
    )


def _expected(parts: Tensor, is_far: Tensor) -> float:
    """By how much what is common to far stretches varies less than what is common to a block: 1 where all are alike."""
    spread = parts.square().mean(dim=1)
    by_stretch = spread.unflatten(0, (len(is_far), -1)).mean(dim=1)
    return float((by_stretch @ by_stretch.T)[is_far].mean() / spread.square().sum(dim=1).mean())


def _orders(marks: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(marks.shape[:2], generator=rng).argsort(dim=1)[..., None].expand_as(marks)
