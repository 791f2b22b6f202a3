"""How many images a look takes, so that it ends within seconds."""

import math

import torch
from torch import nn

from trainability.doctor.theory.trace import Trace, trace

# Multiplications of one forward pass that the probe may cost: two or three seconds on two cores, with the way back.
PROBE_MULTIPLICATIONS = {"cpu": 4e10, "accelerator": 4e12}
MAX_PROBE_IMAGES = 512  # behind each gradient that the predicted plateau was fitted to
AUDIT_VALUES, MAX_AUDIT_IMAGES, MIN_AUDIT_IMAGES = 5e6, 2048, 32


def multiplications(model: nn.Module, structure: Trace) -> float:
    """Count the multiplications of a forward pass of the traced shape."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    total = 0.0
    for op in structure.ops:
        if op.kind in ("conv", "linear") and op.weight is not None:
            total += math.prod(op.output_shape) * math.prod(shapes[op.weight][1:])
    return total


def probe_size(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    """Choose how many images to probe with: as many as a few seconds allow, two at the least.

    Args:
        model: any.
        input_shape: of one image, without the batch.
        device: where it will be probed.
    """
    try:
        structure = trace(model, (2, *input_shape))
    except ValueError:
        return 32  # nothing is known about its cost
    each = multiplications(model, structure) / 2
    return max(
        2, min(MAX_PROBE_IMAGES, int(PROBE_MULTIPLICATIONS["cpu" if device.type == "cpu" else "accelerator"] / max(each, 1)))
    )


def audit_size(input_shape: tuple[int, ...]) -> int:
    """Choose how many images of each split to audit."""
    return max(MIN_AUDIT_IMAGES, min(MAX_AUDIT_IMAGES, int(AUDIT_VALUES / math.prod(input_shape))))
