"""How many images probe and audits use, so that they take seconds."""

import math

import torch
from torch import nn

from trainability.doctor.theory.trace import Trace, plain_module, trace

# Most multiplications of the probe's forward pass: with the backward pass, two or three seconds on two cores.
PROBE_MULTIPLICATIONS = {"cpu": 4e10, "accelerator": 4e12}
MAX_PROBE_IMAGES = 512  # the batch size of the gradients to which the predicted plateau was fitted
# Images of a split that the audits read. With 256 each of them has what it needs, for up to 12 classes; of large images, fewer.
AUDIT_VALUES, MAX_AUDIT_IMAGES = 5e6, 2048
ENOUGH_IMAGES, MOST_VALUES, MIN_AUDIT_IMAGES = 256, 4e7, 32


def multiplications(model: nn.Module, structure: Trace) -> float:
    """Count the multiplications of a forward pass of the traced shape."""
    shapes = {name: parameter.shape for name, parameter in plain_module(model).named_parameters(remove_duplicate=False)}
    total = 0.0
    for op in structure.ops:
        if op.kind in ("conv", "linear") and op.weight is not None:
            total += math.prod(op.output_shape) * math.prod(shapes[op.weight][1:])
    return total


def probe_size(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    """Choose how many images to probe with: as many as a few seconds allow, and at least two.

    Args:
        model: any.
        input_shape: of one image, without the batch.
        device: of the probe.
    """
    try:
        structure = trace(model, (2, *input_shape))
    except ValueError:
        return 32  # the cost is unknown
    each = multiplications(model, structure) / 2
    return max(
        2, min(MAX_PROBE_IMAGES, int(PROBE_MULTIPLICATIONS["cpu" if device.type == "cpu" else "accelerator"] / max(each, 1)))
    )


def audit_size(input_shape: tuple[int, ...]) -> int:
    """Choose how many images of each split to audit."""
    values = math.prod(input_shape)
    affordable = max(MIN_AUDIT_IMAGES, min(ENOUGH_IMAGES, int(MOST_VALUES / values)))
    return max(affordable, min(MAX_AUDIT_IMAGES, int(AUDIT_VALUES / values)))
