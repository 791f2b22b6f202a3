"""Triton kernels of `conv_relu`: max pooling, and the gradient before a ReLU together with its sum over all pixels.

All tensors are channels last. This module is imported only on a GPU.
"""

import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]


@triton.jit
def pool_kernel(output, pooled, num_rows, width, channels: tl.constexpr, columns: tl.constexpr, rows: tl.constexpr):
    """Take the largest of each window's four outputs; NaN is the largest. A row is a window."""
    row = (tl.program_id(0) * rows + tl.arange(0, rows))[:, None].to(tl.int64)
    column = tl.arange(0, columns)[None, :]
    inside = (row < num_rows) & (column < channels)
    place = (2 * (row // (width // 2)) * width + 2 * (row % (width // 2))) * channels + column
    below = place + width * channels
    most = tl.load(output + place, mask=inside, other=0.0).to(tl.float32)
    other = tl.load(output + place + channels, mask=inside, other=0.0).to(tl.float32)
    most = tl.maximum(most, other, propagate_nan=tl.PropagateNan.ALL)
    other = tl.load(output + below, mask=inside, other=0.0).to(tl.float32)
    most = tl.maximum(most, other, propagate_nan=tl.PropagateNan.ALL)
    other = tl.load(output + below + channels, mask=inside, other=0.0).to(tl.float32)
    most = tl.maximum(most, other, propagate_nan=tl.PropagateNan.ALL)
    tl.store(pooled + row * channels + column, most, mask=inside)


@triton.jit
def relu_kernel(
    gradient, output, before, partial, num_rows, width, channels: tl.constexpr, columns: tl.constexpr, rows: tl.constexpr
):
    """Pass on the gradient where the output is above 0. A row is a pixel."""
    program, num_programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, columns)[None, :]
    sums = tl.zeros((rows, columns), dtype=tl.float32)
    for first in range(program * rows, num_rows, num_programs * rows):
        row = first + tl.arange(0, rows)[:, None].to(tl.int64)
        inside = (row < num_rows) & (column < channels)
        place = row * channels + column
        value = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        value = tl.where(tl.load(output + place, mask=inside, other=0.0) <= 0, 0.0, value)
        tl.store(before + place, value, mask=inside)
        sums += value
    every = tl.arange(0, columns)
    tl.store(partial + program * channels + every, tl.sum(sums, axis=0), mask=every < channels)


@triton.jit
def pooled_kernel(
    gradient, output, before, partial, num_rows, width, channels: tl.constexpr, columns: tl.constexpr, rows: tl.constexpr
):
    """Pass on a pooling's gradient to the first largest of each window's four outputs. A row is a window."""
    program, num_programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, columns)[None, :]
    sums = tl.zeros((rows, columns), dtype=tl.float32)
    for first in range(program * rows, num_rows, num_programs * rows):
        row = first + tl.arange(0, rows)[:, None].to(tl.int64)
        inside = (row < num_rows) & (column < channels)
        value = tl.load(gradient + row * channels + column, mask=inside, other=0.0).to(tl.float32)
        down, across = row // (width // 2), row % (width // 2)
        place = (2 * down * width + 2 * across) * channels + column
        below = place + width * channels
        a = tl.load(output + place, mask=inside, other=0.0).to(tl.float32)
        b = tl.load(output + place + channels, mask=inside, other=0.0).to(tl.float32)
        c = tl.load(output + below, mask=inside, other=0.0).to(tl.float32)
        d = tl.load(output + below + channels, mask=inside, other=0.0).to(tl.float32)
        most = tl.maximum(tl.maximum(a, b), tl.maximum(c, d))
        value = tl.where(most <= 0, 0.0, value)
        is_a = a == most
        is_b = (b == most) & (a != most)
        is_c = (c == most) & (a != most) & (b != most)
        is_d = (a != most) & (b != most) & (c != most)
        tl.store(before + place, tl.where(is_a, value, 0.0), mask=inside)
        tl.store(before + place + channels, tl.where(is_b, value, 0.0), mask=inside)
        tl.store(before + below, tl.where(is_c, value, 0.0), mask=inside)
        tl.store(before + below + channels, tl.where(is_d, value, 0.0), mask=inside)
        sums += value
    every = tl.arange(0, columns)
    tl.store(partial + program * channels + every, tl.sum(sums, axis=0), mask=every < channels)
