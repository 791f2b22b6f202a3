"""Noise that a step writes into the tensor of the batch that it also compares its outputs with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import cloned, tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.readings import Overwritten

_FEWEST_ROWS, _FEWEST_NUMBERS = 4, 16
_FEWEST_IN_ALL = 1024  # by which a correlation of 0.1 is three standard deviations
_SMALL = 0.1  # noise over the spread of the data: rounding and quantisation leave less; its mean over its size
_NEIGHBOURS = 0.15  # correlation of the noise of neighbours: an augmentation moves or scales them together
_FOLLOWS = 0.4  # correlation of an example's noise with its values: 1 if they are scaled, 0.7 if they change places
_SEEDS = (27_182_818, 31_415_926)  # that nobody has drawn the data with

Forward = Callable[[Any, Any], Tensor]


def noise_in_place(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> Overwritten | None:
    """Run the step twice on copies of a batch, with other random numbers, and look what it leaves in the batch.

    Args:
        model: runs as it is.
        batch: copied; what the first pass wrote to it stays.
        forward: of (model, batch), the loss.
        seen: the first pass, over this batch.

    Returns:
        What is written to: a tensor of numbers to which noise is added, another each time, that neither neighbours share nor
        goes by the values (as moving, scaling or mixing examples does, which is augmentation), with mean zero (which filling
        the gaps between whole numbers has not); and that is then both what the model is given and what outputs are compared
        with, without a change in between. None elsewhere.
    """
    if not any(t._version > 0 and t.is_floating_point() for _, t in seen.batch):
        return None
    before = dict(tensors(cloned(batch)))
    after = []
    for seed in _SEEDS:
        copy = cloned(batch)
        with randomness_restored():
            seed_torch(seed)
            after.append(_both_ways(model, copy, forward))
    for place in after[0].keys() & after[1].keys():
        noise = [each[place].detach() - before[place].detach() for each in after]
        if all(_is_noise(each.double(), before[place].double()) for each in noise) and _differ(*noise):
            rows = int((noise[0] != 0).flatten(1).any(dim=1).sum())
            size = float(noise[0].double().square().mean().sqrt() / before[place].double().std())
            return Overwritten(kind="batch", place=place, num_examples=len(noise[0]), num_changed=rows, share=size)
    return None


def _both_ways(model: nn.Module, batch: Any, forward: Forward) -> dict[str, Tensor]:
    """Tensors of the batch that are written to, then given to a module with weights, and then compared with its outputs."""
    own = {place: t for place, t in tensors(batch) if t.is_floating_point() and t.layout == torch.strided}
    given: dict[str, int] = {}

    def look(module: nn.Module, args: Any, kwargs: Any) -> None:
        for _, tensor in tensors((args, kwargs)):
            given.update({place: t._version for place, t in own.items() if _is_all_of(tensor, t)})

    handles = [
        module.register_forward_pre_hook(look, with_kwargs=True)
        for module in model.modules()
        if any(True for _ in module.parameters())
    ]
    seen = ForwardPass(model, batch)
    try:
        with torch.enable_grad(), seen:
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    target = seen.against[1] if seen.against is not None else None
    return {
        place: t
        for place, t in own.items()
        if target is not None and t._version > 0 and given.get(place) == t._version and _is_all_of(target, t)
    }


def _is_all_of(tensor: Tensor, own: Tensor) -> bool:
    """Whether it is the same memory, in whatever shape."""
    return tensor.numel() == own.numel() > 0 and tensor.data_ptr() == own.data_ptr() and tensor.layout == torch.strided


def _is_noise(noise: Tensor, values: Tensor) -> bool:
    if len(noise) < _FEWEST_ROWS or noise[0].numel() < _FEWEST_NUMBERS or noise.numel() < _FEWEST_IN_ALL:
        return False
    power = float(noise.square().mean())
    if not power**0.5 > _SMALL * float(values.std()) or abs(float(noise.mean())) > _SMALL * power**0.5:
        return False
    for dim in range(1, noise.dim()):
        size = noise.shape[dim]
        if size < 2:
            continue
        pairs = noise.narrow(dim, 0, size - 1) * noise.narrow(dim, 1, size - 1)
        if not abs(float(pairs.mean())) < _NEIGHBOURS * power:
            return False
    rows, own = noise.flatten(1), values.flatten(1)
    rows, own = rows - rows.mean(dim=1, keepdim=True), own - own.mean(dim=1, keepdim=True)
    sizes = (rows.norm(dim=1) * own.norm(dim=1)).clamp(min=1e-12)
    return float(((rows * own).sum(dim=1).abs() / sizes).mean()) < _FOLLOWS


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two draws have nothing in common."""
    product, sizes = (one.double() * other.double()).mean().abs(), one.double().square().mean() * other.double().square().mean()
    return float(product) < _NEIGHBOURS * float(sizes) ** 0.5
