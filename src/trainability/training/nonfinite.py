"""Find the layer in which the first NaN or Inf of a step appeared."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from trainability.training.engine import local_tensor


def first_nonfinite(model: nn.Module, forward_and_backward: Callable[[], object]) -> str | None:
    """Repeat a step, and check the outputs and gradients of every layer.

    Args:
        model: with the weights from before the step.
        forward_and_backward: both passes of the step; leaves gradients, which the caller clears.

    Returns:
        A phrase such as "features.7 gave Inf in the forward pass"; `None` if everything was finite.
    """
    for name, parameter in model.named_parameters():
        if (what := _what(parameter)) is not None:
            return f"the weights of {name} hold {what} before the step"
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if not isinstance(output, Tensor) or found:
                return
            if (what := _what(output)) is not None:
                found.append(f"{name} gave {what} in the forward pass")
            elif output.requires_grad:
                output.register_hook(lambda gradient: look(name, gradient))

        return hook

    def look(name: str, gradient: Tensor) -> None:
        if not found and (what := _what(gradient)) is not None:
            found.append(f"the gradient that reached {name} was {what} in the backward pass")

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        forward_and_backward()
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and (what := _what(parameter.grad)) is not None:
                return f"the gradient of {name} was {what}"
    return found[0] if found else None


def _what(values: Tensor) -> str | None:
    values = local_tensor(values.detach())
    if bool(values.isnan().any()):
        return "NaN"
    return "Inf" if bool(values.isinf().any()) else None
