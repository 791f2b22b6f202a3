"""Random state of Python, NumPy and torch: saved, put back."""

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch

from trainability.doctor.measure.own_generators import generators_kept
from trainability.doctor.measure.uninterrupted import uninterrupted


def random_state() -> dict[str, Any]:
    """Read every global generator: Python's, NumPy's where it is loaded, torch's on the CPU and on each CUDA device."""
    numpy = sys.modules.get("numpy")
    started = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state() if numpy is not None else None,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if started else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    random.setstate(state["python"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and state["numpy"] is not None:
        numpy.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def randomness_restored() -> Iterator[dict[str, Any]]:
    """Put the random state back at the end, also after an exception; yield it.

    So is whether gradients are recorded: Ctrl-C within the exit of `torch.no_grad` leaves them off.
    """
    state, records = random_state(), torch.is_grad_enabled()
    try:
        yield state
    finally:
        with uninterrupted():
            set_random_state(state)
            torch.set_grad_enabled(records)


def seed_all(seed: int) -> None:
    """Seed every global generator; the caller puts the random state back."""
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed)
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed torch's global generators; the caller puts the random state back.

    Of the devices that have been started. `torch.manual_seed` also notes the seed, with a stack trace, for each kind of device
    that has not: a millisecond a call, and the notes are kept until one starts.
    """
    torch.default_generator.manual_seed(seed)
    for device in (torch.cuda, torch.xpu):
        if device.is_initialized():
            device.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def generators_restored(loader: Any) -> Iterator[None]:
    """Put the generators that reading a loader draws from back, also after an exception (see `generators_kept`)."""
    restore = generators_kept(loader)
    try:
        yield
    finally:
        with uninterrupted():
            for action in restore:
                action()
