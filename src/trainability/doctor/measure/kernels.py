"""How cuDNN chooses its kernels while the doctor measures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def kernels_not_searched() -> Iterator[None]:
    """Chosen by rule in here, not by trying all of them on each new shape, whatever `torch.backends.cudnn.benchmark` says.

    What is measured once has shapes of its own. In float32 without TF32 the trial of one convolution took 9 s on an H200, and
    that of VGG's minutes.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
