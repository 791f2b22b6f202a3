"""What of a program failed, in one line: its model, its loss or its training step, and where."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator

from torch import nn

from trainability.doctor.error_line import error_place, is_raised_here
from trainability.doctor.setup import Setup

MODEL = "model(inputs)"


def failed_part(error: BaseException, setup: Setup) -> str | None:
    """Name the part of the program in which an error arose: the outermost that the traceback shows; None if it shows none."""
    codes = {
        getattr(inspect.unwrap(function), "__code__", None): name
        for function, name in (
            (setup.step, "step(model, optimizer, batch)"),
            (setup.training_step, "training_step(model, batch)"),
            (setup.loss, "loss_fn(model(inputs), labels)"),
        )
        if function is not None
    }
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if (name := codes.get(frame.f_code)) is not None:
            return name
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):  # perhaps of a copy
            return "loss_fn(model(inputs), labels)" if type(owner) is type(setup.loss_fn) else MODEL
    return None


@contextlib.contextmanager
def failures_named(setup: Setup) -> Iterator[None]:
    """Turn an error of the program's own parts into one line that names the part and the place.

    Raises:
        ValueError: a part failed.
    """
    try:
        yield
    except Exception as error:
        if is_raised_here(error) or (part := failed_part(error, setup)) is None:
            raise
        raise ValueError(f"{part} failed: {error_place(error)}") from error
