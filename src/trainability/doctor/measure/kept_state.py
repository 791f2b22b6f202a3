"""A state that a model keeps from batch to batch, row for row, though the loader shuffles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.influence import answer
from trainability.doctor.measure.loss_number import seeded_loss

_SHUFFLES = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_FEWEST = 4  # rows


def shuffled_state(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass, batches: Any
) -> str | None:
    """Look for a tensor with a row for each of the batch that a call leaves in the model, and the next step goes by.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes, buffers and attributes back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss. A loop that resets the state before each pass, as of a spiking net, is not told.
        seen: a pass of it.
        batches: the training loader.

    Returns:
        Where the state is kept, as an attribute of the model; None where there is none, where answers to the same batch do not
        differ by it alone, where the loss does not, or the loader does not shuffle.
    """
    given = seen.inputs[0] if seen.inputs else None
    if not isinstance(batches, DataLoader) or not isinstance(batches.sampler, _SHUFFLES) or not isinstance(given, Tensor):
        return None
    size = len(given) if given.dim() else 0
    if size < _FEWEST or not any(True for _ in _kept(model, size)):  # the pass itself has left it there
        return None
    rows, asked = list(seen.inputs), callable_model(seen)
    turned = [x.flip(0) if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in rows]
    one, before = answer(asked, rows, size), dict(_kept(model, size))
    answer(asked, turned, size)
    after, other = dict(_kept(model, size)), answer(asked, rows, size)
    changed = [name for name, t in after.items() if name in before and not torch.equal(t, before[name])]
    if one is None or other is None or not changed or torch.equal(one, other):
        return None
    answer(asked, rows, size)
    first = seeded_loss(model, batch, forward)
    answer(asked, turned, size)
    return changed[0] if seeded_loss(model, batch, forward) != first else None


def keeps_rows(model: nn.Module, seen: ForwardPass) -> bool:
    """Whether the pass has left a tensor with a row for each example in the model."""
    given = seen.inputs[0] if seen.inputs else None
    return isinstance(given, Tensor) and given.dim() > 0 and any(True for _ in _kept(model, len(given)))


def _kept(model: nn.Module, size: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors (copies) among the attributes of modules, parameters left out, that have a row for each example."""
    for name, module in model.named_modules():
        own = {k: v for k, v in vars(module).items() if not k.startswith("_")} | dict(module.named_buffers(recurse=False))
        for key, value in own.items():
            if isinstance(value, nn.Module | nn.Parameter):
                continue
            for place, tensor in tensors(value):
                if tensor.dim() > 1 and tensor.is_floating_point() and size in tensor.shape:
                    yield f"{name}.{key}".lstrip(".") + place, tensor.detach().clone()
