"""What one model judges: what another makes of a bounded function, beside data that lie outside its range."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nodes import call_of

# Nodes of autograd. Of what has no upper end, half of the range is taken for the spread of the data.
_RANGES = {
    "Tanh": ("tanh", -1.0, 1.0),
    "Sigmoid": ("sigmoid", 0.0, 1.0),
    "Relu": ("relu", 0.0, math.inf),
    "Softplus": ("softplus", 0.0, math.inf),
    "Exp": ("exp", 0.0, math.inf),
}
_BEYOND = 0.1  # of the range's half: noise or a rounded scale is no other range
_FEWEST = 128  # numbers


class JudgedRange:
    """Listens to several models while a body of a loop runs once.

    Args:
        models: that the body calls.
    """

    def __init__(self, models: list[nn.Module]) -> None:
        self._models = models
        self._handles: list[Any] = []
        self._made: list[tuple[nn.Module, Tensor, str | None]] = []  # kept alive, so that an address is one tensor's
        self._judged: dict[nn.Module, set[str]] = {}  # bounded functions of what each was given by another
        self._given: dict[nn.Module, list[Tensor]] = {}  # data

    def __enter__(self) -> JudgedRange:
        if len(self._models) > 1:
            self._handles = [model.register_forward_hook(LeftBehind(self._on_call)) for model in self._models]
        return self

    def __exit__(self, *details: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _on_call(self, module: nn.Module, args: Any, output: Any) -> None:
        given = args[0] if args and isinstance(args[0], Tensor) else None
        if given is not None and given.dim() > 1 and given.is_floating_point():
            by = next(((m, kind) for m, made, kind in self._made if made.data_ptr() == given.data_ptr()), None)
            if by is None and not given.requires_grad:
                self._given.setdefault(module, []).append(given.detach().clone())
            elif by is not None and by[0] is not module and by[1] is not None:
                self._judged.setdefault(module, set()).add(by[1])
        if isinstance(output, Tensor) and output.requires_grad:
            node = behind_views(output.grad_fn) if output.grad_fn is not None else None
            kind = call_of(node) if node is not None else ""
            self._made.append((module, output, kind if kind in _RANGES else None))

    def outside(self) -> tuple[str, float] | None:
        """The bounded function, and the share of the data outside its range.

        None where no model judges both data and what a single bounded function makes, or of data of another shape.
        """
        for critic, kinds in self._judged.items():
            shapes = {tuple(made.shape[1:]) for _, made, kind in self._made if kind in kinds}
            data = [x.flatten() for x in self._given.get(critic, ()) if tuple(x.shape[1:]) in shapes]
            if len(kinds) != 1 or sum(map(len, data)) < _FEWEST:
                continue
            name, low, high = _RANGES[next(iter(kinds))]
            values = torch.cat(data)
            margin = _BEYOND * ((high - low) / 2 if high < math.inf else float(values.std()))
            return name, float(((values < low - margin) | (values > high + margin)).float().mean())
        return None
