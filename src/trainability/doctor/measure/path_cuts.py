"""Where the path from the weights to the loss ends: at the last function that returned something without a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from trainability.doctor.batches import tensors
from trainability.doctor.measure.nodes import within

_WORDS = {"gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!="}
_ESCAPES = frozenset({"tolist", "numpy", "array", "item", "float", "int"})  # into Python, without their underscores
_MOST_NODES = 2_000
_STORED = (Tensor.grad, Tensor.grad_fn)  # properties that are stored with a tensor, and not made of it
_READ = frozenset({"set", "size", "dim", "numel", "is_floating_point"})  # of a tensor, no numbers


class PathCuts:
    """Follows what has no gradient though it was made of something that has one.

    `see` must be called with each function of PyTorch, as a function mode sees it.
    """

    def __init__(self) -> None:
        self._cuts: WeakIdKeyDictionary = WeakIdKeyDictionary()  # function by tensor
        self._escaped: set[str] = set()

    def see(self, name: str, func: Callable, args: Any, kwargs: dict, result: Any, place: Callable[[str], str]) -> None:
        """Look at a call.

        Args:
            name: of the function, without underscores.
            func: the function.
            args: that it was given.
            kwargs: likewise.
            result: that it returned.
            place: gives words for where a function of a name is called.
        """
        is_data = name == "get" and getattr(func, "__self__", None) is Tensor.data
        if name in _READ or (name == "get" and getattr(func, "__self__", None) in _STORED):
            return
        given = [tensor for _, tensor in tensors((args, kwargs))]
        known = [self._cuts[t] for t in given if t in self._cuts]
        is_live = any(t.requires_grad and t not in self._cuts for t in given)
        if not (known or is_live):
            return
        if name in _ESCAPES and not isinstance(result, Tensor):
            self._escaped.add(known[0] if known else place(name))
        word = "torch.no_grad()"
        if torch.is_grad_enabled():
            shown = ".data" if is_data else _WORDS.get(name, f"{name}()")
            word = place(name).replace(f"{name}()", shown)
        for _, made in tensors(result):
            if is_live and made.grad_fn is not None:
                self._cuts.pop(made, None)
            elif not (is_live and isinstance(made, nn.Parameter)):
                self._cuts[made] = known[0] if known else word

    def of(self, loss: Tensor) -> str | None:
        """The function at which the path to the loss ends, in words.

        None where a path leads to it, where none was seen to end, and where several functions went on in Python.
        """
        nodes = within([loss.grad_fn], None, _MOST_NODES) if loss.grad_fn is not None else ()
        leaves = [loss, *(leaf for node in nodes if (leaf := getattr(node, "variable", None)) is not None)]
        if any(isinstance(leaf, nn.Parameter) for leaf in leaves):
            return None
        escaped = next(iter(self._escaped)) if len(self._escaped) == 1 else None
        return next((self._cuts[leaf] for leaf in leaves if leaf in self._cuts), escaped)
