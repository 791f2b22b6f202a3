"""Parameters of a loss, as of an adaptive softmax or of class centres, that no optimizer holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from trainability.doctor.measure.living import living


def untrained_criterion(strangers: Iterable[nn.Parameter], managed: set[int]) -> tuple[str, ...]:
    """Names of parameters that the loss depends on, that are a loss module's own, and that nobody trains.

    A loss module is one of PyTorch's with parameters, or one that is part of no other and holds parameters and no layers. What
    holds layers may be another network: one that judges likeness is not trained, and often not frozen either.

    Args:
        strangers: parameters in the graph of the loss that the model does not have.
        managed: ids of the parameters that some optimizer holds.
    """
    loose = {id(p) for p in strangers if p.requires_grad and id(p) not in managed}
    if not loose:
        return ()
    modules = [module for module in living(nn.Module) if "_modules" in module.__dict__]  # not one whose __init__ failed
    inner = {id(child) for module in modules for child in module.children()}
    return tuple(dict.fromkeys(name for m in modules if id(m) not in inner and m.training for name in _own(m, loose)))


def _own(module: nn.Module, loose: set[int]) -> Iterator[str]:
    is_of_torch = type(module).__module__ in ("torch.nn.modules.adaptive", "torch.nn.modules.loss")
    if is_of_torch or next(module.children(), None) is None:
        for name, parameter in module.named_parameters():
            if id(parameter) in loose:
                yield f"{type(module).__name__}.{name}"
