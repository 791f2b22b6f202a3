"""What stands in a tensor that goes into a layer: words or numbers, one column that drowns the others, what a sine made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import LOUD_COLUMN
from trainability.doctor.graph_facts import LoneWord
from trainability.doctor.measure.padding_number import are_words, padding_of

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NEAR_ONE, _DROWNED = 10.0, 100.0  # rms of half of the columns; how often that of one may hold it
_FEWEST_PLACES, _HALF, _NEARLY_NONE = 64, 0.5, 0.1  # places with a word; share of them; of the table's rows
WORDS_SPAN = 256  # grey levels are integers, too
_MOST_NODES = 2000  # of a graph that is walked through
_PRODUCTS = ("AddmmBackward", "MmBackward", "BmmBackward", "ConvolutionBackward")
_LINEAR = (
    "MulBackward",
    "DivBackward",
    "AddBackward",
    "SubBackward",
    "NegBackward",
    "CatBackward",
    "StackBackward",
    "TBackward",
)
_MOST_SINES = 2  # that are counted
_LINEAR += (
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "TransposeBackward",
    "PermuteBackward",
    "CloneBackward",
)
_LINEAR += ("UnsqueezeBackward", "SqueezeBackward", "SelectBackward", "SliceBackward", "SplitBackward", "ExpandBackward")


def sines_behind(node: Any) -> int:
    """How many sines stand behind a node of the graph, each with weights in front: a product, and linear functions.

    A sine of a pose or a time that another function, or no weights, stand behind is none: frequencies may multiply it at will.
    """
    count = 0
    while count < _MOST_SINES and (sine := _sine_behind(node)) is not None:
        node, count = sine.next_functions[0][0], count + 1
    return count


def _sine_behind(node: Any) -> Any:
    stack, seen = [(node, False)], {(node, False)}
    while stack and len(seen) < _MOST_NODES:
        node, has_weights = stack.pop()
        name = type(node).__name__
        if name.startswith("SinBackward") and has_weights:
            return node
        if not name.startswith((*_PRODUCTS, *_LINEAR)):
            continue
        weighted = has_weights or (name.startswith(_PRODUCTS) and _is_by_parameter(node))
        above = {(each, weighted) for each, _ in node.next_functions if each is not None} - seen
        seen |= above
        stack += above
    return None


def _is_by_parameter(product: Any) -> bool:
    """Whether a leaf of two dimensions and more is a factor of a product."""
    for each, _ in product.next_functions:
        while each is not None and type(each).__name__.startswith(("TBackward", "TransposeBackward")):
            each = each.next_functions[0][0]
        variable = getattr(each, "variable", None)
        if variable is not None and variable.dim() > 1:
            return True
    return False


def is_one_word(words: Tensor) -> bool:
    """Whether sequences hold one word alone, and perhaps another behind or before it, as padding."""
    found = words.detach().unique() if words.dim() > 1 and words.shape[1] > 1 and not words.is_floating_point() else None
    if found is None or len(found) > 2:
        return False
    changes = (words == found[0]).flatten(0, -2).int().diff(dim=-1)
    return not bool((changes > 0).any() and (changes < 0).any()) and bool((changes.abs().sum(dim=-1) <= 1).all())


def lone_word(name: str, words: Tensor, rows: int) -> LoneWord | None:
    """One word at half of the places and more, beside so few others that nearly none of the table is used.

    Args:
        name: of the table.
        words: (sequences, places) of whole numbers, perhaps padded at one end; at least `_FEWEST_PLACES` of them.
        rows: of the table.
    """
    if not are_words(words):
        return None
    padding = padding_of(words)
    found, counts = (words if padding is None else words[words != padding]).unique(return_counts=True)
    places = int(counts.sum())
    most = int(counts.argmax()) if len(counts) else 0
    if places < _FEWEST_PLACES or counts[most] < _HALF * places or len(found) > _NEARLY_NONE * min(rows, places):
        return None
    return LoneWord(layer=name, word=int(found[most]), share=float(counts[most]) / places, num_words=len(found), num_rows=rows)


def loud_column(name: str, given: Tensor, batch: list[tuple[str, Tensor]]) -> tuple[str, int, float] | None:
    """A column of data that drowns the others, which may be the model's own (embeddings beside it)."""
    if not given.is_floating_point() or given.dim() != 2 or given.shape[1] < 2 or len(given) < 2:
        return None
    columns = given.detach().float().square().mean(dim=0).sqrt()
    loudest = int(columns.argmax())
    size = float(columns[loudest])
    if not LOUD_COLUMN <= size < float("inf") or not float(columns.median()) <= max(_NEAR_ONE, size / _DROWNED):
        return None
    of_data = not given.requires_grad or _is_column_of(given.detach()[:, loudest], batch)
    return (name, loudest, size) if of_data else None


def _is_column_of(column: Tensor, batch: list[tuple[str, Tensor]]) -> bool:
    wide = [t.to(column.dtype).reshape(len(t), -1) for _, t in batch if t.dim() in (1, 2) and len(t) == len(column)]
    return any(bool((t == column[:, None]).all(dim=0).any()) for t in wide)


def may_be_words(tensor: Tensor, model: nn.Module) -> bool:
    """Whole numbers per example and position, of a wide range that all positions share; floats only before a sequence model."""
    if tensor.dim() != 2 or tensor.shape[1] < 2 or tensor.numel() < 8 or tensor.is_complex() or tensor.dtype == torch.bool:
        return False
    values = tensor.detach().double()
    sequence = any(isinstance(m, (*RECURRENT, nn.TransformerEncoder, nn.Conv1d)) for m in model.modules())
    if tensor.is_floating_point() and not (sequence and bool((values == values.round()).all())):
        return False
    span = float(values.max() - values.min())
    columns = values.amax(dim=0) - values.amin(dim=0)
    return float(values.min()) >= -1 and span > WORDS_SPAN and float(columns.median()) > span / 4
