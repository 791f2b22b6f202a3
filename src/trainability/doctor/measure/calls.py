"""Calls of modules, as one pass through a program saw them, to be made again."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Call:
    """The first call of a model.

    Attributes:
        model: that was called.
        inputs: see `ForwardPass.inputs`.
        names: likewise.
        returned: all tensors that it returned.
        is_whole: whether `inputs` are all tensors that it was given, as where none stands beside others by name.
    """

    model: nn.Module
    inputs: tuple[Any, ...]
    names: tuple[str, ...]
    returned: list[Tensor]
    is_whole: bool = True


class ByName(nn.Module):
    """A model whose arguments are given by name, called with their values in order."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values: Any) -> Any:
        return self.model(**dict(zip(self.names, values, strict=True)))


def is_needed(model: nn.Module, name: str) -> bool:
    taken = inspect.signature(model.forward).parameters.get(name)
    return taken is not None and taken.default is inspect.Parameter.empty
