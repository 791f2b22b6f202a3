"""Functions that a body calls on its weights or gradients, and whose results it drops: `p.data.clamp(...)` for `clamp_`."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Results that share their numbers with what they are of; to drop them drops nothing.
_VIEWS = ("detach", "t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze", "as_strided")
_NOT_THE_LOOP = ("torch", "trainability")


class DroppedResults(TorchFunctionMode):
    """Finds statements that are nothing but a call, of a function that has a twin in place, on a weight or its gradient.

    Attributes:
        found: the function, the name of the weight, and whether its gradient was meant; None until one is seen.
    """

    def __init__(self, parameters: Mapping[str, Tensor], others: Sequence[nn.Module]) -> None:
        """Look at what is trained, by name, and at other models that the body has, as a target network."""
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
        """Whether the next thing that the caller does with the result is to drop it, in code that is not a library's."""
        key = (frame.f_code, frame.f_lasti)
        if key not in self._drops:
            is_own = str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _NOT_THE_LOOP
            behind = [line.opname for line in dis.get_instructions(frame.f_code) if line.offset > frame.f_lasti][:1]
            self._drops[key] = is_own and behind == ["POP_TOP"]
        return self._drops[key]


def _plain(name: str) -> str:
    """`mul` of `__mul__`; of anything else what it is."""
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _place(tensor: Tensor, parameter: Tensor) -> bool | None:
    """False where a tensor is a parameter's own numbers, True where it is those of its gradient, None elsewhere."""
    for is_gradient, own in ((False, parameter), (True, parameter.grad)):
        if own is None or own.shape != tensor.shape or not own.layout == tensor.layout == torch.strided or not own.numel():
            continue
        if tensor.data_ptr() == own.data_ptr():
            return is_gradient
    return None
