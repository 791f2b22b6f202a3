"""A loss of pairs that adds up all examples before the function that is to bend each: read off the graph of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainability.doctor.batches import batch_size, first_examples, tensors
from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.randomness import randomness_restored

_ALONG = ("SubBackward", "RsubBackward", "AddBackward", "NegBackward", "SigmoidBackward", "ClampBackward", "SumBackward")
_FEWEST, _FEWEST_TABLES = 8, 3  # examples; tensors of names, as of users, of items that they chose, and of others
_MOST_NODES = 200

Forward = Callable[[Any, Any], Tensor]


def summed_first(loss: Tensor) -> int | None:
    """Follow what is one number from the loss up, to a function of it, and behind that to a sum.

    Args:
        loss: one number, with its graph, before or after `backward`.

    Returns:
        The first dimension of what is summed, where log-sigmoid or softplus is taken once, of one number that sums and
        differences of sums make; None elsewhere. Where a target has a part in it, as the label of a bag has, that is a product
        with it, or a loss of PyTorch, of which nothing is said.
    """
    found = [node for node in _single(loss.grad_fn) if _bends(node)]
    sizes = _sums_above(found[0]) if len(found) == 1 else []
    return sizes[0] if sizes and len(set(sizes)) == 1 and sizes[0] >= _FEWEST else None


def summed_over_batch(model: nn.Module, batch: Any, forward: Forward, loss: Tensor, batches: Iterable[Any]) -> int | None:
    """Ask again with one example less: sums over the examples then have one term less.

    Args:
        model: as in the loop, in train mode with dropout off.
        batch: what was looked at.
        forward: of (model, batch), the loss.
        loss: of that batch.
        batches: the training loader: where it stacks as many examples as the sum has terms, these are no parts of one.

    Returns:
        How many examples are added up; None where these are not, and where rows may be parts of one example.
    """
    size = batch_size(batch)
    if size is None or summed_first(loss) != size or not (_stacks(batches, size) or are_names([t for _, t in tensors(batch)])):
        return None
    smaller = first_examples(batch, size - 1)
    if batch_size(smaller) != size - 1:
        return None
    with torch.enable_grad(), randomness_restored():
        again = summed_first(forward(model, smaller).sum())
    return size if again == size - 1 else None


def are_names(given: Sequence[Tensor]) -> bool:
    """Whether three tensors and more hold a whole number for each example, and as many: words of a text are one or two."""
    plain = {t.data_ptr(): len(t) for t in given if t.dim() == 1 and not t.is_floating_point() and t.dtype != torch.bool}
    return len(plain) >= _FEWEST_TABLES and len(set(plain.values())) == 1


def _stacks(batches: Iterable[Any], size: int) -> bool:
    return isinstance(batches, DataLoader) and (batches.batch_size or 0) >= size


def _single(root: Any) -> list[Any]:
    """Nodes from one up, as far as what they make is one number."""
    seen, todo = {root: None}, [root]
    while todo and len(seen) < _MOST_NODES:
        node = todo.pop()
        for above, place in node.next_functions if node is not None else ():
            metadata = getattr(above, "_input_metadata", None)
            if above is not None and above not in seen and metadata and math.prod(metadata[place].shape) == 1:
                seen[above] = None
                todo.append(above)
    return [node for node in seen if node is not None]


def _bends(node: Any) -> bool:
    """Whether a function is log-sigmoid or softplus, or the logarithm of a sigmoid, give or take a small number."""
    if name_of(node) != "LogBackward":
        return name_of(node) in ("LogSigmoidBackward", "SoftplusBackward")
    above = [each for each, _ in node.next_functions if each is not None]
    if len(above) == 1 and name_of(above[0]) in ("AddBackward", "ClampBackward"):
        above = [each for each, _ in above[0].next_functions if each is not None]
    return len(above) == 1 and name_of(above[0]) == "SigmoidBackward"


def _sums_above(node: Any) -> list[int]:
    """First dimensions of what sums add up, of the terms of one number; none where anything else has a part in it."""
    sizes: list[int] = []
    for above in _single(node)[1:]:
        if name_of(above) == "SumBackward" and len(shape := tuple(getattr(above, "_saved_self_sym_sizes", ()))) > 0:
            sizes.append(shape[0])
        elif name_of(above) not in _ALONG:
            return []
    return sizes
