"""What a number of each outcome was computed from: rewards, of which more is better, or costs, of which less is."""

from __future__ import annotations

import itertools
import re
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.warned import caller

# Of what more is better, and of what less is, by the program's own names.
_GOOD = frozenset({"reward", "rew", "payoff", "profit", "score", "utility", "fitness", "accuracy", "revenue", "win"})
_BAD = frozenset({"cost", "length", "len", "distance", "loss", "error", "delay", "penalty", "regret", "energy", "makespan"})
_BAD |= {"latency", "tardiness", "deviation", "mse", "nll", "perplexity", "risk", "violation", "expense", "waste"}
# Words that say it of a program where they stand anywhere in it; those of lengths and losses are in every other one.
_GOOD_PROGRAM = frozenset({"reward", "rewards", "rew", "payoff", "payoffs", "profit", "profits", "returns"})
_BAD_PROGRAM = frozenset({"cost", "costs", "distance", "distances", "makespan", "delay", "delays", "regret", "latency", "tour"})
_RETURNS = frozenset({"return", "ret", "returns", "R", "G"})
# What outcomes are compared with, and what tells nothing: descended into neither.
_COMPARED = frozenset({"baseline", "base", "bl", "greedy", "value", "critic", "mean", "avg", "average", "std", "expected", "v"})
_UNSURE = frozenset({"neg", "negative", "minus", "td", "delta", "advantage", "adv"})
_LOST = frozenset({"linear", "matmul", "mm", "bmm", "addmm", "embedding", "zeros_like", "ones_like", "full_like", "empty_like"})
_LOST |= {"rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty", "conv1d", "conv2d", "conv3d", "argmax"}
_READ = frozenset({"tensor", "as_tensor", "from_numpy", "asarray"})
_MOST_NODES, _MOST_FRAMES, _MOST_ITEMS, _MOST_KEYS = 20_000, 40, 4096, 64
_TORCH = torch.__path__[0]
_OWN = __name__.partition(".")[0]


class _Node:
    """A tensor, the names that the program's variables gave it, and what it was computed from, each with a sign."""

    __slots__ = ("is_float", "names", "parents")

    def __init__(self, is_float: bool = True) -> None:
        self.names: set[str] = set()
        self.parents: list[tuple[_Node, float]] = []
        self.is_float = is_float


class Outcomes:
    """Notes what tensors are computed from, with the names that they have where that is done."""

    def __init__(self) -> None:
        self._nodes: dict[int, tuple[weakref.ref[Tensor], _Node]] = {}  # by id, which is free again when its tensor dies
        self._count = 0

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Note the result of a function; called from `__torch_function__` directly.

        Args:
            name: of the function, without underscores around it.
            args: likewise.
            kwargs: likewise.
            result: likewise.
        """
        frame = caller(sys._getframe(1))
        if self._count > _MOST_NODES or frame.f_code.co_filename.startswith(_TORCH):
            frame = None
        given = args[:1] + args[-1:] if name == "setitem" else (*args, *kwargs.values())
        parents = [(place, node, item) for place, item in enumerate(given) if (node := self._of(item, name)) is not None]
        if frame is not None and parents:
            wanted = {id(item): node for _, node, item in parents}
            for key, value in _variables(frame.f_locals):
                if (node := wanted.get(id(value))) is not None:
                    node.names.add(key)
        target = args[0] if name == "setitem" and args else result
        for made in target if isinstance(target, tuple | list) else (target,):
            if isinstance(made, Tensor) and made.is_floating_point() and name not in _LOST and self._count <= _MOST_NODES:
                node = self._new(made)
                node.parents = [(parent, _sign(name, place, args)) for place, parent, _ in parents if parent is not node]

    def _new(self, tensor: Tensor) -> _Node:
        node = _Node()
        self._nodes[id(tensor)] = weakref.ref(tensor), node
        self._count += 1
        return node

    def _of(self, item: Any, function: str) -> _Node | None:
        if isinstance(item, Tensor):
            reference, node = self._nodes.get(id(item), (None, None))
            if node is None or reference is None or reference() is not item:
                node = self._new(item)
                node.is_float = item.is_floating_point()
            return node
        if isinstance(item, list | tuple) and 0 < len(item) <= _MOST_ITEMS:
            parts = [part for part in (self._of(each, function) for each in item) if part is not None]
            if parts or function in _READ:
                node = _Node()
                node.parents = [(part, 1.0) for part in parts]
                return node
        return _Node() if function in _READ and hasattr(item, "__array__") else None

    def is_good(self, name: str, value: Tensor) -> bool:
        """Whether more of a variable is better, as far as its name and what it was computed from tell.

        A reward's own name tells it; that of a return or an advantage does not, as those of costs have it, too.
        """
        found: set[float] = set()
        _, first = self._nodes.get(id(value), (None, None))
        first = first or _Node()
        seen, queue = {id(first)}, deque([(first, 1.0)])
        while queue:
            node, sign = queue.popleft()
            names = [_parts(each) for each in ({name} if node is first else node.names)]
            if node is not first and any(parts & _COMPARED for parts in names):
                continue
            told = {sense for parts in names if (sense := _sense(parts, node.is_float))}
            if len(told) == 1:
                found.add(sign * told.pop())
                continue
            for parent, turn in node.parents:
                if id(parent) not in seen:
                    seen.add(id(parent))
                    queue.append((parent, sign * turn))
        return found == {1.0} if found else _is_of_rewards(name)


def _sense(parts: set[str], is_float: bool) -> float:
    """1.0 of what more is better, -1.0 of what less is; 0.0 where words do not tell."""
    if parts & _UNSURE or not is_float or bool(parts & _GOOD) == bool(parts & _BAD):
        return 0.0
    return 1.0 if parts & _GOOD else -1.0


def _sign(name: str, place: int, args: tuple) -> float:
    """With which sign a function's result goes with what it is given at a place."""
    turned = name in ("neg", "negative") or (name in ("sub", "subtract", "isub", "div", "truediv", "divide") and place == 1)
    turned |= (name == "rsub" and place == 0) or name in ("reciprocal", "rdiv", "rtruediv")
    other = args[1 - place] if name in ("mul", "rmul", "multiply", "imul", "div", "truediv") and place < 2 <= len(args) else 1
    turned ^= isinstance(other, float | int) and other < 0
    return -1.0 if turned else 1.0


def _is_of_rewards(name: str) -> bool:
    """Whether the functions that run speak of rewards, or of nothing else where a variable is called a return."""
    words = set[str]()
    frame, is_outside = sys._getframe(1), False
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        is_own = frame.f_globals.get("__name__", "").partition(".")[0] == _OWN
        if is_own and is_outside:
            break
        if not is_own and not frame.f_code.co_filename.startswith(_TORCH):
            is_outside = True
            for each in (*frame.f_code.co_names, *frame.f_code.co_varnames, *(key for key, _ in _variables(frame.f_locals))):
                words |= set(_split(each))
        frame = frame.f_back
    if words & _BAD_PROGRAM:
        return False
    return bool(words & _GOOD_PROGRAM) or bool({name, *_parts(name)} & _RETURNS)


def _variables(variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in list(variables.items()):
        yield name, value
        if isinstance(value, dict):
            yield from ((key, item) for key, item in itertools.islice(value.items(), _MOST_KEYS) if isinstance(key, str))


def _split(name: str) -> list[str]:
    return [part.lower() for part in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)]


def _parts(name: str) -> set[str]:
    return {"loss" if part in ("loss", "losses") else part.rstrip("s") for part in _split(name)}
