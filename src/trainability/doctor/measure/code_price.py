"""What a code costs beside what it saves: a loss that adds a divergence from the standard normal to an error of outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, map_parts
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples, and numbers of one
_DRAWS = frozenset({"randn", "randn_like", "normal"})
_MOVES = frozenset({"to", "type", "type_as", "float", "double", "half", "bfloat16", "cuda", "cpu", "contiguous", "detach"})
_ADDS, _MULTIPLIES = frozenset({"add", "radd", "iadd"}), frozenset({"mul", "rmul", "imul", "multiply"})
# One number by another: a standard deviation is made by these of what the network returns.
_BY_NUMBER = _MULTIPLIES | frozenset(
    {"exp", "sqrt", "softplus", "clamp", "clip", "clamp_min", "div", "truediv", "square", "pow", "expand", "broadcast_tensors"}
)
_ERRORS = {"mse_loss": "square", "binary_cross_entropy": "binary", "binary_cross_entropy_with_logits": "binary"}
_SQUARES = frozenset({"pow", "square"}) | _MULTIPLIES
_NEAR = 1e-2


@dataclass(frozen=True, kw_only=True)
class _Error:
    """Errors of outputs: one number for each, or their sum or mean."""

    kind: str
    value: Tensor
    output: Tensor
    target: Tensor
    reduction: str


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
    draw = _Draw()
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
    draw = _Draw(cuts=False)
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


def _is_told_more(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], first: _Draw) -> bool:
    """Whether outputs are others where each example has another one's inputs, and the code that it had."""

    def exchanged(part: Any) -> Any:
        return part.roll(1, 0) if isinstance(part, Tensor) else map_parts(part, exchanged)

    again = _Draw(given=first.found[0][2].detach())
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


def _share_of(loss: Tensor, error: _Error, code: Tensor) -> float | None:
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


def _saved_at_first(error: _Error) -> float:
    """Twice the fall of the summed error by nat of information, at the mean: the variance of the targets' first component."""
    values = error.target.detach().double().flatten(1)
    middle = values - values.mean(0)
    if error.kind == "binary":  # curvature of the error in the logits: p(1 - p)
        spread = (values.mean(0).clamp(0, 1) * (1 - values.mean(0).clamp(0, 1))).sqrt()
        middle = torch.where(spread > 0, middle / spread.clamp_min(1e-6), 0.0)
    largest = float(torch.linalg.eigvalsh(middle @ middle.T)[-1]) / len(values)
    return largest * (1.0 if error.kind == "binary" else 2.0)


def _saved_at_most(error: _Error) -> float:
    """What outputs that are right save of an example's summed error, at the most."""
    values = error.target.detach().double().flatten(1)
    return values.shape[1] * 0.6931 if error.kind == "binary" else float(values.var(0, unbiased=False).sum())


class _Draw(TorchFunctionMode):
    """Finds mean + deviation * noise, hands on a code without a graph if it `cuts`, and keeps errors of what has one."""

    def __init__(self, given: Tensor | None = None, *, cuts: bool = True) -> None:
        super().__init__()
        self._cuts = cuts
        self._given = given  # in place of the code that is drawn
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []
        self.errors: dict[int, _Error] = {}
        self._noise: dict[int, Tensor] = {}
        self._products: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the product, and the deviation
        self._differences: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # by id: the difference, the output, the target
        self._made_of: dict[int, tuple[Tensor, Tensor]] = {}  # by id: a result, and what it was made of

    def source(self, tensor: Tensor) -> Tensor:
        """What a tensor was made of, number by number, as far back as that goes."""
        while id(tensor) in self._made_of:
            tensor = self._made_of[id(tensor)][1]
        return tensor

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(result, Tensor):
            return self._see(name, args, kwargs or {}, result)
        if name == "broadcast_tensors" and isinstance(result, tuple | list):
            for given, made in zip(args, result, strict=False):
                self._follow(given, made)
        return result

    def _see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
        given = [x for x in args[:2] if isinstance(x, Tensor)]
        if not result.requires_grad:
            if name in _DRAWS or (name in _MOVES and given and id(given[0]) in self._noise):
                self._noise[id(result)] = result
            return result
        self._keep_errors(name, args, kwargs, result)
        noise = next((x for x in given if id(x) in self._noise), None)
        if name in _MULTIPLIES and len(given) == 2 and noise is not None:
            deviation = given[0] if given[1] is noise else given[1]
            if deviation.requires_grad and deviation.shape == result.shape:
                self._products[id(result)] = (result, deviation)
            return result
        product = next((x for x in given if id(x) in self._products), None)
        if name in _ADDS and len(given) == 2 and product is not None:
            mean = given[0] if given[1] is product else given[1]
            if mean.grad_fn is not None and mean.shape == result.shape and mean.dim() > 1:
                code = (result if self._given is None else self._given).detach().requires_grad_() if self._cuts else result
                self.found.append((mean, self._products[id(product)][1], code))
                return code
        elif name in _BY_NUMBER and sum(x.requires_grad for x in given) == 1:
            self._follow(next(x for x in given if x.requires_grad), result)
        return result

    def _follow(self, given: Any, made: Any) -> None:
        if isinstance(given, Tensor) and given.requires_grad and given is not made and given.shape == made.shape:
            self._made_of[id(made)] = (made, given)

    def _keep_errors(self, name: str, args: tuple, kwargs: dict[str, Any], result: Tensor) -> None:
        if name in _ERRORS and not any(kwargs.get(x) is not None for x in ("weight", "pos_weight")):
            output, target = args[0], args[1] if len(args) > 1 else kwargs.get("target")
            if isinstance(target, Tensor) and not target.requires_grad and output.shape == target.shape:
                reduction = kwargs.get("reduction", "mean")
                self.errors[id(result)] = _Error(
                    kind=_ERRORS[name], value=result, output=output, target=target, reduction=reduction
                )
        elif name in ("sub", "rsub") and len(args) > 1 and all(isinstance(x, Tensor) for x in args[:2]):
            plain = [x for x in args[:2] if not x.requires_grad]
            if len(plain) == 1 and args[0].shape == args[1].shape:
                output = args[1] if args[0] is plain[0] else args[0]
                self._differences[id(result)] = (result, output, plain[0])
        elif name in _SQUARES and args and (known := self._differences.get(id(args[0]))) is not None:
            if name == "square" or (len(args) > 1 and (args[1] is args[0] or (name == "pow" and args[1] == 2))):
                self.errors[id(result)] = _Error(
                    kind="square", value=result, output=known[1], target=known[2], reduction="none"
                )
        elif name == "mean" and len(args) == 1 and result.dim() == 0 and (one := self.errors.get(id(args[0]))):
            if one.reduction != "none":  # a mean of one number
                return
            self.errors[id(result)] = replace(one, value=result, reduction="mean")
