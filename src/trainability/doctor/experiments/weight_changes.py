"""Changes of the starting weights and biases."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.theory.fans import fan_in_and_out

_STARTS = ("gain_budget_low", "gain_budget_high", "slow_start", "identical_units", "activation_scale", "vanishing_gradient")
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


@torch.no_grad()
def _drawn(variant: Variant, std: Callable[[int, int], float]) -> None:
    generator, seen = variant.generator(), set()
    for module, weight in _weights(variant):
        if id(weight) in seen:  # tied
            continue
        seen.add(id(weight))
        kind = "conv_transpose" if getattr(module, "transposed", False) else "conv"
        size = std(*fan_in_and_out(kind, weight.shape, getattr(module, "groups", 1)))
        weight.copy_(torch.randn(weight.shape, generator=generator) * size)


def _biases(variant: Variant) -> list[Tensor]:
    return [
        parameter
        for module in variant.parts
        if not isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for name, parameter in module._parameters.items()
        if parameter is not None and "bias" in name and parameter.dim() == 1 and bool(parameter.any())
    ]


@torch.no_grad()
def _zero_biases(variant: Variant) -> None:
    for bias in _biases(variant):
        bias.zero_()


@torch.no_grad()
def _by_default(variant: Variant) -> None:
    torch.manual_seed(1000 + variant.seed)
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
        name="he",
        change="weights drawn by He's scheme",
        applies=_has_weights,
        make=functools.partial(_drawn, std=lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
        answers=_STARTS,
        family="weights",
    ),
    Intervention(
        name="xavier",
        change="weights drawn by Glorot's scheme",
        applies=_has_weights,
        make=functools.partial(_drawn, std=lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
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
