"""Derivatives of a mean over examples by the examples' own inputs, which are too small by the number of examples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.constant_slopes import is_derivative, words_of
from trainability.doctor.measure.nodes import call_of, within
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FACTORS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # of a sum's derivatives: more than the powers that are fitted
_MOST_POWERS = 6
_EXACT = 1e-3  # of the loss's change
_LOSSES: tuple[str, ...] = (
    "Pow",
    "MseLoss",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "Abs",
    "BinaryCrossEntropy",
    "NllLoss",
    "LogSoftmax",
    "Log",
)
_MOVES = ("Mul", "Neg", "Add", "Sub", "View", "Squeeze", "Unsqueeze", "Reshape", "Select", "Slice", "Sum", "Mean", "UnsafeView")
_MOST_NODES = 200
_MULTIPLIED, _LAYERS = ("mul", "rmul", "multiply"), ("linear", "matmul", "addmm", "mm", "bilinear")


class MeanSlopes(TorchFunctionMode):
    """Watches `torch.autograd.grad` of means inside the `with` block.

    Args:
        factor: times which the block is given the derivatives of such means.

    Attributes:
        num_examples: of the first mean of one number of each example, where each goes by its own input; None without one.
        made_up_for: whether something that is made of them is multiplied by that number of examples.
        goes_on: whether something that is made of them goes into a layer.
    """

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.num_examples: int | None = None
        self.made_up_for = self.goes_on = False
        self._factor = factor
        self._means: dict[int, tuple[Tensor, Tensor]] = {}
        self._found: dict[int, Tensor] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Look at a call."""
        result, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "").strip("_")
        if is_derivative(func):
            with contextlib.suppress(Exception):  # one fact less
                return self._derived(words_of(args, kwargs or {}), result)
        elif name == "mean" and isinstance(result, Tensor) and result.numel() == 1 and result.requires_grad:
            self._means[id(result)] = result, args[0]
        elif self._found:
            self._follow(name, args, result)
        return result

    def _follow(self, name: str, args: tuple, result: Any) -> None:
        given = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else (arg,))]
        if not any(isinstance(item, Tensor) and id(item) in self._found for item in given):
            return
        if name in _MULTIPLIED:
            self.made_up_for |= any(isinstance(item, int | float) and item == self.num_examples for item in given)
        if any(isinstance(item, nn.Parameter) for item in given):
            self.goes_on |= name in _LAYERS or name.startswith("conv")
        if isinstance(result, Tensor) and result.requires_grad:
            self._found[id(result)] = result

    def _derived(self, words: dict[str, Any], found: tuple[Any, ...]) -> Any:
        outputs = words["outputs"] if isinstance(words["outputs"], Tensor) else words["outputs"][0]
        inputs = [words["inputs"]] if isinstance(words["inputs"], Tensor) else list(words["inputs"])
        if not words.get("create_graph") or words.get("grad_outputs") is not None or id(outputs) not in self._means:
            return found
        _, values = self._means[id(outputs)]
        if _is_loss(values) or not all(_are_apart(values, x) for x in inputs):
            return found
        self.num_examples = self.num_examples or values.numel()
        made = tuple(g if g is None else g * self._factor for g in found) if self._factor != 1.0 else found
        self._found |= {id(g): g for g in made if g is not None}
        return made


def _is_loss(values: Tensor) -> bool:
    """Whether numbers are made by a square or by a loss, behind what moves or scales them: such a mean is one of costs."""
    nodes = within((values.grad_fn,), _MOVES, _MOST_NODES) if values.grad_fn is not None else ()
    return any(call_of(node).startswith(_LOSSES) for node in nodes)


def _are_apart(values: Tensor, by: Tensor) -> bool:
    """Whether each example has one number, and goes by its own row of an input alone."""
    if isinstance(by, nn.Parameter) or by.dim() < 1 or not values.numel() == len(values) == len(by) > 1:
        return False
    for row in (0, len(by) - 1):
        (slope,) = torch.autograd.grad(values.flatten()[row], by, retain_graph=True, allow_unused=True)
        if slope is None or not bool(slope[row].any()) or int(slope.reshape(len(by), -1).any(1).sum()) != 1:
            return False
    return True


def mean_slopes(batch: Any, model: nn.Module, forward: Callable[[Any, Any], Tensor]) -> int | None:
    """Look for derivatives of a mean that the loss sets against something of another size.

    A loss that is a power of them, as a penalty on their square is, has another weight in their place; one of several powers
    compares them, with outputs, numbers, or derivatives of another order. What goes through a net again has no powers.

    Args:
        batch: what `forward` is asked about.
        model: as in the loop.
        forward: of (model, batch), the loss.

    Returns:
        The number of examples; None where there are no such derivatives.
    """
    slopes, _ = _asked(model, batch, forward, 1.0)
    number = slopes.num_examples
    if number is None or slopes.made_up_for or slopes.goes_on:
        return None
    losses = [_asked(model, batch, forward, number * factor)[1] for factor in _FACTORS]
    return number if _has_powers(losses) else None


def _asked(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], factor: float) -> tuple[MeanSlopes, float]:
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        with MeanSlopes(factor) as slopes:
            return slopes, float(forward(model, batch).detach().sum())


def _has_powers(losses: list[float]) -> bool:
    """Whether a loss is a sum of whole powers of a factor, of two powers at least beside the constant."""
    x, y = torch.tensor(_FACTORS, dtype=torch.float64), torch.tensor(losses, dtype=torch.float64)
    span = float(y.max() - y.min())
    if not span > 1e-5 * float(y.abs().max()):
        return False

    def miss(powers: tuple[int, ...]) -> float:
        columns = torch.stack([x**k for k in powers], 1)
        return float((columns @ torch.linalg.lstsq(columns, y[:, None]).solution - y[:, None]).abs().max()) / span

    return miss(tuple(range(_MOST_POWERS + 1))) < _EXACT and min(miss((0, k)) for k in (1, 2, 4, 6)) > _EXACT
