"""What a code costs beside what it saves: a loss that adds a divergence from the standard normal to an error of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, map_parts
from trainability.doctor.measure.code_draws import CodeDraws, DrawnError
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples, and numbers of one
_NEAR = 1e-2


def code_price(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[float, int, float] | None:
    """Compare the weights that a loss gives to the divergence of a drawn code and to the error of an output's number.

    The draw is cut off from what it was drawn by. What is left of the gradient there has to be that of a divergence
    from the standard normal, number by number; and all that the loss says of the code has to go through one error.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: of examples along the first dimension.
        forward: of (model, batch), the loss.

    Returns:
        The weight of a number's divergence over that of an output's error; numbers of an example; and what the first
        unit of information saves over what it costs: below 1 no code is worth its price to a decoder that knows the mean
        (Lucas et al., 2019). None of any other loss, of an error that is no mean, where codes of few clusters may pay, and
        of a decoder that is told of the example by anything besides the code: a condition, features that skip the code.
    """
    size = batch_size(batch)
    if size is None or size < _FEWEST:
        return None
    draw = CodeDraws()
    with torch.enable_grad(), randomness_restored(), draw:
        seed_torch(0)
        loss = forward(model, batch)
    if len(draw.found) != 1 or not draw.errors or not loss.requires_grad:
        return None
    mean, deviation, code = draw.found[0]
    weight = _weight_of_divergence(loss, draw.source(mean), draw.source(deviation), mean, deviation)
    if weight is None or mean.shape[0] != size:
        return None
    for error in draw.errors.values():
        share = _share_of(loss, error, code)
        if share is None or error.target.shape[:1] != (size,) or (numbers := error.target.numel() // size) < _FEWEST:
            continue
        if error.reduction != "mean" and share * error.target.numel() > max(1 + _NEAR, numbers / 2):
            return None  # a sum; a mean may have a factor of its own, such as 1 / (2 * variance)
        saved = _saved_at_first(error) * share / weight
        most = _saved_at_most(error) * share / weight
        pays = most >= 2 * torch.log(torch.tensor(2.0))
        return None if pays or _is_told_more(model, batch, forward, draw) else (weight / share, numbers, saved)
    return None


def divergence_and_error(
    model: Any, batch: Any, forward: Callable[[Any, Any], Tensor], place: int | None = None
) -> tuple[Tensor, Tensor, int] | None:
    """Split a loss of which `code_price` knows the price.

    Args:
        model: runs as it is, and its random numbers go on.
        batch: as for `code_price`.
        forward: as for `code_price`; the graph of its loss stays whole.
        place: of the error among those that are computed; None to find it, which takes two backward passes through the decoder.

    Returns:
        The divergence, with what else is no error; the error, as the loss weighs it; and its place. None of other losses.
    """
    draw = CodeDraws(cuts=False)
    with torch.enable_grad():
        with draw:
            loss = forward(model, batch)
        errors = list(draw.errors.values())
        if place is None and len(draw.found) == 1:
            code = draw.found[0][2]
            place = next((k for k, error in enumerate(errors) if _share_of(loss, error, code) is not None), None)
        if place is None or place >= len(errors):
            return None
        value = errors[place].value
        (factor,) = torch.autograd.grad(loss, value, retain_graph=True, allow_unused=True)
        if factor is None:
            return None
        error = (factor.detach() * value).sum()
        return loss - error, error, place


def _is_told_more(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], first: CodeDraws) -> bool:
    """Whether outputs are others where each example has another one's inputs, and the code that it had."""

    def exchanged(part: Any) -> Any:
        return part.roll(1, 0) if isinstance(part, Tensor) else map_parts(part, exchanged)

    again = CodeDraws(given=first.found[0][2].detach())
    with torch.enable_grad(), randomness_restored(), again:
        seed_torch(0)
        forward(model, exchanged(batch))
    outputs, others = ([error.output.detach() for error in draw.errors.values()] for draw in (first, again))
    if len(outputs) != len(others):
        return True
    return any(
        a.shape != b.shape or not torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(outputs, others, strict=True)
    )


def _weight_of_divergence(loss: Tensor, mean: Tensor, source: Tensor, drawn_mean: Tensor, deviation: Tensor) -> float | None:
    """The factor before the divergence in the loss, where its gradient is that and nothing else; None elsewhere."""
    by_mean, by_source = torch.autograd.grad(loss, [mean, source], retain_graph=True, allow_unused=True)
    if by_mean is None or by_source is None or mean.shape != drawn_mean.shape:
        return None
    (slope,) = torch.autograd.grad(
        deviation, source, (deviation - 1 / deviation).detach(), retain_graph=True, allow_unused=True
    )
    given, norm = drawn_mean.detach().double(), float(drawn_mean.detach().double().square().sum())
    weight = float((by_mean.double() * given).sum()) / norm if norm > 0 else 0.0
    if slope is None or not weight > 0:
        return None
    for found, told in ((by_mean.double(), given * weight), (by_source.double(), slope.double() * weight)):
        if float((found - told).norm()) > _NEAR * float(told.norm()) + 1e-6 * weight:
            return None
    return weight


def _share_of(loss: Tensor, error: DrawnError, code: Tensor) -> float | None:
    """The factor before the error of one number, where the code reaches the loss through that alone and nothing learns it."""
    if not error.value.requires_grad:
        return None
    (by_error,) = torch.autograd.grad(loss, error.value, create_graph=True, allow_unused=True)
    if by_error is None or by_error.requires_grad:  # a variance that is learned
        return None
    factor = float(by_error.flatten()[0])
    if not factor > 0 or float((by_error - factor).abs().max()) > _NEAR * factor:
        return None
    (whole,) = torch.autograd.grad(loss, code, retain_graph=True, allow_unused=True)
    (part,) = torch.autograd.grad(error.value.sum(), code, retain_graph=True, allow_unused=True)
    if whole is None or part is None or float((whole - factor * part).norm()) > _NEAR * float(whole.norm()):
        return None
    return factor / error.target.numel() if error.reduction == "mean" else factor


def _saved_at_first(error: DrawnError) -> float:
    """Twice the fall of the summed error by nat of information, at the mean: the variance of the targets' first component."""
    values = error.target.detach().double().flatten(1)
    middle = values - values.mean(0)
    if error.kind == "binary":  # curvature of the error in the logits: p(1 - p)
        spread = (values.mean(0).clamp(0, 1) * (1 - values.mean(0).clamp(0, 1))).sqrt()
        middle = torch.where(spread > 0, middle / spread.clamp_min(1e-6), 0.0)
    largest = float(torch.linalg.eigvalsh(middle @ middle.T)[-1]) / len(values)
    return largest * (1.0 if error.kind == "binary" else 2.0)


def _saved_at_most(error: DrawnError) -> float:
    """What outputs that are right save of an example's summed error, at the most."""
    values = error.target.detach().double().flatten(1)
    return values.shape[1] * 0.6931 if error.kind == "binary" else float(values.var(0, unbiased=False).sum())
