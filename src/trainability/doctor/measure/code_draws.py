"""A code that is drawn, as of a variational autoencoder: mean + deviation * noise, found while a forward pass runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset({"randn", "randn_like", "normal"})
_MOVES = frozenset({"to", "type", "type_as", "float", "double", "half", "bfloat16", "cuda", "cpu", "contiguous", "detach"})
_ADDS, _MULTIPLIES = frozenset({"add", "radd", "iadd"}), frozenset({"mul", "rmul", "imul", "multiply"})
# One number by another: a standard deviation is made by these of what the network returns.
_BY_NUMBER = _MULTIPLIES | frozenset(
    {"exp", "sqrt", "softplus", "clamp", "clip", "clamp_min", "div", "truediv", "square", "pow", "expand", "broadcast_tensors"}
)
_ERRORS = {"mse_loss": "square", "binary_cross_entropy": "binary", "binary_cross_entropy_with_logits": "binary"}
_SQUARES = frozenset({"pow", "square"}) | _MULTIPLIES


@dataclass(frozen=True, kw_only=True)
class DrawnError:
    """Errors of outputs: one number for each, or their sum or mean."""

    kind: str
    value: Tensor
    output: Tensor
    target: Tensor
    reduction: str


class CodeDraws(TorchFunctionMode):
    """Finds mean + deviation * noise, hands on a code without a graph if it `cuts`, and keeps errors of what has one."""

    def __init__(self, given: Tensor | None = None, *, cuts: bool = True) -> None:
        super().__init__()
        self._cuts = cuts
        self._given = given  # in place of the code that is drawn
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []
        self.errors: dict[int, DrawnError] = {}
        self._noise: dict[int, Tensor] = {}
        self._products: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the product, and the deviation
        self._differences: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # by id: the difference, the output, the target
        self._made_of: dict[int, tuple[Tensor, Tensor]] = {}  # by id: a result, and what it was made of

    def chain(self, tensor: Tensor) -> list[Tensor]:
        """A tensor, and what it was made of, number by number, as far back as that goes."""
        found = [tensor]
        while id(found[-1]) in self._made_of:
            found.append(self._made_of[id(found[-1])][1])
        return found

    def source(self, tensor: Tensor) -> Tensor:
        """The last of its chain."""
        return self.chain(tensor)[-1]

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
        elif (name in _BY_NUMBER or (name in _ADDS and len(given) == 1)) and sum(x.requires_grad for x in given) == 1:
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
                self.errors[id(result)] = DrawnError(
                    kind=_ERRORS[name], value=result, output=output, target=target, reduction=reduction
                )
        elif name in ("sub", "rsub") and len(args) > 1 and all(isinstance(x, Tensor) for x in args[:2]):
            plain = [x for x in args[:2] if not x.requires_grad]
            if len(plain) == 1 and args[0].shape == args[1].shape:
                output = args[1] if args[0] is plain[0] else args[0]
                self._differences[id(result)] = (result, output, plain[0])
        elif name in _SQUARES and args and (known := self._differences.get(id(args[0]))) is not None:
            if name == "square" or (len(args) > 1 and (args[1] is args[0] or (name == "pow" and args[1] == 2))):
                self.errors[id(result)] = DrawnError(
                    kind="square", value=result, output=known[1], target=known[2], reduction="none"
                )
        elif name == "mean" and len(args) == 1 and result.dim() == 0 and (one := self.errors.get(id(args[0]))):
            if one.reduction != "none":  # a mean of one number
                return
            self.errors[id(result)] = replace(one, value=result, reduction="mean")
