"""Dropout modules that leave almost nothing, and what all of them add, read from the model."""

from typing import Any

from torch import nn

from trainability.doctor.facts import LARGE_DROPOUT


def dropout_facts(model: nn.Module) -> dict[str, Any]:
    """The fields of `Facts` about dropout; empty where no module drops that much."""
    found = {
        name: float(module.p)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p >= LARGE_DROPOUT
    }
    return {"heavy_dropout": tuple(found), "dropout": max(found.values())} if found else {}


def dropout_noise(model: nn.Module) -> float:
    """Sum of p / (1 - p) over dropout modules: the relative variance of a unit that is kept with 1 - p and divided by it."""
    modules = (module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
    return sum(module.p / (1 - module.p) for module in modules if module.p < 1)
