"""Whether a model that is in eval mode is trained in a mode that nobody meant."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def is_meant(model: nn.Module) -> bool:
    """Whether the model is in training mode, as far as anything in it asks for its mode.

    `model.eval()` sets all of it, so a layer with parameters that is in training mode was set so after it, part by part, as
    where a new head is trained on a frozen trunk. What is frozen (no parameter is trained) is in eval mode for good, and
    without dropout and batch norm no mode makes a difference.
    """
    if model.training:
        return True
    if any(m.training and any(p.requires_grad for p in m.parameters()) for m in model.modules()):
        return True
    return not any(_asks_for_mode(module) for module in _trained(model))


def _trained(module: nn.Module) -> Iterator[nn.Module]:
    """The module and what is in it, without parts of which no parameter is trained."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        return
    yield module
    for child in module.children():
        yield from _trained(child)


def _asks_for_mode(module: nn.Module) -> bool:
    """Whether it does otherwise in eval mode; of the user's own classes, whether their `forward` reads `training`."""
    if isinstance(module, _BatchNorm):
        return module.track_running_stats
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout > 0
    if type(module).__module__.startswith("torch."):
        return False
    code = getattr(type(module).forward, "__code__", None)
    return code is None or "training" in code.co_names
