"""A model that was looked at is left as it was."""

import contextlib
import random
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Puts back modes, gradients, buffers and random state, bit for bit, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(p, p.grad) for p in model.parameters()]  # the tensors themselves: backward makes new ones
    buffers = [(m, n, b, b.detach().clone()) for m in model.modules() for n, b in m._buffers.items() if b is not None]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    python_state = random.getstate()
    with torch.random.fork_rng(devices=devices):
        try:
            for p, _ in gradients:
                p.grad = None
            yield
        finally:
            for module, training in modes:
                module.training = training
            for p, gradient in gradients:
                p.grad = gradient
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    buffer.copy_(value)
                    module._buffers[name] = buffer
            random.setstate(python_state)
