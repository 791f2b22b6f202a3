"""The stack of PyTorch's function modes, which see what a thread calls: who is on it, and how one leaves it again."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


def modes() -> list[Any]:
    """The function modes of this thread, the outermost first."""
    return [torch._C._get_function_stack_at(place) for place in range(torch._C._len_torch_function_stack())]


def enter(mode: TorchFunctionMode) -> bool:
    """Put a mode on the stack, where nobody else's is but `torch.set_default_device`'s; returns whether it was put there."""
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    if any(other is not default for other in modes()):
        return False
    torch._C._push_on_torch_function_stack(mode)
    return True


def leave(mode: TorchFunctionMode) -> None:
    """Take a mode off the stack; others that were put on it since stay there, in their order."""
    above = []
    while any(other is mode for other in modes()):
        top = torch._C._pop_torch_function_stack()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        torch._C._push_on_torch_function_stack(other)
