"""What `Monitor` is given; each check raises a one-line `ValueError`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainability.doctor.measure.copies import optimizers

_ONE_EACH = "; models with an optimizer each take a Monitor each, or trainability.follow() watches them all"


def check_model(model: Any) -> None:
    """Raise for what is no module; several models are told what watches them."""
    if not isinstance(model, nn.Module):
        several = _ONE_EACH if isinstance(model, (Mapping, list, tuple)) else ""
        raise ValueError(f"model is a {type(model).__name__}; expected one torch.nn.Module{several}")


def check_optimizer(optimizer: Any) -> None:
    """Raise for what is no optimizer; one that another library wraps has its `step` or `param_groups`."""
    if isinstance(optimizer, (Mapping, list, tuple)) and len(optimizer) != 1:
        raise ValueError(f"optimizer is a {type(optimizer).__name__} of {len(optimizer)}; expected one optimizer{_ONE_EACH}")
    is_one = hasattr(optimizer, "param_groups") or hasattr(optimizer, "step") or bool(optimizers(optimizer))
    if optimizer is not None and (isinstance(optimizer, type) or not is_one):
        kind = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise ValueError(f"optimizer is {kind}; expected an optimizer, such as torch.optim.Adam(model.parameters()), or None")


def check_counts(**counts: Any) -> None:
    """Raise for what is no whole number from 1."""
    for name, value in counts.items():
        if not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a whole number, at least 1")
