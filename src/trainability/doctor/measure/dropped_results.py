"""Functions called on weights or gradients whose results are dropped: `p.data.clamp(...)` instead of `clamp_`."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Views: dropping one has no effect.
_VIEWS = ("detach", "t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze", "as_strided")
_NOT_THE_LOOP = ("torch", "trainability")


class DroppedResults(TorchFunctionMode):
    """Find statements that only call a function with an in-place twin on a weight or its gradient.

    Attributes:
        found: the function, the name of the weight, and whether it is called on the gradient; None until one is seen.
    """

    def __init__(self, parameters: Mapping[str, Tensor], others: Sequence[nn.Module]) -> None:
        """Watch the trained parameters, by name, and other models of the body, such as a target network."""
        super().__init__()
        self.named = [*parameters.items(), *(each for model in others for each in model.named_parameters())]
        self.found: tuple[str, str, bool] | None = None
        self._drops: dict[tuple[CodeType, int], bool] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = _plain(getattr(func, "__name__", ""))
        is_asked = self.found is None and name not in _VIEWS and hasattr(torch.Tensor, f"{name}_")
        if is_asked and args and isinstance(args[0], Tensor) and self._is_dropped(sys._getframe(1)):
            owner = next(((n, place) for n, p in self.named if (place := _place(args[0], p)) is not None), None)
            self.found = (name, *owner) if owner is not None else None
        return result

    def _is_dropped(self, frame: FrameType) -> bool:
        """Whether the caller, if it is not a library, drops the result in its next instruction."""
        key = (frame.f_code, frame.f_lasti)
        if key not in self._drops:
            is_own = str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _NOT_THE_LOOP
            behind = [line.opname for line in dis.get_instructions(frame.f_code) if line.offset > frame.f_lasti][:1]
            self._drops[key] = is_own and behind == ["POP_TOP"]
        return self._drops[key]


def _plain(name: str) -> str:
    """Remove the underscores of a dunder name: `mul` for `__mul__`."""
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _place(tensor: Tensor, parameter: Tensor) -> bool | None:
    """False if a tensor shares a parameter's memory, True if it shares its gradient's, else None."""
    for is_gradient, own in ((False, parameter), (True, parameter.grad)):
        if own is None or own.shape != tensor.shape or not own.layout == tensor.layout == torch.strided or not own.numel():
            continue
        if tensor.data_ptr() == own.data_ptr():
            return is_gradient
    return None
