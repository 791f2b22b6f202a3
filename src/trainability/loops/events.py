"""What happens in a loop that is not ours to edit: backward passes, clipping, scaling, weights that are kept and put back."""

from __future__ import annotations

import contextlib
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from trainability.doctor.error_line import error_line
from trainability.doctor.measure.pass_scales import Divisors, divisors_of
from trainability.doctor.measure.replaced import replaced
from trainability.doctor.measure.whole_step import is_turned


class Listener(Protocol):
    """Is told of the events; an error in it is named once and never reaches the loop."""

    def on_backward(self, loss: Tensor, scaler: Any, *, divisors: Divisors, is_turned: bool) -> None:
        """A backward pass from one number is over; `loss` is not scaled, `scaler` scaled it; see `divisors_of`.

        Its gradients are those of the number's negative if it `is_turned`, as by `loss.backward(torch.tensor(-1.0))`.
        """
        ...

    def on_derivatives(self, loss: Tensor) -> None:
        """`torch.autograd.grad` has taken derivatives of one number for parameters, which the loop may make gradients of."""
        ...

    def on_clip(self, parameters: list[Tensor]) -> None:
        """The gradients of these parameters are about to be clipped."""
        ...

    def on_clear(self, owner: Any) -> None:
        """`zero_grad` of an optimizer or a module is about to clear gradients."""
        ...

    def on_scaler_step(self, optimizer: Any) -> None:
        """A loss scaler has stepped this optimizer, or has left its step out."""
        ...

    def on_state(self, module: torch.nn.Module) -> None:
        """A module has given its `state_dict()`."""
        ...

    def on_load(self, module: torch.nn.Module, state: Any) -> None:
        """A module is about to get a state by `load_state_dict`."""
        ...


_CLIPS = ("clip_grad_norm_", "clip_grad_value_")


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of the events while the block runs; `torch`'s functions are put back afterwards."""
    scaled: dict[int, tuple[Any, Tensor, Any]] = {}  # what a scaler made, what of, and the scaler
    tell = Guard()

    def backward(original: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> Any:
        loss = tensors if isinstance(tensors, Tensor) and tensors.numel() == 1 else None
        kept, plain, scaler = scaled.pop(id(loss), (None, loss, None))
        divisors: list[Divisors] = []
        if plain is not None:
            tell(lambda: divisors.append(divisors_of(plain, args, kwargs)))
        result = original(tensors, *args, **kwargs)
        if plain is not None and divisors and (kept is None or kept() is loss):
            turned = is_turned(args[0] if args else kwargs.get("grad_tensors"))
            tell(lambda: listener.on_backward(plain, scaler, divisors=divisors[0], is_turned=turned))
        return result

    def derive(original: Callable[..., Any], outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, Iterator):  # as of model.parameters(), which can be read once
            inputs = tuple(inputs)
        result = original(outputs, inputs, *args, **kwargs)
        caller = sys._getframe(2)  # 1 is the wrapper of `replaced`
        is_own = caller.f_globals.get("__name__", "").startswith("trainability.")  # what is measured on the way
        loss = _number_by_parameters(outputs, inputs)
        if loss is not None and not is_own and not kwargs.get("create_graph"):
            tell(lambda: listener.on_derivatives(loss))
        return result

    def scale(original: Callable[..., Any], self: Any, outputs: Any) -> Any:
        result = original(self, outputs)
        if isinstance(outputs, Tensor) and isinstance(result, Tensor) and result is not outputs:
            scaled.clear()  # one at a time: a loss that is scaled is the next to go backward
            scaled[id(result)] = (weakref.ref(result), outputs, self)
        return result

    def scaler_step(original: Callable[..., Any], self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, optimizer, *args, **kwargs)
        tell(lambda: listener.on_scaler_step(optimizer))
        return result

    def clip(original: Callable[..., Any], parameters: Any, *args: Any, **kwargs: Any) -> Any:
        parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)  # a generator can be read once
        tell(lambda: listener.on_clip(parameters))
        return original(parameters, *args, **kwargs)

    def clear(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
        tell(lambda: listener.on_clear(self))
        return original(self, *args, **kwargs)

    def state(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not args and kwargs.get("destination") is None:  # as a module asks its parts
            tell(lambda: listener.on_state(self))
        return result

    def load(original: Callable[..., Any], self: Any, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        tell(lambda: listener.on_load(self, state_dict))
        return original(self, state_dict, *args, **kwargs)

    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(torch.nn.Module, "state_dict", state))
        stack.enter_context(replaced(torch.nn.Module, "load_state_dict", load))
        stack.enter_context(replaced(torch.autograd, "backward", backward))
        stack.enter_context(replaced(torch.autograd, "grad", derive))
        stack.enter_context(replaced(torch.amp.GradScaler, "scale", scale))
        stack.enter_context(replaced(torch.amp.GradScaler, "step", scaler_step))
        for owner in (torch.optim.Optimizer, torch.nn.Module):
            stack.enter_context(replaced(owner, "zero_grad", clear))
        for name in _CLIPS:
            stack.enter_context(replaced(torch.nn.utils, name, clip))
        yield


class Guard:
    """Runs what a listener does; its first error is named, and it is left alone from then on."""

    def __init__(self) -> None:
        self.has_failed = False

    def __call__(self, action: Callable[[], None]) -> None:
        if self.has_failed:
            return
        try:
            action()
        except Exception as error:
            self.has_failed = True
            with contextlib.suppress(Warning):
                warnings.warn(f"the loop is no longer followed: {error_line(error)}", RuntimeWarning, stacklevel=3)


def _number_by_parameters(outputs: Any, inputs: Any) -> Tensor | None:
    """The one number among the arguments of `torch.autograd.grad`, if all of its inputs are parameters."""
    of = [outputs] if isinstance(outputs, Tensor) else outputs
    by = [inputs] if isinstance(inputs, Tensor) else [*(inputs.values() if isinstance(inputs, dict) else inputs)]
    if not (isinstance(of, list | tuple) and len(of) == 1 and isinstance(of[0], Tensor) and of[0].numel() == 1):
        return None
    return of[0] if by and all(isinstance(p, torch.nn.Parameter) for p in by) else None


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    """The parameters in an optimizer's groups."""
    return (p for group in optimizer.param_groups for p in group["params"])
