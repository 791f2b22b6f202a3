"""Whole numbers of a batch, followed through one pass: looked up, as words are, or given to a layer as quantities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.columns import may_be_words

# Functions that look something up: integers that they get are names, not numbers.
_LOOKUPS = frozenset(
    {"embedding", "embedding_bag", "one_hot", "getitem", "index_select", "gather", "take", "scatter", "scatter_", "index_put_"}
    | {"take_along_dim", "bincount", "isin", "eq", "ne"}
)
_CASTS = frozenset({"float", "to", "type", "half", "double", "bfloat16", "type_as"})
_LAYERS = frozenset({"linear", "rnn_tanh", "rnn_relu", "lstm", "gru", "conv1d", "matmul", "rnn_tanh_cell", "rnn_relu_cell"})
_LAYERS |= {"lstm_cell", "gru_cell", "addmm", "mm", "bmm", "multi_head_attention_forward", "einsum"}
# Nobody takes the logarithm of a name, or divides it by an amount, or holds an answer's distance to it for an error.
_OF_AMOUNTS = frozenset({"log", "log1p", "log2", "log10", "sqrt", "asinh", "arcsinh", "div", "truediv", "divide", "rdiv"})
_OF_AMOUNTS |= {"rtruediv", "batch_norm", "layer_norm", "instance_norm", "group_norm", "normalize", "idiv", "itruediv", "pow"}
_OF_TARGETS = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "gaussian_nll_loss"})
_OF_TARGETS |= {"lgamma", "xlogy", "log_prob"}
_OF_CLASSES = frozenset({"cross_entropy", "nll_loss"})
_FEWEST_PLACES = 8  # of a sequence
_FEWEST_OF_COLUMN = 16  # different numbers in a column of a batch
# What leaves a number one that stands for itself; a sine, a remainder or bits of it make something else of a name on purpose.
_KEEP = _CASTS | frozenset({"view", "reshape", "unsqueeze", "squeeze", "flatten", "expand", "transpose", "t", "contiguous"})
_KEEP |= {"clone", "detach", "cpu", "cuda", "cat", "concat", "stack", "hstack", "column_stack", "getitem", "get", "add", "radd"}
_KEEP |= {"sub", "rsub", "mul", "rmul", "div", "truediv", "iadd", "isub", "imul", "itruediv", "repeat"}
_PRODUCTS = frozenset({"mul", "rmul", "multiply", "imul"})


class WordsAsNumbers:
    """Follows tensors that may be words of a batch to where they are used.

    Args:
        batch: tensors of the batch by their place.
        model: that is given them.
    """

    def __init__(self, batch: Iterable[tuple[str, Tensor]], model: nn.Module) -> None:
        followed = [(tensor, may_be_words(tensor, model)) for _, tensor in batch]
        self._given = [t for t, are_words in followed if are_words or _is_sequence(t) or _is_column(t)]
        self._columns = {place for place, t in enumerate(self._given) if _is_column(t)}
        self._words = {place for place, t in enumerate(self._given) if any(t is each and are for each, are in followed)}
        self._of: dict[int, set[int]] = {id(tensor): {place} for place, tensor in enumerate(self._given)}
        self._alive: list[Tensor] = list(self._given)  # an id is only unique while its tensor lives
        self._layers: dict[int, str | None] = {}
        self._amounts: set[int] = set()
        self._looked_up: set[int] = set()
        self._remade: set[int] = set()
        self._is_answered = False
        self.classes: Tensor | None = None  # that the first loss of classes asks for

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], layer: str | None, *, is_answered: bool) -> None:
        """Look at a function that is about to be called.

        Args:
            name: of the function, without underscores around it.
            args: likewise.
            kwargs: likewise.
            layer: with weights, that is running.
            is_answered: the model has returned its output, and what follows is the loss.
        """
        given, self._is_answered = [*args, *kwargs.values()], is_answered
        if is_answered and name in _OF_CLASSES and self.classes is None:
            asked = [part for part in given[1:2] if isinstance(part, Tensor) and not part.is_floating_point()]
            self.classes = asked[0].detach() if asked else None
        found = set[int]().union(*(self._of.get(id(part), ()) for part in _flat(given)))
        if not found:
            return
        is_scaled = name in _PRODUCTS and any(_is_factor(part) and id(part) not in self._of for part in given)
        if name in _OF_AMOUNTS or is_scaled or (is_answered and name in _OF_TARGETS):
            self._amounts |= found
        if is_answered:
            return
        indices = set[int]().union(*(self._of.get(id(part), ()) for part in _flat(given[1:] if name == "getitem" else given)))
        self._looked_up |= indices if name in _LOOKUPS else set()
        if name in _LAYERS:
            for place in found:
                self._layers.setdefault(place, layer)

    def follow(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Note that a function's result holds the same numbers."""
        if not isinstance(result, Tensor) or name in _LOOKUPS - {"getitem"} or (result.requires_grad and name in _LAYERS):
            return
        given = [args[0]] if name == "getitem" and args else [*args, *kwargs.values()]
        found = set[int]().union(*(self._of.get(id(part), ()) for part in _flat(given)))
        if found and result.dtype != torch.bool and not name.startswith("arg"):
            self._remade |= found if name not in _KEEP and not self._is_answered else set()
            self._of[id(result)] = found
            self._alive.append(result)

    def found(self) -> tuple[float, str | None] | None:
        """The span of words that go into a layer as quantities, and the layer; None where there are none."""
        if self._looked_up & self._words:
            return None
        taken = [place for place in self._layers if place in self._words - self._amounts]
        spans = [(float(self._given[place].max() - self._given[place].min()), self._layers[place]) for place in taken]
        return max(spans, key=lambda item: item[0], default=None)

    def plain(self) -> list[tuple[Tensor, str | None]]:
        """As `taken`, of sequences that nothing has made something else of, such as sines."""
        taken = {place: layer for place, layer in self._layers.items() if place not in self._columns}
        return [(self._given[at], layer) for at, layer in taken.items() if at not in self._looked_up | self._remade]

    def taken(self) -> list[tuple[Tensor, str | None]]:
        """Sequences of whatever numbers that go into a layer as quantities, perhaps scaled, with the layer."""
        return [(self._given[at], layer) for at, layer in self._layers.items() if at not in self._looked_up | self._columns]

    def columns(self) -> list[tuple[Tensor, str | None]]:
        """One whole number an example that goes into a layer as it is, perhaps scaled or beside others, with the layer."""
        taken = {place: layer for place, layer in self._layers.items() if place in self._columns}
        return [(self._given[at], layer) for at, layer in taken.items() if at not in self._looked_up | self._remade]


def _is_sequence(tensor: Tensor) -> bool:
    """Whether it holds a row of numbers for each example."""
    is_row = tensor.dim() == 2 or (tensor.dim() == 3 and 1 in tensor.shape[1:])
    return is_row and tensor.dtype != torch.bool and not tensor.is_complex() and tensor[0].numel() >= _FEWEST_PLACES


def _is_column(tensor: Tensor) -> bool:
    """Whether it holds one whole number for each example, of several that differ."""
    if tensor.dtype == torch.bool or tensor.is_complex() or tensor.shape not in ((tensor.numel(),), (tensor.numel(), 1)):
        return False
    values = tensor.detach().unique()
    return len(values) >= _FEWEST_OF_COLUMN and bool((values == values.round()).all())


def _is_factor(part: Any) -> bool:
    """Whether something is a number to scale by, no mask and no weight."""
    if isinstance(part, Tensor):
        return part.is_floating_point() and not part.requires_grad
    return isinstance(part, float)


def _flat(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        yield from item if isinstance(item, tuple | list) else (item,)
