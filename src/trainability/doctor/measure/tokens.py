"""Whether a sequence model is asked for what comes next, and whether it can see that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import Call, ForwardPass
from trainability.doctor.measure.influence import sees_later


def token_facts(seen: ForwardPass, call: Call, loss: Tensor) -> dict[str, Any]:
    """Where a tensor of the batch is an input shifted by one, the task is to say what comes next; unshifted, to repeat."""
    model = call.callable_model()
    for position, given in enumerate(call.inputs):
        if not isinstance(given, Tensor) or given.dim() < 2:
            continue
        for _, target in seen.batch:
            if target.shape != given.shape:
                continue
            for time in (1, 0) if target is not given else ():
                length = given.shape[time]
                if length > 3 and torch.equal(target.narrow(time, 0, length - 1), given.narrow(time, 1, length - 1)):
                    return {"future": sees_later(model, call.inputs, position, time=time)}
            if not given.is_floating_point() and torch.equal(target, given) and bool((given != given[:, :1]).any()):
                blind = _asks_for_itself(call, loss, given) and sees_later(model, call.inputs, position) == 0.0
                if blind or target is not given:
                    return {"unshifted": blind}
    return {}


def _asks_for_itself(call: Call, loss: Tensor, given: Tensor) -> bool:
    """Whether the loss asks each place for the token that is there: of cross-entropy, the gradient is negative there alone."""
    shape = tuple(given.shape)
    for logits in call.returned:
        if not logits.requires_grad or logits.dim() != 3 or tuple(logits.shape[:2]) != shape:
            continue
        (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True, retain_graph=True)
        if gradient is not None and gradient.any():
            asked = gradient.ne(0).any(dim=-1)
            return bool((gradient.argmin(dim=-1) == given)[asked].float().mean() > 0.95)
    return False
