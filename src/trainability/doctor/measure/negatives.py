"""Pairs of names that a loss pulls together, and pairs that it pushes apart: which of them keep company in the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.pair_facts import Company

_FEWEST, _MOST = 300, 20_000  # pairs
_MOST_BATCHES, _MOST_SECONDS = 400, 2.0  # that are read
_NAMES = 400  # of either kind, the most frequent ones
_SHUFFLES = 12
_TURNED = 0.3  # cosine of the force on one vector with the other of the pair

Forward = Callable[[Any, Any], Tensor]


def company(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> Company | None:
    """Compare the pairs that a loss pulls together with those that it pushes apart, by how often names share company.

    Args:
        model: looks the names up in embeddings.
        batch: holds a tensor of names, and two more of names that are each set beside it.
        forward: of (model, batch), the loss.
        batches: of the training loader.

    Returns:
        None where the loss does not pull the one kind of pair together and push the other apart, or where two seconds of
        reading give too few.
    """
    found = _kinds_of_pairs(model, batch, forward)
    if found is None:
        return None
    shared, pulled, pushed = found
    kinds: list[list[Tensor]] = [[], []]
    count, began = 0, time.monotonic()
    with randomness_restored(), generators_restored(batches):
        for number, one in enumerate(batches):
            parts = dict(tensors(one))
            if not {shared, pulled, pushed} <= set(parts):
                break
            for kind, other in zip(kinds, (pulled, pushed), strict=True):
                kind.append(_beside(parts[shared].cpu(), parts[other].cpu()))
            count += len(kinds[0][-1])
            if number + 1 == _MOST_BATCHES or count >= _MOST or time.monotonic() - began > _MOST_SECONDS:
                break
    if count < _FEWEST:
        return None
    together, apart = (torch.cat(kind)[:_MOST] for kind in kinds)
    names = len(together[:, 0].unique())
    pulled, repeated = _shared(together)
    return Company(
        num_pairs=len(together),
        num_names=names,
        pulled=pulled,
        pushed=_shared(apart)[0],
        repeated=repeated,
        pushed_too=_of_both(together, apart),
    )


def _of_both(together: Tensor, apart: Tensor) -> tuple[float, float]:
    """Share of the pairs pushed apart that are among those pulled together; and of as many whose second names are exchanged."""
    width = int(max(together.max(), apart.max())) + 1
    order = torch.randperm(len(apart), generator=torch.Generator().manual_seed(0))
    at_random = torch.stack([apart[:, 0], apart[order, 1]], dim=1)
    known = together[:, 0] * width + together[:, 1]
    own, other = (torch.isin(pairs[:, 0] * width + pairs[:, 1], known).double().mean() for pairs in (apart, at_random))
    return float(own), float(other)


def _kinds_of_pairs(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, str, str] | None:
    """The tensors of the batch, by their place: of the names, of what is pulled to them, and of what is pushed away."""
    names = {n: t for n, t in tensors(batch) if t.dim() in (1, 2) and not t.is_floating_point() and t.dtype != torch.bool}
    made: dict[str, Tensor] = {}

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        if len(args) != 1 or not isinstance(args[0], Tensor) or not isinstance(output, Tensor) or not output.requires_grad:
            return
        if output.dim() == args[0].dim() + 1 and output.shape[-1] > 1:
            # Of a tower, the outermost module returns last, of several calls the last.
            made.update({n: output for n, t in names.items() if t.shape == args[0].shape and bool((t == args[0]).all())})

    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    if len(names) < 3 or not tables:
        return None
    sparse = [table for table in tables if table.sparse]
    handles = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        for table in sparse:
            table.sparse = False
        with torch.enable_grad(), randomness_restored():
            loss = forward(model, batch).sum()
        if len(made) < 3:
            return None
        gradients = torch.autograd.grad(loss, list(made.values()), allow_unused=True)
    finally:
        for table in sparse:
            table.sparse = True
        for handle in handles:
            handle.remove()
    forces = {n: (v.detach(), g) for (n, v), g in zip(made.items(), gradients, strict=True) if g is not None}
    for shared, (vectors, _) in forces.items():
        turned = {n: _turned(vectors, g) for n, (_, g) in forces.items() if n != shared}
        pulled = [n for n, cosine in turned.items() if cosine is not None and cosine < -_TURNED]
        pushed = [n for n, cosine in turned.items() if cosine is not None and cosine > _TURNED]
        if len(pulled) == len(pushed) == 1 and names[shared].dim() == 1:
            return shared, pulled[0], pushed[0]
    return None


def _turned(vectors: Tensor, gradient: Tensor) -> float | None:
    """The mean cosine of a gradient with the vectors that the names beside it have."""
    if vectors.dim() != 2 or gradient.shape[-1] != vectors.shape[-1] or len(gradient) != len(vectors):
        return None
    wide = vectors if gradient.dim() == 2 else vectors[:, None]
    cosine = nn.functional.cosine_similarity(gradient, wide.expand_as(gradient), dim=-1)
    moved = gradient.norm(dim=-1) > 0  # a margin that is kept has none
    return float(cosine[moved].mean()) if bool(moved.any()) else None


def _beside(names: Tensor, others: Tensor) -> Tensor:
    """Pairs (n, 2)."""
    others = others.reshape(len(names), -1)
    return torch.stack([names.repeat_interleave(others.shape[1]), others.flatten()], dim=1)


def _shared(pairs: Tensor) -> tuple[float, float]:
    """How many standard deviations above pairs made at random there are of two names that go with the same two others.

    The others are exchanged between the pairs, so that how frequent each is does not count.

    Returns:
        The number, and the same of pairs that occur again.
    """
    rows, columns = (_frequent(pairs[:, k]) for k in (0, 1))
    kept = (rows >= 0) & (columns >= 0)
    rows, columns = rows[kept], columns[kept]
    rng = torch.Generator().manual_seed(0)

    def squares(columns: Tensor) -> Tensor:
        met = torch.zeros(_NAMES, _NAMES).index_put_((rows, columns), torch.ones(len(rows)), accumulate=True)
        return torch.stack([(met @ met.T).fill_diagonal_(0.0).square().sum(), met.square().sum()])

    shuffled = torch.stack([squares(columns[torch.randperm(len(columns), generator=rng)]) for _ in range(_SHUFFLES)])
    company, repeated = ((squares(columns) - shuffled.mean(dim=0)) / shuffled.std(dim=0).clamp(min=1.0)).tolist()
    return company, repeated


def _frequent(names: Tensor) -> Tensor:
    """Names as numbers from 0, the most frequent ones; -1 for all others."""
    kinds, places, counts = names.unique(return_inverse=True, return_counts=True)
    rank = torch.full((len(kinds),), -1)
    order = counts.argsort(descending=True)[:_NAMES]
    rank[order] = torch.arange(len(order))
    return rank[places]
