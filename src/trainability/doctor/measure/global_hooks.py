"""PyTorch's global forward hook, without what its handle leaves behind."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch.nn.modules import module as module_hooks
from torch.utils.hooks import RemovableHandle


def on_every_call(hook: Callable[..., Any], *, always_call: bool = False) -> RemovableHandle:
    """Register `hook(module, args, kwargs, output)` for all modules.

    The handle of `register_module_forward_hook(..., with_kwargs=True)` does not remove the hook's entry among those that take
    keyword arguments. For the rest of the process modules would then be called the slow way, and compiled ones would warn.

    Args:
        hook: called behind each module's forward pass.
        always_call: also where it raises.
    """
    handle = module_hooks.register_module_forward_hook(hook, with_kwargs=True, always_call=always_call)
    left = getattr(module_hooks, "_global_forward_hooks_with_kwargs", None)
    if left is not None:
        handle.extra_dict_ref = (*handle.extra_dict_ref, weakref.ref(left))
    return handle
