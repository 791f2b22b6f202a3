"""Whether a forward pass does nothing but sums and products, and where what its other inputs say takes part in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from trainability.doctor.batches import tensors

_INPUT, _OTHER, _TRAINED, _SCALED = 1, 2, 4, 8  # what a tensor is made of; `_SCALED`: its features one by one, by other inputs
_MATRICES = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm", "sparse_mm", "linear"})
_BY_ELEMENT = frozenset({"mul", "rmul", "multiply", "imul", "div", "truediv", "rtruediv", "divide", "rdiv", "idiv", "itruediv"})
_BY_ELEMENT |= {"masked_fill", "where"}
_SUMS = frozenset({"add", "radd", "iadd", "sub", "rsub", "isub", "subtract", "neg", "sum", "mean", "cumsum"})
_SUMS |= {"index_add", "scatter_add", "scatter_reduce", "bincount"}
_VIEWS = frozenset({"get", "view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze", "t"})
_VIEWS |= {"transpose", "permute", "swapaxes", "swapdims", "movedim", "expand", "expand_as", "broadcast_to", "repeat", "tile"}
_VIEWS |= {"repeat_interleave", "getitem", "select", "narrow", "index_select", "gather", "embedding", "split", "chunk"}
_VIEWS |= {"cat", "concat", "stack", "hstack", "vstack", "roll", "flip", "pad", "diagonal", "contiguous", "clone", "detach"}
_VIEWS |= {"to", "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda", "zeros_like", "ones_like"}
_VIEWS |= {"unbind", "new_zeros", "new_ones", "dropout"}  # of a model in evaluation
_PLAIN = _MATRICES | _BY_ELEMENT | _SUMS | _VIEWS | {"einsum"}
# What is done to an adjacency or a mask before it is multiplied by: degrees and their roots, self-loops, the number of graphs.
_OF_OTHERS = frozenset({"pow", "rpow", "sqrt", "rsqrt", "reciprocal", "clamp", "clamp_min", "eq", "ne", "gt", "ge", "lt", "le"})
_OF_OTHERS |= {"logical_not", "invert", "bool", "int", "long", "index", "item", "isinf", "isnan", "nan_to_num", "max", "amax"}
_OF_OTHERS |= {"any", "all", "unique", "diag", "diag_embed", "to_dense", "to_sparse", "coalesce"}
_SIZES = frozenset({"get", "size", "dim", "ndimension", "numel", "nelement", "len", "stride", "is_floating_point"})


class Arithmetic:
    """Follows one pass, and keeps whether another input may be a gate, an attention or a table of weights on purpose.

    It is none where all functions are sums, products and views, where no trained weight has met the other input before what is
    made of the followed one, and where the other input weighs places, as an adjacency or a mask does, and not features: then
    what it does changes places with the weights, and two of these behind each other are one.

    Args:
        x: the input that is followed.
        others: the model's other inputs.
        trained: parameters of the model.
    """

    def __init__(self, x: Tensor, others: Iterable[Tensor], trained: Iterable[Tensor]) -> None:
        self.is_plain = True
        marked = [*((t, _OTHER) for t in others), *((p, _TRAINED) for p in trained), (x, _INPUT)]
        self._of = {id(t): mark for t, mark in marked}
        self._alive = [t for t, _ in marked]  # so that an id is one tensor's

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Look at a function that was called, by its name without underscores around it."""
        given = [t for _, t in tensors((args, kwargs))]
        marks = [self._of.get(id(t), 0) for t in given]
        union = 0
        for mark in marks:
            union |= mark
        made = [t for _, t in tensors(result)]
        if not union or (not made and name in _SIZES):
            return
        is_of_others = union == _OTHER and name in _OF_OTHERS
        self.is_plain &= is_of_others or (bool(made) and name in _PLAIN)
        if union & _INPUT:
            union |= self._of_product(name, args, given, marks)
        for t in made:
            self._of[id(t)] = union
        self._alive += made

    def _of_product(self, name: str, args: tuple, given: list[Tensor], marks: list[int]) -> int:
        """Compare a product's factors: `_SCALED`, if another input takes part in it by features, else 0."""
        if name not in _MATRICES and name not in _BY_ELEMENT and name != "einsum":
            return 0
        first = next(place for place, mark in enumerate(marks) if mark & _INPUT)
        factors = [place for place, mark in enumerate(marks) if mark & _OTHER and not mark & _INPUT]
        if any(marks[place] & _TRAINED for place in factors):
            self.is_plain = False
        weights = any(mark & _TRAINED and not mark & (_INPUT | _OTHER) for mark in marks)
        if weights and any(mark & _SCALED for mark in marks):
            self.is_plain = False
        return _SCALED if any(not _is_by_place(name, args, given, place, first) for place in factors) else 0


def _is_by_place(name: str, args: tuple, given: list[Tensor], factor: int, x: int) -> bool:
    """Whether a factor is the same for all features of what is made of the input, which are its last dimension."""
    if name in _BY_ELEMENT:
        return given[factor].dim() == 0 or (given[factor].shape[-1] == 1 and given[factor].dim() >= given[x].dim())
    if name != "einsum":
        return factor < x
    terms = args[0].replace(" ", "").split("->")[0].split(",") if isinstance(args[0], str) else []
    return len(terms) == len(given) and terms[x][-1:] not in terms[factor]
