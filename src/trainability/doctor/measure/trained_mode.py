"""Whether a model is trained in eval mode by mistake."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def is_meant(model: nn.Module) -> bool:
    """Whether the model is in training mode, or its mode makes no difference or was set part by part.

    `model.eval()` sets all of it, so a layer with parameters in training mode was set separately, as when a new head is trained
    on a frozen trunk. Frozen parts (without trained parameters) stay in eval mode rightly, and without dropout and batch norm
    the mode makes no difference.
    """
    if model.training:
        return True
    if any(m.training and any(p.requires_grad for p in m.parameters()) for m in model.modules()):
        return True
    return not any(_asks_for_mode(module) for module in _trained(model))


def _trained(module: nn.Module) -> Iterator[nn.Module]:
    """The module and its submodules, without parts that have parameters but train none."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        return
    yield module
    for child in module.children():
        yield from _trained(child)


def acts_in_training(module: nn.Module) -> bool:
    """Whether a module of PyTorch's own computes something else in train mode."""
    if isinstance(module, _BatchNorm):
        return module.track_running_stats
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0


def _asks_for_mode(module: nn.Module) -> bool:
    """Whether a module behaves differently in eval mode; for the user's own classes, whether `forward` reads `training`."""
    if isinstance(module, _BatchNorm | _DropoutNd | nn.RNNBase | nn.MultiheadAttention):
        return acts_in_training(module)
    if type(module).__module__.startswith("torch."):
        return False
    code = getattr(type(module).forward, "__code__", None)
    return code is None or "training" in code.co_names
