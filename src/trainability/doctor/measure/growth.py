"""How fast weights grow along what examples agree on, and how far the noise of a batch moves them."""

import contextlib
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, halves
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.statistics import spectral_norm
from trainability.doctor.rehearsed import Growth

_FEWEST_EXAMPLES = 32
_COST = 6  # of it, in looks at the reference: two halves forward and back, and singular values


def growth_of(loop: Loop, reference: Any, size: int | None, looks_left: float) -> Growth | None:
    """Measure the growth of the weights as they are, at the loop's own rate.

    Two halves of the reference have gradients A and B. Their mean M = (A + B) / 2 holds signal and noise, D = (A - B) / 2 noise
    of the same size alone: s(M)² - s(D)² is the signal's square, s() the largest singular value.

    Args:
        loop: with weights that are finite; nothing of it is changed.
        reference: batch of n examples.
        size: of the loop's own batches; noise falls as 1 / sqrt(size).
        looks_left: time that is left, over that of a forward pass of the reference.

    Returns:
        None where several optimizers or other than SGD step, where only the whole body is known, and where the reference is
        too small or not split.
    """
    parts, count = halves(reference), batch_size(reference)
    plain = len(loop.optimizers) == 1 and isinstance(loop.optimizers[0], torch.optim.SGD) and loop.scale == 1.0
    if not plain or loop.forward_only is None or parts is None or not size or not count or count < _FEWEST_EXAMPLES:
        return None
    if looks_left < _COST:
        return None
    with (
        contextlib.suppress(Exception),
        randomness_restored(),
        exit_as_error(),
    ):  # a loss that takes no half, or a program's own check
        first, second = (_gradients(loop, part, dropout=False) for part in parts)
        found = _growth(loop, first, second, count / size)
        if any(module.training and module.p > 0 for module in _dropouts(loop)):
            # What dropout adds is noise: it would only hide the signal.
            first, second = (_gradients(loop, part, dropout=True) for part in parts)
            found = replace(_growth(loop, first, second, count / size), signal=found.signal)
        return found if all(map(math.isfinite, (found.signal, found.noise, found.norm))) else None
    return None


def _dropouts(loop: Loop) -> list[Any]:
    return [module for part in loop.models for module in part.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]


def _gradients(loop: Loop, batch: Any, *, dropout: bool) -> dict[str, Tensor]:
    assert loop.forward_only is not None
    with loop.undisturbed(afresh=True), torch.enable_grad():
        # Not by their mode: a training step may set the model to training by itself.
        shares = [] if dropout else [(module, module.p) for module in _dropouts(loop)]
        for module, _ in shares:
            module.p = 0.0
        try:
            loss = scalar(loop.forward_only(loop.model, batch))
        finally:
            for module, share in shares:
                module.p = share
        found = torch.autograd.grad(loss, list(loop.parameters.values()), allow_unused=True)
    return {name: g for name, g in zip(loop.parameters, found, strict=True) if g is not None and g.layout == torch.strided}


def _growth(loop: Loop, first: dict[str, Tensor], second: dict[str, Tensor], batches: float) -> Growth:
    """Sums over the weights; `batches` of the loop make up the reference."""
    signal = noise = common = apart = 0.0
    for name in first.keys() & second.keys():
        mean, half = (first[name] + second[name]) / 2, (first[name] - second[name]) / 2
        common += float(mean.square().sum())
        apart += float(half.square().sum())
        if mean.dim() > 1:
            own, grown, moved = (float(spectral_norm(t.detach().flatten(1))) for t in (loop.parameters[name], mean, half))
            signal += math.sqrt(max(grown**2 - moved**2, 0.0)) / max(own, 1e-30)
            noise += math.sqrt(batches) * moved / max(own, 1e-30)
    norm = math.sqrt(max(common - apart, 0.0) + batches * apart)
    return Growth(signal=signal, noise=noise, norm=norm, batches=batches)
