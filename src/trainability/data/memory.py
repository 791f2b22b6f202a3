"""Whether something can fit into memory at all, before it is made: a message in place of a machine without memory."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

CPU = torch.device("cpu")


def check_fits(needed_bytes: float, what: str, device: torch.device = CPU) -> None:
    """Refuse what a device cannot hold, even if nothing else were on it.

    Args:
        needed_bytes: at the least.
        what: needs it, as the subject of a sentence.
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
    """Say how much memory this process could have on a device at the most; `None` where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type != "cpu":
        return None
    found = [_of_system(), _of_group(), resource.getrlimit(resource.RLIMIT_AS)[0]]
    return min((number for number in found if number is not None and number > 0), default=None)  # no limit is -1


def _of_system() -> int | None:
    """Memory and swap of the machine, used or not: what others use now, they may give back."""
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        return sum(1024 * int(parts[1]) for parts in lines if parts[0] in ("MemTotal:", "SwapTotal:")) or None
    except (OSError, ValueError, IndexError):
        return None


def _of_group() -> int | None:
    """What the container or the scheduler grants."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return None
