"""Rows as single numbers, to find those that are equal."""

import torch
from torch import Tensor

_MIXING = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # odd, as signed numbers


def row_hashes(rows: Tensor) -> Tensor:
    """64-bit sums of the rows' bits, mixed and times fixed random weights: equal rows, equal sums.

    Two different ones among 1e5 meet with probability 1e-9. Bits are mixed first, because few of them differ where values have
    few levels, and halves are equal where pixels were repeated.

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014 (the factors of the finaliser).
    Paper: shifts of 30, 27 and 31, the first before any product. Here: a product and a shift of 31, twice, because a sum with
    random weights follows.

    Args:
        rows: (examples, ...) float32.
    """
    rows = rows.flatten(1).contiguous()
    # Two values at once where they are even in number: half the work.
    bits = rows.view(torch.int64) if rows.shape[1] % 2 == 0 else rows.view(torch.int32).long()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator) | 1  # odd: no bit is lost
    for factor in _MIXING:
        bits = bits * factor
        bits = bits ^ (bits >> 31)
    return (bits * weights).sum(dim=1)  # wraps around, which is what a hash wants
