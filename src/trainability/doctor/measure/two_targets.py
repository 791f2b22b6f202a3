"""Two targets for the same outputs, labels and rows of scores: whether the scores are those of other examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.filled import given_to_modules, read_together
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once
from trainability.doctor.measure.relation import relation

_UNRELATED, _RELATED = 3.5, 8.0  # standard deviations above shuffled ones: see `relation`
_SHUFFLES = 99
_FEWEST_ROWS = 8
_MOSTLY, _HALF = 0.95, 0.5  # of the rows

Forward = Callable[[Any, Any], Tensor]


def scores_of_others(
    model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]
) -> tuple[str, str, int, float] | None:
    """Find scores for the classes, as of a teacher, that have nothing to do with the labels beside them.

    Args:
        model: called once for a batch; returns (examples, classes).
        batch: holds what goes into the model, labels, and scores of the same shape as the output.
        forward: of (model, batch), the loss: a higher score, and a label, ask for a larger output of that class.
        batches: of the training loader.

    Returns:
        The names of labels and scores, over how many examples they were compared, and by how many standard deviations the score
        of an example's own label is above that of another's, less than 3.5; where the inputs are related to the labels, by 8 or
        more, and not to the scores, by less than 3.5. None otherwise.
    """
    own = returned_once(model, batch, forward)
    output = own.tensors[0] if own is not None and own.tensors else None
    if own is None or output is None or output.dim() != 2 or len(output) < _FEWEST_ROWS or output.shape[1] < 2:
        return None
    given, named = given_to_modules(model, batch, forward), dict(tensors(batch))
    inputs = [name for name, t in named.items() if t.data_ptr() in given and t.dim() > 1]
    rest = {name: t for name, t in named.items() if t.data_ptr() not in given and len(t.shape) > 0 and len(t) == len(output)}
    labels = [name for name, t in rest.items() if _are_labels(t, output.shape[1])]
    scores = [name for name, t in rest.items() if t.is_floating_point() and t.shape == output.shape]
    for label in labels[:1] if inputs else ():
        for score in scores[:2]:
            if not _both_ask(model, batch, forward, own, (named[label], named[score])):
                continue
            rows = read_together(batches, [inputs[0], label, score])
            if rows is None:
                continue
            x, y, s = rows[inputs[0]], rows[label].long(), rows[score].float()
            above = _above(y, s)
            if above is None or abs(above) >= _UNRELATED:
                continue
            with_labels, with_scores = relation(x, y), relation(x, s)
            if with_labels is not None and with_scores is not None and with_scores.z < _UNRELATED <= _RELATED <= with_labels.z:
                return label, score, len(y), above
    return None


def _are_labels(t: Tensor, classes: int) -> bool:
    return t.dtype == torch.int64 and t.dim() == 1 and bool((t >= 0).all() & (t < classes).all()) and len(t.unique()) > 1


def _both_ask(model: nn.Module, batch: Any, forward: Forward, own: Returned, pair: tuple[Tensor, Tensor]) -> bool:
    """Whether a higher score of a class, and another label, each make the loss ask for a larger output of that class."""
    labels, scores = pair
    count, every = scores.shape[1], torch.arange(len(labels), device=labels.device)
    before = pull(model, batch, forward, own)
    raised = scores.clone()
    raised[:, 0] += scores.max() - scores.min() + 1e-3  # of most rows this is then the highest
    other = (labels + 1) % count
    with_scores = pull(model, exchanged(batch, scores, raised), forward, own)
    with_labels = pull(model, exchanged(batch, labels, other), forward, own)
    if before is None or with_scores is None or with_labels is None:
        return False
    by_score, by_label = with_scores - before, with_labels - before
    asks = (by_label[every, other] < 0) & (by_label[every, labels] > 0)
    # A row whose class was certain already asks for nothing more.
    is_pulled = float((by_score[:, 0] < 0).float().mean()) >= _HALF and float((by_score[:, 0] <= 0).float().mean()) >= _MOSTLY
    return is_pulled and float(asks.float().mean()) >= _MOSTLY


def _above(labels: Tensor, scores: Tensor) -> float | None:
    """By how many standard deviations the mean score of an example's own label is above that of shuffled labels."""
    centred = scores - scores.mean(dim=0)
    rng = torch.Generator().manual_seed(0)
    orders = [torch.arange(len(labels)), *(torch.randperm(len(labels), generator=rng) for _ in range(_SHUFFLES))]
    means = torch.stack([centred.gather(1, labels[order][:, None]).mean() for order in orders])
    spread = float(means[1:].std())
    return float(means[0] - means[1:].mean()) / spread if spread > 0 else None
