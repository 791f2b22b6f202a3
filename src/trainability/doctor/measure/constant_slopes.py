"""Derivatives without a graph that a loss compares with outputs, as in a differential equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.statistics import has_values

Edge = tuple[Any, int]  # a node of the graph, and which of its results

_SUMS = frozenset({"add", "radd", "iadd", "sub", "rsub", "isub", "subtract"})
_DISTANCES = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_CUTS = frozenset({"detach", "item", "tolist", "numpy", "data"})
# Names of nodes between a difference and its square: they move its values or multiply them with a number.
_MOVED = (
    "Add",
    "Sub",
    "Neg",
    "Mul",
    "Sum",
    "Mean",
    "View",
    "UnsafeView",
    "Reshape",
    "Slice",
    "Select",
    "Index",
    "Cat",
    "Stack",
)
_MOVED += ("Squeeze", "Unsqueeze", "Expand", "T", "Transpose", "Permute", "Clone", "Unbind", "Split", "ToCopy", "Alias")
_BENT = ("Pow", "Abs", "MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "LinalgVectorNorm", "Norm", "Square", "Cosh")
_OVER = ("Sqrt", "Log", "Log1P", "Exp", "Div")  # between the square and the loss, such as its root
_MOST_SITES = 32


@dataclass(frozen=True)
class _Slope:
    """A derivative that is a constant for the weights: of `of` with respect to `by`."""

    of: Edge
    by: Edge


@dataclass(frozen=True)
class _Site:
    """A node that adds, subtracts or compares such a derivative and a tensor with a graph."""

    node: Any
    other: Edge
    slopes: tuple[_Slope, ...]


def is_derivative(func: Callable[..., Any]) -> bool:
    """Whether a function, as a function mode sees it, is `torch.autograd.grad`."""
    return getattr(func, "__name__", "") == "grad" and getattr(func, "__module__", "") == "torch.autograd"


def words_of(args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of `torch.autograd.grad` by their names."""
    return dict(zip(("outputs", "inputs", "grad_outputs", "retain_graph", "create_graph"), args, strict=False)) | kwargs


def is_flat(words: dict[str, Any], found: Any) -> bool:
    """Whether something that is not zero was differentiated for a graph of its own, and every number of the result is zero."""
    if not words.get("create_graph"):
        return False
    given = [words["outputs"]] if isinstance(words["outputs"], Tensor) else list(words["outputs"])
    made = [gradient for gradient in found if gradient is not None]
    if not all(has_values(t) for t in (*given, *made)):  # torch.func calls this function internally, too
        return False
    return bool(made) and any(bool(t.any()) for t in given) and not any(bool(g.any()) for g in made)


class ConstantSlopes:
    """Follow derivatives taken without a graph to where a loss compares them with outputs.

    `see` must be called with each function of PyTorch, as a function mode sees it.
    """

    def __init__(self) -> None:
        self._slopes: dict[
            int, tuple[Tensor, tuple[_Slope, ...]]
        ] = {}  # by id, of tensors computed from derivatives, which are kept alive
        self._sites: list[_Site] = []

    def see(self, func: Callable[..., Any], args: tuple, kwargs: dict, result: Any) -> None:
        """Record a function that has run."""
        name = getattr(func, "__name__", "").strip("_")
        if is_derivative(func):
            self._differentiated(args, kwargs, result)
            return
        if not self._slopes or not torch.is_grad_enabled():
            return
        given = [tensor for _, tensor in tensors((args, kwargs))]
        slopes = tuple({slope: None for t in given if id(t) in self._slopes for slope in self._slopes[id(t)][1]})
        read = getattr(getattr(func, "__self__", None), "__name__", "") if name == "get" else name
        if not slopes or read in _CUTS:
            return
        made = [tensor for _, tensor in tensors(result)] or given[:1]  # an in-place write returns nothing
        for tensor in made:
            if not tensor.requires_grad and tensor.is_floating_point():
                self._slopes[id(tensor)] = tensor, slopes
        others = [t for t in given if t.requires_grad and id(t) not in self._slopes]
        if name in _SUMS | _DISTANCES and len(made) == len(others) == 1 and len(self._sites) < _MOST_SITES:
            self._sites.append(_Site(made[0].grad_fn, _edge(others[0]), slopes))

    def _differentiated(self, args: tuple, kwargs: dict, result: Any) -> None:
        words = words_of(args, kwargs)
        if words.get("create_graph"):
            return
        of, by = ([t for _, t in tensors(words[name])] for name in ("outputs", "inputs"))
        for source, found in zip(by, result, strict=False):
            if isinstance(found, Tensor) and not found.requires_grad and not isinstance(source, nn.Parameter):
                slopes = tuple(_Slope(_edge(each), _edge(source)) for each in of if each.requires_grad)
                self._slopes[id(found)] = found, slopes

    def found(self, loss: Any, parameters: set[int]) -> bool:
        """Whether a loss takes the square or size of a derivative minus an output of the same weights at the same input.

        Args:
            loss: with its graph, which may have been freed.
            parameters: ids of the model's trained ones.
        """
        if not self._sites or not isinstance(loss, Tensor):
            return False
        squared = _squared(loss.grad_fn)
        for site in (site for site in self._sites if site.node in squared):
            for slope in site.slopes:
                if _between(slope.of, slope.by) & _between(site.other, slope.by) & parameters:
                    return True
        return False

    def forget(self) -> None:
        """Release the stored tensors and their graph."""
        self._slopes, self._sites = {}, []


def _edge(tensor: Tensor) -> Edge:
    with torch.enable_grad():
        edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _kind(node: Any) -> str:
    return node.name().split("::")[-1].rstrip("0123456789").removesuffix("Backward")


def _squared(root: Any) -> set[Any]:
    """Nodes whose squares, or sizes, the loss sums, with only moves and factors between node and square."""
    found: set[Any] = set()
    seen: set[tuple[Any, bool]] = set()
    waiting = [(root, False)]
    while waiting:
        node, is_beneath = waiting.pop()
        if node is None or (node, is_beneath) in seen:
            continue
        seen.add((node, is_beneath))
        kind, children = _kind(node), [child for child, _ in node.next_functions]
        is_product = kind == "Mul" and len(children) == 2 and children[0] is children[1] and children[0] is not None
        if is_beneath or kind in ("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss"):
            found.add(node)
        if kind in _BENT or is_product:
            waiting += [(child, True) for child in children]
        elif kind in _MOVED or (kind == "Div" and is_beneath and len(children) == 2 and children[1] is None):
            waiting += [(child, is_beneath) for child in children]
        if not is_beneath and kind in _OVER:
            waiting += [(child, False) for child in children]
    return found


def _between(of: Edge, by: Edge) -> set[int]:
    """Ids of the parameters used between an input and an output, without those that compute the input."""
    leads: dict[Any, bool] = {}
    waiting = [(of[0], False)]
    if of == by:
        return set()
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            leads[node] = any(edge == by or leads.get(edge[0], False) for edge in node.next_functions)
        elif node is not None and node not in leads:
            leads[node] = False
            waiting.append((node, True))
            waiting += [(child, False) for child, number in node.next_functions if (child, number) != by]
    on_path = [node for node, is_on in leads.items() if is_on]
    beside = [
        child for node in on_path for edge in node.next_functions if edge != by and not leads.get(child := edge[0], False)
    ]
    found: set[int] = set()
    seen: set[Any] = set()
    while beside:
        node = beside.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (variable := getattr(node, "variable", None)) is not None:
            found.add(id(variable))
        beside += [child for child, _ in node.next_functions]
    return found
