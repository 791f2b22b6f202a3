"""The initialisation schemes by name: the standard deviation of each, and how it draws a weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way to draw a weight tensor.

    `std(fan_in, fan_out, value)` returns the standard deviation; `fill(weight, std, generator)` draws into a tensor of shape
    (fan_out-like, fan_in-like, ...). `value` describes the parameter that a plan must give, if any.
    """

    std: Callable[[int, int, float], float]
    fill: Callable[[Tensor, float, torch.Generator], object]
    value: str | None
    source: str


def _fill_normal(weight: Tensor, std: float, generator: torch.Generator) -> object:
    return weight.normal_(0, std, generator=generator)


def _fill_uniform(weight: Tensor, std: float, generator: torch.Generator) -> object:
    bound = math.sqrt(3) * std  # Var(U(-a, a)) = a² / 3
    return weight.uniform_(-bound, bound, generator=generator)


def _fill_orthogonal(weight: Tensor, std: float, generator: torch.Generator) -> object:
    # std is 1 / sqrt(longer side) of the (out, fan_in) matrix times the gain; nn.init wants the gain.
    rows, columns = weight.shape[0], weight[0].numel()
    return nn.init.orthogonal_(weight, gain=std * math.sqrt(max(rows, columns)), generator=generator)


def _glorot_std(fan_in: int, fan_out: int, value: float) -> float:
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in: int, fan_out: int, value: float) -> float:
    return math.sqrt(2 / fan_in)


SCHEMES: dict[str, Scheme] = {
    "xavier": Scheme(std=_glorot_std, fill=_fill_uniform, value=None, source="Glorot & Bengio 2010, eq. 16"),
    "xavier-normal": Scheme(std=_glorot_std, fill=_fill_normal, value=None, source="Glorot & Bengio 2010, eq. 12"),
    "he": Scheme(std=_he_std, fill=_fill_normal, value=None, source="He et al. 2015, eq. 10"),
    "he-uniform": Scheme(std=_he_std, fill=_fill_uniform, value=None, source="He et al. 2015, eq. 10"),
    "lecun": Scheme(
        std=lambda fan_in, fan_out, value: math.sqrt(1 / fan_in),
        fill=_fill_normal,
        value=None,
        source="LeCun et al. 1998, eq. 16",
    ),
    "orthogonal": Scheme(
        # Rows (or columns, whichever are fewer) are orthonormal: mean square 1 / longer side. fan_out includes the kernel's
        # area, so `apply` passes the sides of the matrix instead.
        std=lambda columns, rows, value: 1 / math.sqrt(max(rows, columns)),
        fill=_fill_orthogonal,
        value=None,
        source="Saxe et al. 2014, section 3",
    ),
    "normal": Scheme(
        std=lambda fan_in, fan_out, value: value,
        fill=_fill_normal,
        value="the standard deviation",
        source="Simonyan & Zisserman 2014, section 3.1",
    ),
    "uniform": Scheme(
        std=lambda fan_in, fan_out, value: value / math.sqrt(3),
        fill=_fill_uniform,
        value="the bound",
        source="U(-a, a)",
    ),
}
