"""Draw weights by a plan, layer by layer.

Every tensor is drawn on the CPU from a generator seeded by (seed, layer), so that the weights depend neither on the device nor
on the schemes of other layers.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainability import keyed
from trainability.doctor.arguments import check_model
from trainability.doctor.theory.fans import fan_in_and_out
from trainability.doctor.told import told
from trainability.initialization.plan import InitPlan, Segment
from trainability.initialization.schemes import SCHEMES


@dataclass(frozen=True, kw_only=True)
class LayerInit:
    """One row of the initialisation table.

    Attributes:
        index: among the weight layers, from 0.
        name: as in `named_modules()`.
        shape: of the weight.
        scheme: as written in the plan, or "copied".
        std: of the scheme, or, for a copied layer, of its weight.
        gain: fan_in · std² / 2, the factor by which a layer before a ReLU, with zero bias, multiplies the signal's mean
            square.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    scheme: str
    std: float
    gain: float


WEIGHT_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def weight_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List a net's convolutions and linear layers in the order of their definition."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, WEIGHT_LAYERS)]


def fans(module: nn.Module) -> tuple[int, int]:
    """Count the inputs of one output (fan-in) and the outputs of one input (fan-out) of a weight layer."""
    kind = "conv_transpose" if getattr(module, "transposed", False) else "conv"
    return fan_in_and_out(kind, weight_of(module).shape, getattr(module, "groups", 1))


def weight_of(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def promised_std(segment: Segment, module: nn.Module) -> float:
    """Compute the standard deviation of a layer's weight under a plan's segment."""
    scheme, weight = SCHEMES[segment.scheme], weight_of(module)
    if segment.scheme == "orthogonal":
        return scheme.std(weight[0].numel(), weight.shape[0], 0)
    fan_in, fan_out = fans(module)
    return scheme.std(fan_in, fan_out, segment.value or 0)


@torch.no_grad()
def apply(plan: InitPlan, model: nn.Module, *, seed: int) -> list[LayerInit]:
    """Draw every weight layer of any net by the plan, and set its biases to zero.

    Args:
        plan: one scheme per weight layer of the net.
        model: changed in place; parameters of other types of layers stay unchanged.
        seed: decides the weights, together with the layer's number.

    Returns:
        The initialisation table, one row per weight layer.

    Raises:
        ValueError: the plan does not fit the net.
    """
    layers = weight_layers(model)
    table = []
    for index, ((name, module), segment) in enumerate(zip(layers, plan.resolve(len(layers)), strict=True)):
        scheme, weight, std = SCHEMES[segment.scheme], weight_of(module), promised_std(segment, module)
        drawn = torch.empty(weight.shape)
        scheme.fill(drawn, std, keyed.generator(seed, index))
        weight.copy_(drawn)
        if isinstance(module.bias, Tensor):
            module.bias.zero_()
        written = str(Segment(scheme=segment.scheme, value=segment.value))
        table.append(row_of(index, name, module, written, std))
    return table


def init_(model: nn.Module, plan: InitPlan | str, *, seed: int | None = None) -> nn.Module:
    """Draw the weights of any model's convolutions and linear layers by a plan, in place, and set their biases to zero.

    Args:
        model: changed in place; parameters of other types of layers stay unchanged.
        plan: from `recommend_init`, or its text: `xavier:4,normal=0.01,xavier:3`.
        seed: decides the weights, together with the layer's number; they do not depend on the device. It has to be given.

    Returns:
        The model.

    Raises:
        ValueError: no seed, an unknown scheme, the plan does not fit the model, or a weight cannot be drawn: it has no values
            yet (lazy module, meta device), or a parametrization computes it (weight norm).
    """
    check_model(model)
    if not isinstance(plan, InitPlan):
        plan = InitPlan.parse(plan)
    if not hasattr(seed, "__index__"):
        raise ValueError(f"seed is {told(seed)}; expected a whole number, as in init_(model, '{plan}', seed=0)")
    layers = weight_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to initialise")
    for name, module in layers:
        weight = module._parameters.get("weight")
        if weight is None:
            raise ValueError(
                f"the weight of {name or 'the model'} is computed by a parametrization; initialise, then parametrize"
            )
        if weight.is_meta or isinstance(weight, nn.parameter.UninitializedParameter):
            raise ValueError(f"the weight of {name or 'the model'} has no values yet; build the model and run one batch first")
    apply(plan, model, seed=operator.index(seed))  # type: ignore[arg-type]
    return model


def row_of(index: int, name: str, module: nn.Module, scheme: str, std: float) -> LayerInit:
    shape = tuple(weight_of(module).shape)
    return LayerInit(index=index, name=name, shape=shape, scheme=scheme, std=std, gain=fans(module)[0] * std**2 / 2)
