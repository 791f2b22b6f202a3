"""Weight layers with nothing between them, read off the trace of the model."""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn

from trainability.doctor.facts import Stacked
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.theory.trace import Op, Trace, trace

_AFFINE = frozenset({"conv", "conv_transpose", "linear", "avg_pool", "dropout", "reshape", "sum", "concat", "scale"})
# Rearranging and adding up is linear; of several tensors only what puts them side by side.
_LINEAR = frozenset({"getitem", "chunk", "split", "narrow", "select", "unbind", "roll", "flip", "repeat", "tile", "pad", "sum"})


def traced(model: nn.Module, seen: ForwardPass) -> Trace | None:
    if len(seen.inputs) != 1 or not isinstance(seen.inputs[0], Tensor):
        return None
    try:
        return trace(model, tuple(seen.inputs[0].shape), seen.inputs[0].dtype)
    except ValueError:
        return None


def stacked(model: nn.Module, seen: ForwardPass) -> dict[str, Any]:
    structure = traced(model, seen)
    if structure is None or structure.output is None:
        return {}
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters(remove_duplicate=False)}
    found = []
    bent = not all(map(_is_affine, structure.ops))
    kinds = ("linear",) if bent else ("linear", "conv")  # separable convolutions follow each other in healthy nets
    for first, second in itertools.product(structure.ops, structure.ops):
        if first.kind not in kinds or second.kind not in kinds or first.name == second.name:
            continue
        readers = [op for op in structure.ops if first.output in op.inputs]
        while len(readers) == 1 and readers[0].kind == "dropout":
            value = readers[0].output
            readers = [op for op in structure.ops if value in op.inputs]
        if len(readers) == 1 and readers[0] is second and first.weight in shapes and second.weight in shapes:
            inner, outer = shapes[first.weight], shapes[second.weight]
            found.append(
                Stacked(first=str(first.name), second=str(second.name), widths=(math.prod(inner[1:]), inner[0], outer[0]))
            )
    return {"stacked": tuple(found), "has_nonlinearity": bent}


def _is_affine(op: Op) -> bool:
    return op.kind in _AFFINE or op.function == "stack" or (op.function in _LINEAR and len(op.inputs) == 1)
