"""Terms of a policy's loss: a critic that has a gradient through them, and which of two clipped objectives they take."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of

_FEWEST = 8  # weights
_MOST_NODES = 64
# What an advantage is made by from values, rewards and other values; what a layer makes is not followed.
_MIXTURES = frozenset(
    {"Sub", "Rsub", "Add", "Mul", "Div", "Neg", "Mean", "Std", "Var", "Sum", "Expand", "Sqrt", "Clamp", "Stack", "Cat"}
)
_OF_CHANCES = frozenset({"Exp", "Softmax", "LogSoftmax", "Log", "Sigmoid", "LogSigmoid", "Softplus"})
_DISTANCES = frozenset({"mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss", "pow", "square"})
_PRODUCTS = frozenset({"mul", "rmul", "multiply"})
_LIMITS, _LARGER, _SMALLER = frozenset({"clamp", "clip"}), frozenset({"max", "maximum"}), frozenset({"min", "minimum"})
_FOLLOWED = _PRODUCTS | {"neg", "negative", "sum", "mean", "squeeze", "unsqueeze", "view", "reshape"}


class PolicyTerms:
    """Looks at what log-probabilities, and their ratios, are multiplied by."""

    def __init__(self) -> None:
        self._weights: list[Any] = []  # nodes of weights that have a gradient
        self._distances: list[Any] = []
        self._objectives: dict[int, Tensor] = {}  # ratios times weights, and what is made of them
        self._clamped: dict[int, Tensor] = {}  # ratios within their limits, and what is made of them
        self._chosen: list[tuple[bool, list[Tensor]]] = []  # whether the larger one is taken, and its gradients

    def see(self, name: str, args: tuple, result: Any, known: dict[int, Any]) -> None:
        """Look at a function that was called.

        Args:
            name: of the function, without underscores around it.
            args: that it was given.
            result: what it returned.
            known: log-probabilities and what was made of them, by id.
        """
        if not isinstance(result, Tensor) or not result.requires_grad:
            return
        given = [a for a in args[:2] if isinstance(a, Tensor)]
        if name in _DISTANCES:
            self._distances += [a.grad_fn for a in given if a.grad_fn is not None]
        of_chances = [a for a in given if id(a) in known]
        if name in _PRODUCTS and len(given) == 2 and len(of_chances) == 1:
            weight = given[0] if of_chances[0] is given[1] else given[1]
            if weight.grad_fn is not None and weight.numel() >= _FEWEST:
                self._weights.append(weight.grad_fn)
            self._objectives[id(result)] = result
        if name in _FOLLOWED and any(id(a) in self._objectives for a in given):
            self._objectives[id(result)] = result
        if (name in _LIMITS and of_chances) or (name in _FOLLOWED and any(id(a) in self._clamped for a in given)):
            self._clamped[id(result)] = result
        are_two = len(given) == 2 and all(id(a) in self._objectives for a in given) and result.numel() >= _FEWEST
        if name in _LARGER | _SMALLER and are_two and sum(id(a) in self._clamped for a in given) == 1:
            gradients: list[Tensor] = []
            result.register_hook(functools.partial(_keep, gradients))
            self._chosen.append((name in _LARGER, gradients))

    def moves_critic(self) -> bool:
        """Whether weights of log-probabilities are made of what a distance of the program is made of, with a gradient."""
        learned = {id(node) for each in self._distances for node in _made_by(each)}
        return any(id(node) in learned for each in self._weights for node in _made_by(each))

    def takes_better(self) -> bool:
        """Whether the loss takes, of a clipped and an unclipped objective, the one that is better for it.

        To be asked after the backward pass.
        """
        found = [(larger, gradients[0]) for larger, gradients in self._chosen if gradients and bool(gradients[0].any())]
        return bool(found) and all(bool((g <= 0).all()) if larger else bool((g >= 0).all()) for larger, g in found)


def _keep(gradients: list[Tensor], gradient: Tensor) -> None:
    gradients.append(gradient.detach())


def _made_by(node: Any) -> list[Any]:
    """The layers' nodes that a number is mixed from; none where probabilities are in it."""
    waiting, found, seen = [node], list[Any](), set[int]()
    while waiting and len(seen) < _MOST_NODES:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        call = call_of(node)
        if call in _OF_CHANCES:
            return []
        if call in _MIXTURES or call in SAME_VALUES:
            waiting += parents_of(node)
        elif call != "AccumulateGrad":
            found.append(node)
    return found
