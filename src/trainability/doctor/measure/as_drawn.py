"""Frozen layers whose weights are still what PyTorch drew for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.statistics import local

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_FEWEST_WEIGHTS = 64
_MOST_WEIGHTS = 1 << 14  # of a layer that are read; the largest is told from all of them
_MOST_LAYERS = 64
_FEWEST_TRAINED = 2
_UNIFORM = 1.95  # of the largest distance of two distributions, times the root of the count: exceeded once in a thousand
_NEAR_BOUND = 12.0  # spacings that the largest of so many is below the bound: less often than once in 1e5


def frozen_as_drawn(model: nn.Module) -> tuple[str, ...]:
    """Find frozen linear layers and convolutions in front of what is trained that nothing was ever loaded into.

    PyTorch draws their weights evenly within 1 / sqrt(fan_in) of zero. One step of training takes some of them beyond, and a
    checkpoint's weights are drawn from nothing.

    Args:
        model: plain.

    Returns:
        Their names, in order; () where something is trained between them, as in a net of random weights whose norms or adapters
        learn, where a trained layer has the same weights, as of a target network, and where no trained layer comes behind
        them that takes as many numbers as the last of them makes.
    """
    trained = [(place, m) for place, (_, m) in enumerate(model.named_modules()) if _own(m, is_trained=True)]
    copies = [p for _, m in trained for p in m.parameters(recurse=False)]
    found: list[tuple[int, str, nn.Module]] = []
    for place, (name, module) in enumerate(model.named_modules()):
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if not isinstance(module, _LAYERS) or weight is None or weight.requires_grad or len(found) == _MOST_LAYERS:
            continue
        is_copy = any(p.shape == weight.shape and torch.equal(p, weight) for p in copies)
        if not is_copy and _is_as_drawn(local(weight.detach())):
            found.append((place, name, module))
    if not found:
        return ()
    first, last = found[0][0], found[-1][0]
    behind = next((m for place, m in trained if place > last), None)
    if any(first < place < last for place, _ in trained) or behind is None or not _takes(behind, found[-1][2], found[0][2]):
        return ()
    return tuple(name for _, name, _ in found)


def frozen_head(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> str | None:
    """Find a last layer that is frozen as PyTorch drew it, in a model whose other frozen layers were trained before.

    A checkpoint was loaded, and the layer that replaced its last one is frozen with the rest. A gradient passes through it, to
    what is trained before it: through a copy that follows by momentum, or a fixed projection that makes targets, none does.

    Args:
        model: plain; runs once more.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        Its name; None where another frozen layer is as drawn, or may be as some scheme drew it, and where all of these do not
        have two layers of weights.
    """
    layers = [(name, m) for name, m in model.named_modules() if weight_of(m) is not None]
    frozen = [(name, m) for name, m in layers if not _own(m, is_trained=True)]
    if len(frozen) < _FEWEST_TRAINED + 1 or frozen[-1] != layers[-1]:
        return None
    (name, last), others = frozen[-1], [m for _, m in frozen[:-1]]
    if not isinstance(last, nn.Linear) or not is_as_drawn(last) or any(map(is_as_drawn, others)):
        return None
    if not _have_learned(model, others):
        return None
    passes: list[bool] = []
    handle = last.register_forward_pre_hook(lambda module, args: passes.append(args[0].requires_grad) if args else None)
    try:
        with torch.enable_grad(), randomness_restored():
            forward(model, batch)
    finally:
        handle.remove()
    return name if any(passes) else None


def _have_learned(model: nn.Module, layers: list[nn.Module]) -> bool:
    """Whether layers have biases that differ, or the model has norms that have seen other data than those of their start."""
    biases = [bias.detach() for m in layers if (bias := m._parameters.get("bias")) is not None and bias.numel() > 1]
    means = [m.running_mean for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    varied = [bool(torch.ne(bias, bias[0]).any()) for bias in biases]
    return any(mean is not None and bool(mean.any()) for mean in means) if not varied else all(varied)


def were_trained(model: nn.Module, parameters: set[int]) -> bool:
    """Whether linear layers and convolutions look as if they had been trained: two or more, and none as it was drawn.

    What was only drawn, by PyTorch or by a scheme such as He's, has weights as drawn, or biases that are all one number.

    Args:
        model: plain.
        parameters: ids of those whose layers are meant.
    """
    layers = [m for m in model.modules() if (weight := weight_of(m)) is not None and id(weight) in parameters]
    biases = [bias.detach() for m in layers if (bias := m._parameters.get("bias")) is not None and bias.numel() > 1]
    varied = [bool(torch.ne(bias, bias[0]).any()) for bias in biases]
    return len(biases) > 1 and all(varied) and not any(map(is_as_drawn, layers))


def is_fine_tuned(model: nn.Module) -> bool:
    """Whether half of a model's linear layers and convolutions or more look as if they had been trained.

    Args:
        model: plain.
    """
    layers = [m for m in model.modules() if weight_of(m) is not None]
    trained = [m for m in layers if not is_as_drawn(m) and _have_learned(model, [m])]
    return len(layers) > 1 and 2 * len(trained) >= len(layers)


def is_new(model: nn.Module) -> bool:
    """Whether half of a model's linear layers and convolutions or more cannot have been trained: as drawn, or of equal biases.

    Args:
        model: plain.
    """
    layers = [m for m in model.modules() if weight_of(m) is not None]
    biases = [(m, bias.detach()) for m in layers if (bias := m._parameters.get("bias")) is not None and bias.numel() > 1]
    equal = {id(m) for m, bias in biases if not bool(torch.ne(bias, bias[0]).any())}
    return bool(layers) and 2 * sum(id(m) in equal or is_as_drawn(m) for m in layers) >= len(layers)


def has_only_scalars(model: nn.Module) -> bool:
    """Whether there are trainable parameters, each of which holds one number, and no layer that sums over columns."""
    if any(isinstance(m, nn.Linear | nn.modules.conv._ConvNd | nn.Bilinear) for m in model.modules()):
        return False
    sizes = [p.numel() for p in model.parameters() if p.requires_grad and not isinstance(p, nn.UninitializedParameter)]
    return bool(sizes) and max(sizes) == 1


def _own(module: nn.Module, *, is_trained: bool) -> bool:
    return any(p.requires_grad is is_trained for p in module.parameters(recurse=False))


def _takes(behind: nn.Module, last: nn.Module, first: nn.Module) -> bool:
    """Whether a layer can take what another makes, map by map, and is not the first one's twin, as of a copied network."""
    made = getattr(last, "out_features", None) or getattr(last, "out_channels", 0)
    wanted = getattr(behind, "in_features", None) or getattr(behind, "in_channels", None) or getattr(behind, "input_size", 0)
    shapes = [getattr(getattr(m, "weight", None), "shape", None) for m in (behind, first)]
    return bool(made and wanted) and wanted % made == 0 and shapes[0] != shapes[1]


def weight_of(layer: nn.Module) -> Tensor | None:
    """The weight of a linear layer or convolution of some size, of which it can be told if it is as PyTorch drew it.

    None of any other module, and of one whose weight is computed when it is asked for: a spectral norm moves its vectors then.
    """
    weight = layer._parameters.get("weight") if isinstance(layer, _LAYERS) else None
    if weight is None or is_lazy(weight) or weight.numel() < _FEWEST_WEIGHTS:
        return None
    return weight


def is_as_drawn(layer: nn.Module) -> bool:
    """Whether the weight of a layer is what PyTorch draws for it."""
    weight = weight_of(layer)
    return weight is not None and _is_as_drawn(local(weight.detach()))


def _is_as_drawn(weight: Tensor) -> bool:
    """Whether numbers are spread evenly up to the bound of PyTorch's draw, and none is beyond."""
    if weight.dim() < 2 or weight.numel() < _FEWEST_WEIGHTS or not weight.is_floating_point() or weight.is_meta:
        return False
    bound, count = 1 / math.sqrt(weight[0].numel()), weight.numel()
    most = float(weight.abs().max()) / bound
    if not 1 - _NEAR_BOUND / count <= most <= 1 + 1e-2 * (weight.dtype != torch.float32) + 1e-6:
        return False
    read = weight.flatten()[:_MOST_WEIGHTS].double().div(bound).add(1).div(2).sort().values
    steps = torch.arange(len(read), dtype=torch.double, device=read.device) / len(read)
    distance = float(torch.maximum(read - steps, steps + 1 / len(read) - read).max())
    return distance * math.sqrt(len(read)) < _UNIFORM
