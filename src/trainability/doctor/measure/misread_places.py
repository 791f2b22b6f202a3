"""Places of a sequence or an image that a view instead of a transpose takes from the order in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from trainability.doctor.graph_facts import MisreadHeads
from trainability.doctor.measure.nodes import call_of, given_shape, parents_of, shape_at, within

_VIEWS = ("View", "UnsafeView", "ReshapeAlias")
_READERS = ("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Convolution", "MkldnnRnnLayer", "CudnnRnn")
_FUSED = "ScaledDotProduct"
_POINTWISE = ("Clone", "Alias", "ToCopy", "Add", "Sub", "Mul", "Div", "Neg", "Relu", "Gelu", "Silu", "Elu", "Tanh", "Sigmoid")
_POINTWISE += ("LeakyRelu", "Hardtanh", "Softplus", "Mish", "NativeDropout", "Where", "MaskedFill")
# Between a view and the layer that reads its places. No slice: a view of other sizes and a slice shift rows on purpose.
_BESIDE_READER = (*_POINTWISE, *_VIEWS, "NativeLayerNorm", "Transpose", "Permute", "Expand", "Cat", "Select", "Unbind")
_BESIDE_READER += ("Split", "Squeeze", "Unsqueeze", "Stack")
# Between a convolution and the view: the second dimension is that of the channels, the others are places.
_BESIDE_MAKER = (
    *_POINTWISE,
    "NativeBatchNorm",
    "CudnnBatchNorm",
    "MiopenBatchNorm",
    "NativeGroupNorm",
    "Cat",
    "Squeeze",
    "Slice",
)
_BESIDE_MAKER += ("MaxPool2DWithIndices", "MaxPool3DWithIndices", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D")
_BESIDE_MAKER += ("UpsampleNearest2D", "UpsampleBilinear2D", "UpsampleNearest1D")
_MOST_NODES, _MOST_BESIDE, _MOST_READERS = 20_000, 60, 400

Shape = tuple[int, ...]


def misread_places(root: Any) -> MisreadHeads | None:
    """Look for (batch, channels, ..., places) that is viewed as (batch, places, features) and read place by place.

    Args:
        root: of the graph of a loss, which may have been freed.

    Returns:
        The first such view that a layer reads; None if there is none.
    """
    nodes = list(within((root,), None, _MOST_NODES))
    found = [(view, given_shape(view), shape_at(view)) for view in nodes if call_of(view) in _VIEWS]
    found = [row for row in found if _swaps(*row[1:])]
    readers = [node for node in nodes if call_of(node) in _READERS or call_of(node).startswith(_FUSED)] if found else []
    for view, given, made in found:
        by = readers if is_torn(given, made) or _is_of_channels(view, given, made) else ()
        if not by and len(given) == len(made) == 3 and "Embedding" in _makers(view):
            by = [node for node in readers if call_of(node) == "Convolution"]
        if any(node is view for reader in by[:_MOST_READERS] for node in _read_by(reader, made[-1])):
            return MisreadHeads(kind="places", given=given, made=made)
    return None


def viewed_input(inputs: Sequence[Tensor], given: Tensor) -> MisreadHeads | None:
    """Whether a layer is given what the model is given, in the same order in memory and with its sizes swapped.

    Args:
        inputs: of the model.
        given: to a layer that works place by place.
    """
    if given.dim() != 3 or not given.is_contiguous():
        return None
    for whole in inputs:
        shares = whole.data_ptr() == given.data_ptr() and whole.numel() == given.numel() and whole.is_contiguous()
        shapes = (tuple(whole.shape), tuple(given.shape))
        if shares and whole.is_floating_point() and _swaps(*shapes) and is_torn(*shapes):
            return MisreadHeads(kind="places", given=shapes[0], made=shapes[1])
    return None


def viewed_steps(inputs: Sequence[Tensor], given: Tensor) -> MisreadHeads | None:
    """Whether a layer whose sequences run along the first dimension is given (batch, steps, ...) viewed as (steps, batch, ...).

    Args:
        inputs: of the model.
        given: to the layer, (steps, batch, features).
    """
    for whole in inputs:
        same = whole.data_ptr() == given.data_ptr() and whole.is_contiguous() and given.is_contiguous()
        if same and whole.dim() == given.dim() == 3 and whole.shape[0] != whole.shape[1]:
            made, shape = tuple(given.shape), tuple(whole.shape)
            if made == (shape[1], shape[0], shape[2]) and min(shape[:2]) > 1:
                return MisreadHeads(kind="steps", given=shape, made=made)
    return None


def _swaps(given: Shape, made: Shape) -> bool:
    """Whether a trailing dimension, or all but the second, comes before the others, with no dimension kept where it is."""
    if len(given) < 3 or len(made) not in (2, 3) or 0 in given or 0 in made:
        return False
    size, *rest = given
    inner = [n for n in rest if n > 1]
    if len(inner) < 2 or (made[0] != size if len(made) == 3 else made[0] % size):
        return False
    places, features = (made[1] if len(made) == 3 else made[0] // size), made[-1]
    first = [math.prod(inner[:k]) for k in range(1, len(inner))]  # merged from the first on, which keeps all in order
    return min(places, features) > 1 and places not in first and places in (*inner[1:], math.prod(inner[1:]))


def is_torn(given: Shape, made: Shape) -> bool:
    """Whether the last dimension comes second, and rows are cut at places where no row of the given tensor begins or ends.

    No merging, splitting or windows do that. A row is the last dimension, or the last two, and so on.
    """
    ends = [math.prod(given[k:]) for k in range(1, len(given))]
    parts = made[-1]
    divides = all(max(end, parts) % min(end, parts) == 0 for end in ends)
    return len(made) == 3 and made[1] == given[-1] and not divides


def _is_of_channels(view: Any, given: Shape, made: Shape) -> bool:
    """Whether a convolution made what is viewed, and its channels cannot be grouped into as many rows."""
    places = made[1] if len(made) == 3 else made[0] // given[0]
    if given[1] % places == 0:
        return False
    return given[1] in _makers(view).get("Convolution", ())


def _makers(view: Any) -> dict[str, set[int]]:
    """The functions that made what is viewed, each with the second dimensions of what it returned."""
    made = dict[str, set[int]]()
    for node in within(parents_of(view), _BESIDE_MAKER, _MOST_BESIDE):
        made.setdefault(call_of(node), set()).update(shape_at(node)[1:2])
    return made


def _read_by(reader: Any, features: int) -> Iterator[Any]:
    """Nodes whose result a layer reads with the dimension of the features as it is."""
    todo, seen = parents_of(reader), dict[int, Any]()
    while todo and len(seen) < _MOST_BESIDE:
        node = todo.pop()
        shape = shape_at(node)
        if id(node) in seen or features not in (shape[-1:] if call_of(node) in _VIEWS else shape):
            continue
        seen[id(node)] = node
        yield node
        if call_of(node) in _BESIDE_READER:
            todo.extend(parents_of(node))
