"""Numbers of sampled steps: they wait on the device, come to the host in one copy, and are read there."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.measure import statistics
from trainability.doctor.measure.hooks import activation_fields
from trainability.doctor.measure.layers import Layer, shown_name
from trainability.doctor.theory.fans import fan_in_and_out


@dataclass(frozen=True, kw_only=True)
class Block:
    """Numbers of one kind that wait on the device.

    Attributes:
        kind: what they are, "weight_rms".
        rows: what each row of `values` is about: a layer's name, or a step's number.
        values: (rows, ...).
    """

    kind: str
    rows: tuple[Hashable, ...]
    values: Tensor


def to_host(blocks: list[Block]) -> dict[str, dict[Hashable, Any]]:
    """Bring blocks to the host in one copy: this is the only place that waits for the device.

    Returns:
        By kind and row, a number or a list of them.
    """
    if not blocks:
        return {}
    device = blocks[0].values.device
    flat = torch.cat([block.values.float().reshape(-1).to(device) for block in blocks]).cpu()
    parts = flat.split([block.values.numel() for block in blocks])
    return {
        block.kind: dict(zip(block.rows, part.view(block.values.shape).tolist(), strict=True))
        for block, part in zip(blocks, parts, strict=True)
    }


def layer_stats(row: str, layer: Layer, activation: str | None, numbers: dict[str, Any]) -> LayerStats:
    """What the numbers say of a layer, or of a weight of one that has several.

    Args:
        row: the name of the layer or weight, as in `Block.rows`.
        layer: that is sampled.
        activation: the function that follows it; None where it is not known, and of one of several weights.
        numbers: of this row, by kind.
    """
    weight = layer.weights.get(row)
    fields: dict[str, Any] = {key: numbers[key] for key in ("output_gradient_rms", "weight_rms") if key in numbers}
    if "activation" in numbers:
        fields |= activation_fields(numbers["activation"], numbers["dead"], activation)
    if "gradient" in numbers:
        found = dict(zip(statistics.GRADIENT_FIELDS, numbers["gradient"], strict=True))
        fields |= {f"gradient_{key}": found[key] for key in ("rms", "min", "max")}
        fields["gradient_nonfinite"] = not (math.isfinite(found["min"]) and math.isfinite(found["max"]))
    if "moved" in numbers and numbers["weight_rms"] > 0:
        fields["update_ratio"] = numbers["moved"] / numbers["weight_rms"]
    if "unmoved" in numbers:
        fields["unmoved_fraction"] = numbers["unmoved"]
    for key in ("weight_histogram", "gradient_histogram", "activation_histogram"):
        if key in numbers:
            fields[key] = statistics.as_histogram(numbers[key])
    if weight is not None and layer.kind in ("conv", "linear", "conv_transpose"):
        groups = getattr(layer.module, "groups", 1) if isinstance(layer.module, nn.modules.conv._ConvNd) else 1
        fields["fan_in"], fields["fan_out"] = fan_in_and_out(layer.kind, weight.shape, groups)
        fields["num_units"] = weight.shape[1] if layer.kind == "conv_transpose" else weight.shape[0]
    elif weight is not None and layer.kind == "recurrent" and weight.dim() == 2:
        fields["fan_in"] = weight.shape[1]
    return LayerStats(name=shown_name(row, layer), kind=layer.kind, activation=activation, **fields)
