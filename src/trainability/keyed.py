"""Random numbers as functions of (seed, epoch, position), without a generator's state.

Every random draw of training belongs to one example: its crop, its flip, its dropped hidden units. Each draw is a hash of the
example's key, so it does not depend on batch size, gradient accumulation, number of processes or a resume, and there is no
random state to save.

The hash is the 32-bit finaliser of MurmurHash3 in int32 tensor arithmetic, which wraps around; CPU and GPU give equal results.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MASK64 = 2**64 - 1


def fold(*values: int) -> int:
    """Hash integers to one integer of 63 bits, a seed for a generator (splitmix64 over each value in turn)."""
    state = 0
    for value in values:
        state = (state + (value & _MASK64) + _GOLDEN) & _MASK64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK64
        state ^= state >> 31
    return state >> 1


def generator(*values: int) -> torch.Generator:
    """Make a CPU generator seeded by a hash of the values."""
    return torch.Generator().manual_seed(fold(*values))


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


_C1, _C2, _STEP = _signed32(0x85EBCA6B), _signed32(0xC2B2AE35), _signed32(_GOLDEN)


def mix(values: Tensor) -> Tensor:
    """Hash int32 values to int32; the mapping is one-to-one."""
    # `>>` on int32 is an arithmetic shift; the masks make it the logical shift that the hash needs.
    # In place where the operand is ours: half the memory to move.
    for shift, mask, factor in ((16, 0xFFFF, _C1), (13, 0x7FFFF, _C2)):
        values = (values >> shift).bitwise_and_(mask).bitwise_xor_(values).mul_(factor)
    return (values >> 16).bitwise_and_(0xFFFF).bitwise_xor_(values)


def example_keys(seed: int, epoch: int, positions: Tensor) -> Tensor:
    """Compute the keys of examples in an epoch.

    Args:
        seed: the run's random seed.
        epoch: counted from 0.
        positions: (batch,) int64, positions in the epoch's order, on any device.

    Returns:
        (batch,) int32 on the device of `positions`.
    """
    base = fold(seed, epoch)
    return mix(mix(positions.to(torch.int32) * _STEP + _signed32(base)) ^ _signed32(base >> 31))


def stream(keys: Tensor, number: int) -> Tensor:
    """Derive an independent key per example for one purpose: the dropout of a layer, the crop, the flip.

    Args:
        keys: (batch,) int32.
        number: of the purpose; every purpose has its own.

    Returns:
        (batch,) int32.
    """
    return mix(keys ^ _signed32(fold(number)))


def streams(keys: Tensor, numbers: tuple[int, ...]) -> Tensor:
    """Derive the keys of several purposes at once; each row is `stream` of its number.

    Args:
        keys: (batch,) int32.
        numbers: of the purposes.

    Returns:
        (purposes, batch) int32.
    """
    return mix(keys ^ _codes_of(numbers, keys.device))


@functools.cache
def _codes_of(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Hashes of purposes, (purposes, 1) int32; kept, because a copy to the device waits for it."""
    return torch.tensor([[_signed32(fold(number))] for number in numbers], dtype=torch.int32, device=device)


def integers(keys: Tensor, high: Tensor | int) -> Tensor:
    """Draw one integer per example, uniform over [0, high).

    Args:
        keys: (batch,) int32.
        high: number of values, per example or for all; below 2**16, so that the bias of the division is below 2**-16.

    Returns:
        (batch,) int64.
    """
    return ((mix(keys).to(torch.int64) & 0xFFFFFFFF) * high) >> 32


def unit_codes(num_units: int, device: torch.device | str) -> Tensor:
    """Hash the indices of a layer's units, once per layer. Returns (num_units,) int32."""
    return mix(torch.arange(num_units, dtype=torch.int32, device=device) * _STEP)


def dropped(keys: Tensor, codes: Tensor, probability: float) -> Tensor:
    """Draw for every example and unit whether it is dropped.

    Args:
        keys: (batch,) int32, this layer's stream.
        codes: (units,) int32 from `unit_codes`.
        probability: of dropping, in [0, 1).

    Returns:
        (batch, units) bool, true if dropped.
    """
    return mix(keys[:, None] ^ codes) < int(probability * 2**32) - 2**31
