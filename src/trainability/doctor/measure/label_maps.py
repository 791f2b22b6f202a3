"""Maps of classes that were resized by interpolation, as images are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import first_tensor, tensors

_MOST_BATCHES, _MOST_MAPS, _MOST_RUNS = 4, 64, 200_000
_MOST_CLASSES = 64
_SOLID = 3  # pixels in a row of one class, of an area; fewer are an edge that is smeared over pixels
_FEWEST = 50  # edges between areas that go through other classes
_BETWEEN = 0.7  # of these edges; of classes that lie beside each other by chance, a third at most
_UNORDERED = 0.25  # of all pixels beside another class, those whose numbers are two apart or more
_FEWEST_PAIRS = 2
_FEWEST_BETWEEN, _OFTEN = 2, 0.1  # classes that are found between others, a drawn border's being one; their share of these
_LIKE_IMAGE = 0.95  # correlation with a channel of the input, of an image that is its own target


def smeared_edges(batch: Any, batches: Iterable[Any]) -> tuple[float, int] | None:
    """Find out whether, in maps of classes, an edge between two areas goes through the classes numbered between them.

    Interpolation between class 1 and class 4 makes 2 and 3 of pixels on the edge. Where areas meet whatever their numbers, that
    has no other reason. In maps of amounts, such as depths, and of layers in their order, most neighbours are numbers next to
    each other; a border that is drawn is one class between all others; an image in few grey levels is like the input.

    Args:
        batch: as the loop draws it.
        batches: of the training loader.

    Returns:
        Of the edges that go through other classes, the share of those that go through what is numbered between, 0.7 or more,
        and how many there are; None of other maps, and where there are none.
    """
    maps = list(itertools.islice(_maps(itertools.chain([batch], itertools.islice(batches, _MOST_BATCHES))), _MOST_MAPS))
    if not maps or len({tuple(each.shape) for each in maps}) != 1:
        return None
    stacked = torch.stack(maps)
    edges = [edge for lines in (stacked, stacked.transpose(1, 2)) for edge in _edges(lines.reshape(-1, lines.shape[2]))]
    through = [edge for edge in edges if len(edge) > 2 and len(set(edge)) == len(edge)]
    steps = [abs(a - b) for edge in edges for a, b in itertools.pairwise(edge)]
    if len(through) < _FEWEST or sum(step > 1 for step in steps) < _UNORDERED * len(steps):
        return None
    smeared = [edge for edge in through if list(edge) in (sorted(edge), sorted(edge, reverse=True))]
    if len(smeared) < _BETWEEN * len(through) or len({frozenset((edge[0], edge[-1])) for edge in smeared}) < _FEWEST_PAIRS:
        return None
    between = Counter(value for edge in smeared for value in edge[1:-1])
    if sum(count >= _OFTEN * between.total() for count in between.values()) < _FEWEST_BETWEEN:
        return None
    return len(smeared) / len(through), len(through)


def _maps(batches: Iterable[Any]) -> Iterator[Tensor]:
    """Maps of three classes or more, of the first tensor behind the input that holds any."""
    for batch in batches:
        for _, labels in list(tensors(batch))[1:]:
            flat = labels.squeeze(1) if labels.dim() == 4 and labels.shape[1] == 1 else labels
            whole = flat.dim() == 3 and not flat.is_floating_point() and flat.dtype != torch.bool and not flat.is_complex()
            if whole and min(flat.shape[1:]) > 2 * _SOLID and 3 <= len(flat.unique()) <= _MOST_CLASSES:
                if not _is_like(first_tensor(batch), flat):
                    yield from flat.cpu().long()
                break


def _is_like(image: Tensor | None, labels: Tensor) -> bool:
    """Whether labels go with a channel of the input, number by number."""
    if image is None or image.is_complex() or image.dim() < 3 or len(image) != len(labels):
        return False
    if image.shape[-2:] != labels.shape[-2:]:
        return False
    channels = image.detach().reshape(len(labels), -1, *labels.shape[1:]).transpose(0, 1).flatten(1).double()
    both = torch.cat([labels.flatten()[None].to(channels), channels])
    return bool((torch.corrcoef(both)[0, 1:].abs() > _LIKE_IMAGE).any())


def _edges(lines: Tensor) -> Iterator[tuple[int, ...]]:
    """Edges along lines, between areas of two classes: one class, what lies between in thin runs, and the other class."""
    low = int(lines.min())
    width = int(lines.max()) - low + 1
    numbered = (lines - low + width * torch.arange(len(lines))[:, None]).flatten()
    values, lengths = torch.unique_consecutive(numbered, return_counts=True)
    edge: list[int] = []  # from the last area on
    on = -1
    for number, length in zip(values[:_MOST_RUNS].tolist(), lengths[:_MOST_RUNS].tolist(), strict=True):
        line, value = divmod(number, width)
        if line != on:
            edge, on = [], line
        if length >= _SOLID:
            if edge and edge[0] != value:
                yield *edge, value
            edge = [value]
        elif edge:
            edge.append(value)
