"""Which of a loop's named numbers is a validation loss, and which an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SPLITS = frozenset({"val", "valid", "validation", "eval", "dev"})
_RIGHT, _WRONG = frozenset({"acc", "accuracy", "top1"}), frozenset({"err", "error"})


def validation_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Read validation loss and top-1 error off the names that people give them.

    Args:
        metrics: number or one-element tensor by name, "val_loss", "eval_accuracy", "valid/acc"; other names are left out.

    Returns:
        "loss" and "top1_error", as far as they are there; accuracies in [0, 1] are turned into errors.
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
        if not _SPLITS & set(words):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        rest = set(words) - _SPLITS - {"epoch", "step"}
        if rest == {"loss"}:
            found["loss"] = number
        elif rest and rest <= _RIGHT and 0 <= number <= 1:
            found["top1_error"] = 1 - number
        elif rest and rest <= (_WRONG | {"top1"}) and 0 <= number <= 1:
            found["top1_error"] = number
    return found
