"""Logits that are divided by a temperature before a softmax of the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_ENTROPIES = ("cross_entropy", "cross_entropy_loss", "log_softmax")
_DIFFERENCES = ("sub", "rsub", "subtract")
_NEAR = 1e-3
_LARGER = 1.5  # a temperature that softens; below 1, targets are sharpened on purpose
_LINEAR = ("linear", "addmm")
_AS_THEY_ARE = ("detach", "clone", "float", "to", "contiguous")
_QUOTIENTS, _PRODUCTS = ("div", "truediv"), ("mul", "rmul")


class Divided:
    """Record by which numbers a tensor is divided on its way to cross-entropy, or to a divergence from soft targets.

    Attributes:
        softened: the divisor, and the mean over examples of the largest minus the smallest logit after it.
        distilled: the same two numbers under a divergence, and its mean over the examples; `softened` is then None.
        temperatures: divisors of the outputs' and of the target's logits under `kl_div`, of which one is 1, of what a linear
            layer has made, and the other is a number of the program that is larger; None if there are none.
    """

    def __init__(self) -> None:
        self.softened: tuple[float, float] | None = None
        self.distilled: tuple[float, float, float] | None = None
        self.temperatures: tuple[float, float] | None = None
        self._scaled: dict[int, float] = {}  # divisors of all that linear layers make
        self._shares: dict[int, float] = {}  # and of their softmax and log_softmax
        self._divisors: dict[int, float] = {}
        self._logarithms: dict[int, tuple[float, float]] = {}
        self._alive: list[Tensor] = []  # an id is only unique while its tensor lives

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Look at a function that was called.

        Args:
            name: of the function, without underscores around it.
            args: that it was given.
            kwargs: that it was given by name.
            result: what it returned.
        """
        self._follow(name, args, result)
        if name == "kl_div":
            self.softened = None
            given = dict(zip(("input", "target"), args, strict=False)) | kwargs
            self._diverges(given.get("input"), given.get("target"), in_logarithms=bool(kwargs.get("log_target")))
            self._compare(given.get("input"), given.get("target"))
        elif name in _DIFFERENCES and len(args) > 1:  # a divergence that is written by hand
            for logarithms, target in (args[:2], args[1::-1]):
                self._diverges(logarithms, target, in_logarithms=True)
        elif name in _ENTROPIES and args and id(args[0]) in self._divisors:
            self._softens(name, args[0].detach().float(), self._divisors[id(args[0])], result)
        if name not in (*_QUOTIENTS, *_PRODUCTS) or len(args) < 2 or not isinstance(result, Tensor):
            return
        given, number = args[:2] if isinstance(args[0], Tensor) else args[1::-1]
        if isinstance(number, int | float) and number and result.requires_grad and result.dim() > 1:
            divisor = float(number) if name in _QUOTIENTS else 1.0 / number
            self._divisors[id(result)] = divisor * self._divisors.get(id(given), 1.0)
            self._alive.append(result)

    def _follow(self, name: str, args: tuple, result: Any) -> None:
        """Keep by which number of the program the results of linear layers are divided, and nothing else happens to them."""
        if not isinstance(result, Tensor) or result.dim() < 2 or not args:
            return
        if name in _LINEAR:
            self._scaled[id(result)] = 1.0
        elif name in _AS_THEY_ARE and (known := self._scaled if id(args[0]) in self._scaled else self._shares):
            if id(args[0]) not in known:
                return
            known[id(result)] = known[id(args[0])]
        elif name in ("softmax", "log_softmax") and id(args[0]) in self._scaled:
            self._shares[id(result)] = self._scaled[id(args[0])]
        elif name in (*_QUOTIENTS, *_PRODUCTS) and len(args) > 1:
            given, number = args[:2] if isinstance(args[0], Tensor) else args[1::-1]
            if id(given) not in self._scaled or not isinstance(number, int | float) or not number:
                return
            self._scaled[id(result)] = self._scaled[id(given)] * (float(number) if name in _QUOTIENTS else 1.0 / number)
        else:
            return
        self._alive.append(result)

    def _compare(self, logarithms: Any, target: Any) -> None:
        own, other = self._shares.get(id(logarithms)), self._shares.get(id(target))
        if own is None or other is None or not logarithms.requires_grad or target.requires_grad:
            return
        if min(own, other) == 1.0 and max(own, other) >= _LARGER and logarithms.shape == target.shape:
            self.temperatures = own, other

    def _softens(self, name: str, logits: Tensor, divisor: float, result: Any) -> None:
        if logits.dim() < 2 or logits.shape[1] < 2:
            return
        found = divisor, float((logits.amax(dim=1) - logits.amin(dim=1)).mean())
        self.softened = self.softened or found
        if name == "log_softmax" and isinstance(result, Tensor) and result.dim() == 2:
            self._logarithms[id(result)] = found
            self._alive.append(result)

    def _diverges(self, logarithms: Any, target: Any, *, in_logarithms: bool) -> None:
        found = self._logarithms.get(id(logarithms))
        if found is None or not isinstance(logarithms, Tensor) or not isinstance(target, Tensor):
            return
        if target.requires_grad or target.shape != logarithms.shape:
            return
        with torch.no_grad():
            sums = (target.exp() if in_logarithms else target).sum(dim=1)
            if float((sums - 1).abs().max()) < _NEAR:
                how = {"reduction": "batchmean", "log_target": in_logarithms}
                self.softened, self.distilled = None, (*found, float(nn.functional.kl_div(logarithms, target, **how)))
