"""Whose rows these are: which example of the batch each row of what a model returns is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, map_parts

_FEWEST = 4  # examples
_SAME = 1e-5  # of the rows' rms: rounding

Run = Callable[[Any], Sequence[Tensor]]


def owners(run: Run, batch: Any) -> Tensor | None:
    """Exchange examples, half of the batch at a time, and see which rows change.

    Args:
        run: of a batch, tensors (rows, ...), with the same random numbers each time.
        batch: of which every tensor has one row per example.

    Returns:
        (all rows,), the example that each row is made of; None where a row is made of several or of none.
    """
    size = batch_size(batch)
    if size is None or size < _FEWEST:
        return None
    own, places = run(batch), torch.arange(size)
    owner = torch.zeros(sum(map(len, own)), dtype=torch.int64)
    for bit in range((size - 1).bit_length()):
        sides = []
        for side in (0, 1):
            there = (places >> bit) & 1 == side
            other = run(_exchanged(batch, there)) if bool(there.any()) else own
            if [t.shape for t in other] != [t.shape for t in own]:
                return None
            sides.append(torch.cat([_moved(a, b) for a, b in zip(own, other, strict=True)]).cpu())
        if not bool((sides[0] ^ sides[1]).all()):
            return None
        owner += sides[1].long() << bit
    return owner if bool((owner < size).all()) else None


def in_evaluation(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    """Set normalisations and dropout to what they do in evaluation, where examples do not mix; the modes that they had."""
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    were: list[tuple[nn.Module, bool]] = [(module, module.training) for module in model.modules() if isinstance(module, kinds)]
    for module, _ in were:
        module.training = False
    return were


def _exchanged(batch: Any, there: Tensor) -> Any:
    """The batch with another example in these places."""

    def change(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return map_parts(part, change)
        rows = there.to(part.device).view(-1, *[1] * (part.dim() - 1))
        return torch.where(rows, part.detach().roll(1, dims=0), part.detach())

    return change(batch)


def _moved(rows: Tensor, other: Tensor) -> Tensor:
    size = rows.detach().double().square().mean().sqrt().clamp(min=1e-30)
    return (rows.detach() - other.detach()).double().abs().reshape(len(rows), -1).amax(dim=1) > _SAME * size
