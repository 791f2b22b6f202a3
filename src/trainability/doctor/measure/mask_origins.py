"""What tensors without a gradient are computed from: the batch and constants alone, or also what becomes another one later."""

from __future__ import annotations

import dis
import functools
import re
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.nested import leaves

_MOST_NUMBERS, _MOST_TENSORS = 1 << 20, 16  # of constants that are compared
_COUNTS = frozenset(  # functions in which a whole number is a value, and no dimension, size or index
    {
        *("lt", "le", "gt", "ge", "eq", "ne", "less", "greater", "less_equal", "greater_equal", "not_equal"),
        *(
            "add",
            "radd",
            "iadd",
            "sub",
            "rsub",
            "isub",
            "mul",
            "rmul",
            "imul",
            "div",
            "rdiv",
            "truediv",
            "rtruediv",
            "floordiv",
        ),
        *("mod", "remainder", "pow", "rpow", "clamp", "clip", "where", "full", "full_like", "fill", "masked_fill", "setitem"),
        *("and", "or", "xor", "bitwise_and", "bitwise_or", "minimum", "maximum"),
    }
)
_SHAPES_OF_SECOND = frozenset({"expand_as", "view_as", "reshape_as", "type_as", "to", "type"})
_SHAPES_ALONE = frozenset({"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full"})
_DRAWS = re.compile(r"rand.*|bernoulli|multinomial|normal|.*dropout.*|poisson|exponential|uniform|cauchy|geometric|log_normal")
_FROM_OUTSIDE = frozenset({"tensor", "as_tensor", "asarray", "from_numpy", "new_tensor"})
# Names of numbers that count what has been done so far.
_COUNTER = re.compile(
    r"epoch|step|iter|stage|phase|progress|warm|ramp|count|tick|round|seen|curric|anneal|(^|_)(age|t|it|now)$"
)


@dataclass(frozen=True)
class _Origin:
    """What a tensor is computed from.

    Attributes:
        is_of_batch: from a tensor of the batch, among others.
        is_certain: from nothing but the batch and what looks constant.
        numbers: that took part.
        outside: likewise, tensors that were there before.
    """

    is_of_batch: bool = False
    is_certain: bool = True
    numbers: tuple[float, ...] = ()
    outside: tuple[Tensor, ...] = ()


_UNKNOWN = _Origin(is_certain=False)


class Origins:
    """The origins of all tensors without a gradient that are computed in one run of a forward pass after another."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], _Origin]] = {}  # by id; a teacher's activations are not kept alive
        self._asked: dict[Any, tuple[tuple[float, ...], list[Tensor]]] = {}  # of the first run
        self._times: dict[Any, int] = {}

    def begin(self, batch: Any) -> None:
        """A new run, of another batch."""
        self._known = {id(tensor): (weakref.ref(tensor), _Origin(is_of_batch=True)) for _, tensor in tensors(batch)}
        self._times.clear()

    def follow(self, name: str, args: tuple, kwargs: dict | None, result: Any) -> None:
        """Note what a function's result is computed from."""
        made = [each for each in leaves(result) if isinstance(each, Tensor) and not each.requires_grad]
        if name == "setitem" and args and isinstance(args[0], Tensor):
            made = [args[0]]
        origin = self._origin_of_result(name, args, kwargs or {}) if made else _UNKNOWN
        for each in made:
            self._known[id(each)] = weakref.ref(each), origin

    def is_of_batch(self, mask: Tensor, place: Any) -> bool:
        """Whether a mask is computed from the batch, and with the same constants at this place as in the first run."""
        origin = self._origin(mask)
        time = self._times[place] = self._times.get(place, 0) + 1
        if not (origin.is_of_batch and origin.is_certain):
            return False
        key = place, time
        numbers, outside = self._asked.setdefault(key, (origin.numbers, [each.clone() for each in origin.outside]))
        are_same = len(outside) == len(origin.outside) and all(map(torch.equal, outside, origin.outside))
        return numbers == origin.numbers and are_same

    def _origin_of_result(self, name: str, args: tuple, kwargs: dict) -> _Origin:
        given: list[Any] = list(_parts((args, kwargs)))
        if name in _SHAPES_OF_SECOND:
            given = given[:1]
        elif name in _SHAPES_ALONE:
            given = [each for each in given if not isinstance(each, Tensor)]
        if _DRAWS.fullmatch(name) or name in _FROM_OUTSIDE:
            return _UNKNOWN
        sources = [self._origin(each) for each in given if isinstance(each, Tensor)]
        is_value = (float,) if name not in _COUNTS else (int, float)
        numbers = [each for each in given if isinstance(each, is_value) and not isinstance(each, bool)]
        if not all(each.is_certain for each in sources) or (numbers and not _are_constants(numbers)):
            return _UNKNOWN
        outside = {id(each): each for source in sources for each in source.outside}
        if len(outside) > _MOST_TENSORS:
            return _UNKNOWN
        return _Origin(
            is_of_batch=any(each.is_of_batch for each in sources),
            numbers=tuple(dict.fromkeys([*(n for each in sources for n in each.numbers), *numbers])),
            outside=tuple(outside.values()),
        )

    def _origin(self, tensor: Tensor) -> _Origin:
        known = self._known.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        if tensor.requires_grad or isinstance(tensor, nn.Parameter) or not 1 < tensor.numel() <= _MOST_NUMBERS:
            return _UNKNOWN  # an output, a weight of a teacher that follows, a count of steps
        return _Origin(outside=(tensor,))


def _parts(value: Any) -> Iterator[Any]:
    """Tensors and numbers among arguments, in order."""
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, Tensor | int | float):
        yield value


def _are_constants(numbers: Sequence[float]) -> bool:
    """Whether each number stands in the program where it is used, or has a name there that is none of a counter's.

    Of code that names no counter at all, numbers that are computed count as well, such as 1 - self.margin.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] in ("torch", "trainability"):
        frame = frame.f_back
    if frame is None:
        return False
    literals, names = _literals(frame.f_code), _names(frame.f_code)
    found: list[tuple[str, float]] = []
    local = frame.f_locals
    values = {name: frame.f_globals[name] for name in names if name in frame.f_globals}
    values |= {name: local[name] for name in names if name in local}
    spaces = [values, *(_attributes(value) for value in values.values())]
    for space in spaces:
        found += [(name, v) for name in names if isinstance(v := space.get(name), int | float) and not isinstance(v, bool)]
    names_counter = any(map(_COUNTER.search, names))
    for number in numbers:
        holders = [name for name, value in found if value == number]
        if any(map(_COUNTER.search, holders)) or not (holders or number in literals or not names_counter):
            return False
    return True


def _attributes(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict | type | ModuleType):
        return value if isinstance(value, dict) else {}
    held = getattr(value, "__dict__", None)
    return held if isinstance(held, dict) else {}


@functools.lru_cache(maxsize=512)
def _literals(code: CodeType) -> frozenset[float]:
    """Numbers that stand in a function's code; small whole ones are instructions of their own in newer Pythons."""
    read = [line.argval for line in dis.get_instructions(code) if line.opname in ("LOAD_CONST", "LOAD_SMALL_INT")]
    return frozenset(each for each in leaves(read) if isinstance(each, int | float))


@functools.lru_cache(maxsize=512)
def _names(code: CodeType) -> frozenset[str]:
    """Names of variables, attributes and keys in a function's code."""
    words = [each for each in leaves(list(code.co_consts)) if isinstance(each, str) and each.isidentifier()]
    return frozenset((*code.co_names, *code.co_varnames, *code.co_cellvars, *code.co_freevars, *words))
