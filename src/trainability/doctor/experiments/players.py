"""Models that play against each other are judged by what one of them makes: how far it lies from the examples of the batch."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import cloned, tensors
from trainability.doctor.experiments.variant import Variant, look
from trainability.doctor.measure.nested import players
from trainability.doctor.measure.randomness import random_state

_FEWEST = 16  # examples


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """How far two heaps of rows lie apart; 0 where both are drawn alike.

    Source:
        Székely and Rizzo, Energy statistics, 2013, section 2.
    """
    return 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()


def judge_of(variant: Variant) -> Callable[[Any, Any], Tensor] | None:
    """Find the one model whose outputs look as a tensor of the batch does, and is given nothing that a model made.

    Returns:
        Of (model, batch), the energy distance between what it makes of the same inputs each time and that tensor, over the
        distance of the tensor's mean: 1 where it makes one thing that is as good as the mean. None where there is no such
        model, or several.
    """
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any], Any]] = {}

    def called(place: int) -> Callable[..., None]:
        return lambda module, args, words, output: calls.__setitem__(place, (args, words, output))

    with contextlib.ExitStack() as stack:
        for place, model in enumerate(players(variant.model)):
            stack.callback(model.register_forward_hook(called(place), with_kwargs=True).remove)
        look(variant, variant.loop(), variant.reference, random_state())
    parts = [(path, part) for path, part in tensors(variant.reference) if part.is_floating_point() and part.dim() >= 2]
    found = [
        (place, path)
        for place, (args, words, output) in calls.items()
        for path, part in parts
        if isinstance(output, Tensor) and output.shape == part.shape and len(part) >= _FEWEST
        if not any(given.requires_grad or given.shape == part.shape for _, given in tensors((args, words)))
    ]
    if len(found) != 1:
        return None
    (place, path), (args, words, _) = found[0], calls[found[0][0]]
    args, words = cloned(args), cloned(words)

    def judge(model: Any, batch: Any) -> Tensor:
        true = _rows(dict(tensors(batch))[path])
        made = _rows(_called(players(model)[place], args, words))
        mean = true.mean(dim=0, keepdim=True).expand_as(true)
        return energy_distance(made, true) / energy_distance(mean, true)

    return judge


@torch.no_grad()
def _called(model: nn.Module, args: tuple[Any, ...], words: dict[str, Any]) -> Tensor:
    return model(*args, **words)


def _rows(values: Tensor) -> Tensor:
    return values.detach().flatten(1).double()
