"""Runs plain what was compiled, while anybody asks for it: hooks added after compilation never fire."""

import sys
from typing import Any

import torch

_asked = 0
_stance: Any = None


def has_compiled() -> bool:
    """Whether anything was compiled in this process (since `torch._dynamo.reset`)."""
    backends = getattr(sys.modules.get("torch._dynamo.eval_frame"), "cached_backends", {})
    return any(backend is not None for backend in backends.values())


def run_plain() -> None:
    """Ask that compiled code run as plain Python until `run_compiled`; several may ask at once."""
    global _asked, _stance
    _asked += 1
    # Nothing is compiled without it, and importing it takes seconds.
    if _stance is None and "torch._dynamo" in sys.modules:
        _stance = torch.compiler.set_stance("force_eager")


def run_compiled() -> None:
    """Take one `run_plain` back; the last one puts the stance back as it was."""
    global _asked, _stance
    _asked -= 1
    if _asked == 0 and _stance is not None:
        stance, _stance = _stance, None
        stance.__exit__(None, None, None)
