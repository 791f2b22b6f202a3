"""Check whether something can fit into memory before it is allocated, so that the user gets a message and no crash."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

CPU = torch.device("cpu")


def check_fits(needed_bytes: float, what: str, device: torch.device = CPU) -> None:
    """Raise if a device cannot hold something, even if its memory were empty.

    Args:
        needed_bytes: a lower bound.
        what: name of what needs the memory, as the subject of a sentence.
        device: that must hold it.

    Raises:
        ValueError: one line with both numbers.
    """
    available = available_bytes(device)
    if available is not None and needed_bytes > available:
        raise ValueError(
            f"{what} needs at least {needed_bytes / 2**30:,.1f} GiB of memory; {device.type} has {available / 2**30:,.1f} GiB"
        )


def available_bytes(device: torch.device) -> int | None:
    """Return the most memory that this process could have on a device; `None` if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type != "cpu":
        return None
    found = [_of_system(), _of_group(), resource.getrlimit(resource.RLIMIT_AS)[0]]
    return min((number for number in found if number is not None and number > 0), default=None)  # -1 means no limit


def _of_system() -> int | None:
    """Total memory and swap of the machine: memory that is in use now may become free."""
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        return sum(1024 * int(parts[1]) for parts in lines if parts[0] in ("MemTotal:", "SwapTotal:")) or None
    except (OSError, ValueError, IndexError):
        return None


def _of_group() -> int | None:
    """Memory limit of the container or the scheduler."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):  # there is no limit, or it is "max"
            continue
    return None
