"""Weight layers with nothing between them, read off the trace of the model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.graph_facts import Stacked
from trainability.doctor.measure.chains import chained
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.theory.trace import Op, Trace, trace

_AFFINE = frozenset({"conv", "conv_transpose", "linear", "avg_pool", "dropout", "reshape", "sum", "concat", "scale"})
# Rearranging and adding up is linear; of several tensors only what puts them side by side.
_BETWEEN = {"norm": "batch normalisation", "avg_pool": "average pooling", "reshape": "", "scale": "", "dropout": ""}
_POOLS = {"max_pool"}
_LINEAR = frozenset({"getitem", "chunk", "split", "narrow", "select", "unbind", "roll", "flip", "repeat", "tile", "pad", "sum"})


def traced(model: nn.Module, seen: ForwardPass) -> Trace | None:
    if len(seen.inputs) != 1 or not isinstance(seen.inputs[0], Tensor):
        return None
    try:
        return trace(model, tuple(seen.inputs[0].shape), seen.inputs[0].dtype)
    except ValueError:
        return None


def stacked(model: nn.Module, seen: ForwardPass, loss: Tensor, known: Facts) -> dict[str, Any]:
    """Fields of `Facts`: the pairs, whether anything behind lookups is not linear in evaluation, and whether only pools are.

    Where the model cannot be traced, or is more than one call, the pairs are those that were seen to run.
    """
    structure = traced(model, seen)
    if structure is None or structure.output is None:
        return {"stacked": chained(seen.chains, loss)}
    structure = replace(structure, ops=_read(structure))
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters(remove_duplicate=False)}
    bends = {op.kind for op in structure.ops if not _is_affine(op) and op.kind != "embedding"}  # behind its tables
    bent, only_pools = bool(bends - _POOLS), bends == _POOLS
    kinds = ("linear",) if bent else ("linear", "conv")  # separable convolutions follow each other in healthy nets
    is_squeezed = not bends and _is_squeezed(structure)
    found = []
    for first in structure.ops:
        # In a net that bends elsewhere, a projection may end in batch norm, and a head begin with a linear layer.
        second, between = _next_layer(structure, first, ("dropout",) if bent else tuple(_BETWEEN))
        if second is None or first.kind not in kinds or second.kind not in kinds or first.name == second.name:
            continue
        if first.weight in shapes and second.weight in shapes:
            inner, outer = shapes[first.weight], shapes[second.weight]
            found.append(
                Stacked(
                    first=str(first.name),
                    second=str(second.name),
                    widths=(math.prod(inner[1:]), inner[0], outer[0]),
                    between=tuple(dict.fromkeys(_BETWEEN[kind] for kind in between if _BETWEEN[kind])),
                    is_idle=(str(first.name), str(second.name)) in seen.chains.idle,
                    are_factors=is_squeezed or _are_separable(first, second, inner[2:], outer[2:]),
                )
            )
    found = found or list(chained(seen.chains, loss))
    readings = replace(known.readings, only_pools=only_pools)
    return {"stacked": tuple(found), "has_nonlinearity": bool(bends), "readings": readings}


def _read(structure: Trace) -> tuple[Op, ...]:
    """Operations without activations whose result nobody takes, of what others take: they are none between two layers.

    What is behind a view stays: it may write into what the view is of.
    """
    wanted, live = {structure.output}, {0}
    for op in reversed(structure.ops):
        if op.output in wanted:
            wanted |= set(op.inputs)
            live.add(op.output)
    return tuple(op for op in structure.ops if op.kind != "activation" or op.output in live or not live.issuperset(op.inputs))


def _next_layer(structure: Trace, first: Op, through: tuple[str, ...]) -> tuple[Op | None, list[str]]:
    """The only reader of an operation's output behind others of these kinds, and their kinds; None where there are several."""
    value, between = first.output, []
    while len(readers := [op for op in structure.ops if value in op.inputs]) == 1:
        if readers[0].kind not in through:
            return readers[0], between
        between.append(readers[0].kind)
        value = readers[0].output
    return None, between


def _are_separable(first: Op, second: Op, inner: tuple[int, ...], outer: tuple[int, ...]) -> bool:
    """Whether two convolutions have fewer weights than one would: depthwise and pointwise, or one along each direction."""
    if any(op.options.get("groups", 1) != 1 for op in (first, second)):
        return True
    crossed = len(inner) == len(outer) and all(min(pair) == 1 for pair in zip(inner, outer, strict=True))
    return crossed and max(inner, default=1) > 1 and max(outer, default=1) > 1


def _is_squeezed(structure: Trace) -> bool:
    """Whether a model has fewer numbers between than it takes and returns, as a linear autoencoder has."""
    if any(op.kind == "embedding" for op in structure.ops):
        return False  # indices are not reconstructed
    size = math.prod(structure.output_shape)
    given = next((op.input_shape for op in structure.ops if 0 in op.inputs), ())
    return math.prod(given) == size and any(math.prod(op.output_shape) < size for op in structure.ops)


def _is_affine(op: Op) -> bool:
    if op.function == "batch_norm":  # by running averages in evaluation
        return True
    return op.kind in _AFFINE or op.function == "stack" or (op.function in _LINEAR and len(op.inputs) == 1)
