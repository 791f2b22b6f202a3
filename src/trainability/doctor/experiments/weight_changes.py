"""Changes of the starting weights and biases: of all layers, or of those alone that start far from any usual size."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.randomness import seed_torch
from trainability.doctor.theory.fans import fan_in_and_out

_STARTS = ("gain_budget_low", "gain_budget_high", "slow_start", "identical_units", "activation_scale", "vanishing_gradient")
_ODD = 3.0  # times what the usual schemes lie apart
_STARTS += ("exploding_gradient", "dead_units", "flat_loss", "zero_gradient", "constant_output", "plateau", "not_finite")


def _weights(variant: Variant) -> list[tuple[nn.Module, Tensor]]:
    """Weights of convolutions, linear and recurrent layers and attention, that are parameters of their own."""
    return [
        (module, parameter)
        for module in variant.parts
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.RNNBase | nn.MultiheadAttention)
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.dim() >= 2 and parameter.requires_grad and "bias" not in name
    ]


def _fans(module: nn.Module, weight: Tensor) -> tuple[int, int]:
    kind = "conv_transpose" if getattr(module, "transposed", False) else "conv"
    return fan_in_and_out(kind, weight.shape, getattr(module, "groups", 1))


def _he(fan_in: int, fan_out: int) -> float:
    return math.sqrt(2 / fan_in)


def _glorot(fan_in: int, fan_out: int) -> float:
    return math.sqrt(2 / (fan_in + fan_out))


@torch.no_grad()
def _drawn(
    variant: Variant,
    std: Callable[[int, int], float],
    layers: Callable[[Variant], list[tuple[nn.Module, Tensor]]] = _weights,
) -> None:
    generator, seen = variant.generator(), set()
    for module, weight in layers(variant):
        if id(weight) in seen:  # tied
            continue
        seen.add(id(weight))
        weight.copy_(torch.randn(weight.shape, generator=generator) * std(*_fans(module, weight)))


def _odd(variant: Variant) -> list[tuple[nn.Module, Tensor]]:
    """Weights whose root mean square no usual scheme comes near, PyTorch's default with its 1/sqrt(3 fan_in) among them."""
    found = []
    for module, weight in _weights(variant):
        fan_in, fan_out = _fans(module, weight)
        default = math.sqrt(1 / (3 * fan_in))
        size = float(weight.detach().float().square().mean().sqrt())
        low, high = min(default, _glorot(fan_in, fan_out)) / _ODD, _ODD * _he(fan_in, fan_out)
        if not low <= size <= high:
            found.append((module, weight))
    return found + _own_constants(variant)


def _own_constants(variant: Variant) -> list[tuple[nn.Module, Tensor]]:
    """Trained matrices of modules that PyTorch does not have, all of whose numbers are the same, as two factors of zeros."""
    usual = {id(weight) for _, weight in _weights(variant)}
    return [
        (module, parameter)
        for module in variant.parts
        if not type(module).__module__.startswith("torch.nn.")
        for parameter in module._parameters.values()
        if parameter is not None and parameter.requires_grad and id(parameter) not in usual and _is_constant_matrix(parameter)
    ]


def _is_constant_matrix(parameter: Tensor) -> bool:
    return parameter.dim() == 2 and min(parameter.shape) > 1 and bool((parameter == parameter[0, 0]).all())


def _is_partly_odd(variant: Variant) -> bool:
    """Whether drawing all weights anew would be another change."""
    odd = len(_odd(variant))
    return odd > 0 and (odd < len(_weights(variant)) or bool(_own_constants(variant)))


def _biases(variant: Variant) -> list[Tensor]:
    return [
        parameter
        for module in variant.parts
        if not isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for name, parameter in module._parameters.items()
        if parameter is not None
        and parameter.requires_grad
        and "bias" in name
        and parameter.dim() == 1
        and bool(parameter.any())
    ]


@torch.no_grad()
def _zero_biases(variant: Variant) -> None:
    for bias in _biases(variant):
        bias.zero_()


@torch.no_grad()
def _by_default(variant: Variant) -> None:
    seed_torch(1000 + variant.seed)
    for module in variant.parts:
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset) and any(p is not None for p in module._parameters.values()):
            reset()


def _has_weights(variant: Variant) -> bool:
    return bool(_weights(variant))


WEIGHT_CHANGES = named(
    Intervention(
        name="biases_zero",
        change="biases zero",
        applies=lambda variant: bool(_biases(variant)),
        make=_zero_biases,
        answers=("dead_units", "saturation", "zero_gradient", "flat_loss"),
        family="weights",
    ),
    Intervention(
        name="odd_weights",
        change="weights that start far from any usual size drawn by He's scheme, all others left",
        applies=_is_partly_odd,
        make=functools.partial(_drawn, std=_he, layers=_odd),
        answers=(*_STARTS, "saturation"),
        family="weights",
    ),
    Intervention(
        name="he",
        change="weights drawn by He's scheme",
        applies=_has_weights,
        make=functools.partial(_drawn, std=_he),
        answers=_STARTS,
        family="weights",
    ),
    Intervention(
        name="xavier",
        change="weights drawn by Glorot's scheme",
        applies=_has_weights,
        make=functools.partial(_drawn, std=_glorot),
        answers=(*_STARTS, "saturation"),
        family="weights",
    ),
    Intervention(
        name="default_weights",
        change="weights and biases as PyTorch draws them",
        applies=_has_weights,
        make=_by_default,
        answers=_STARTS,
        family="weights",
    ),
)
