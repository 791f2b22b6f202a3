"""Fan-in and fan-out of a weight."""

import math
from collections.abc import Sequence


def fan_in_and_out(kind: str, shape: Sequence[int], groups: int = 1) -> tuple[int, int]:
    """Count the inputs of one output unit (fan-in) and the outputs of one input unit (fan-out), at stride 1.

    Args:
        kind: of the layer, as in `trace.Op`; only "conv_transpose" differs from the others.
        shape: of the weight: (out, in / groups, *kernel), for a transposed convolution (in, out / groups, *kernel).
        groups: of the convolution.
    """
    area = math.prod(shape[2:])
    if kind == "conv_transpose":
        return shape[0] // groups * area, shape[1] * area
    return shape[1] * area, shape[0] // groups * area
