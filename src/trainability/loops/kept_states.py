"""Weights that a loop means to keep by `state_dict()`, which hands out the model's own tensors, and puts back later."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from trainability.loops.events import Guard
from trainability.loops.monitor import Monitor


class KeptStates:
    """Compares what `load_state_dict` gets with the module's own parameters, where steps were made since `state_dict()`.

    Args:
        monitors: those of the loop, when asked.
    """

    def __init__(self, monitors: Callable[[], list[Monitor]]) -> None:
        self._monitors = monitors
        self._num_steps = 0  # of all optimizers
        # Of each module: steps at its last `state_dict()`, and PyTorch's count of writes to its parameters after the last step.
        self._taken: weakref.WeakKeyDictionary[nn.Module, tuple[int, int | None]] = weakref.WeakKeyDictionary()
        self._tell = Guard()

    def taken(self, module: nn.Module) -> None:
        """`module.state_dict()` was called."""
        self._tell(lambda: self._taken.update({module: (self._num_steps, None)}))

    def stepped(self) -> None:
        """An optimizer has made a step."""
        self._num_steps += 1
        if self._taken:
            self._tell(lambda: self._taken.update({m: (steps, _num_writes(m)) for m, (steps, _) in self._taken.items()}))

    def loading(self, module: nn.Module, state: Any) -> None:
        """`module.load_state_dict(state)` is about to be called."""
        self._tell(lambda: self._loading(module, state))

    def _loading(self, module: nn.Module, state: Any) -> None:
        steps, writes = self._taken.get(module, (self._num_steps, None))
        # Tensors that were written to since the last step hold what they are to hold already.
        if writes is None or writes != _num_writes(module) or not isinstance(state, Mapping) or not _are_own(module, state):
            return
        own = {id(p) for p in module.parameters()}
        for monitor in self._monitors():
            if any(id(p) in own for p in monitor.model.parameters()):
                monitor.of_script["kept_state"] = self._num_steps - steps


def _are_own(module: nn.Module, state: Mapping[Any, Any]) -> bool:
    """Whether all of a state's tensors for the module's parameters are these parameters' own memory."""
    pairs = [(parameter, state.get(name)) for name, parameter in module.named_parameters() if _has_memory(parameter)]
    return bool(pairs) and all(isinstance(kept, Tensor) and kept.data_ptr() == own.data_ptr() for own, kept in pairs)


def _has_memory(tensor: Tensor) -> bool:
    return not nn.parameter.is_lazy(tensor) and tensor.numel() > 0


def _num_writes(module: nn.Module) -> int:
    return sum(parameter._version for parameter in module.parameters())
