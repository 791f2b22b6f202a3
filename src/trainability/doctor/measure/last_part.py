"""The parts that a training step calls by themselves, `model.decoder(...)`, where it never calls the model as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.randomness import randomness_restored, set_random_state


@dataclass(frozen=True, kw_only=True)
class _PartCall:
    module: nn.Module
    inputs: list[Tensor]
    output: Tensor


class PartCalls:
    """Inside the `with` block, calls of modules that no other module's call contains, and that give a gradient.

    Attributes:
        calls: in their order.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[_PartCall] = []
        self._model, self._depth, self._handles = model, 0, []

    def __enter__(self) -> PartCalls:
        for module in self._model.modules():
            self._handles.append(module.register_forward_pre_hook(LeftBehind(self._before), with_kwargs=True))
            self._handles.append(module.register_forward_hook(LeftBehind(self._after), with_kwargs=True, always_call=True))
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._depth += 1

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._depth -= 1
        found = first_tensor(output)
        if self._depth == 0 and found is not None and found.requires_grad and found.dim() > 0:
            given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.requires_grad]
            self.calls.append(_PartCall(module=module, inputs=given, output=found))

    def heads(self) -> list[nn.Module]:
        """The modules whose results no later call is given, nor anything that is made of them: each once, in order."""
        found: dict[nn.Module, None] = {}
        for place, call in enumerate(self.calls):
            later = [x for other in self.calls[place + 1 :] for x in other.inputs]
            used = bool(later) and any(
                g is not None
                for x in later
                for g in torch.autograd.grad(x.sum(), [call.output], allow_unused=True, retain_graph=True)
            )
            if not used:
                found[call.module] = None
        return list(found)


def heads_of(loop: Loop, batch: Any, state: dict[str, Any]) -> list[nn.Module]:
    """Parts that answer in the model's place, see `PartCalls.heads`; none where a step calls the model, or cannot be asked.

    Args:
        loop: of one model.
        batch: on its device.
        state: random state to begin with.
    """
    forward = loop.forward_only
    if forward is None or len(loop.models) != 1:
        return []
    try:
        with randomness_restored(), loop.undisturbed(afresh=True), torch.enable_grad(), exit_as_error():
            set_random_state(state)
            with PartCalls(loop.models[0]) as parts:
                forward(loop.model, batch)
            is_called = any(call.module is loop.models[0] for call in parts.calls)
            return [] if is_called else parts.heads()
    except Exception:  # what fails here fails in the loop itself, which says so
        return []
