"""Changes of functions that the forward pass and the loss call: gradients through what cuts them off, dropout, activations."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import cloned, first_examples, tensors
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant, look
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import random_state, randomness_restored
from trainability.doctor.measure.workspace import set_training

Call = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Calls a function of torch, or another one in its place."""

_DETACHING = (Tensor.detach, torch.detach, Tensor.data.__get__, torch.tensor)  # type: ignore[attr-defined]
_READ = (Tensor.__float__, Tensor.__int__, Tensor.__array__, Tensor.__format__, Tensor.item, Tensor.numpy, Tensor.tolist)
_ROUNDING = (torch.round, torch.floor, torch.ceil, torch.trunc, Tensor.round, Tensor.floor, Tensor.ceil, Tensor.trunc)
_SIGNS = (torch.sign, torch.sgn, torch.heaviside, Tensor.sign, Tensor.sgn, Tensor.heaviside)
_ABOVE, _BELOW = (torch.gt, torch.ge, Tensor.gt, Tensor.ge), (torch.lt, torch.le, Tensor.lt, Tensor.le)
_AS_NUMBERS = (Tensor.float, Tensor.double, Tensor.to, Tensor.type, Tensor.type_as)
_TWO_SIDED = ("add", "sub", "mul", "div", "true_divide", "eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum")
_TWO_SIDED_NAMES = {
    *_TWO_SIDED,
    *(f"__{prefix}{name}__" for name in (*_TWO_SIDED, "truediv") for prefix in ("", "r")),
    *("rsub", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "poisson_nll_loss"),
}
_EXAMPLES, _MOST_CUTS = 16, 12
_DROPPING = (F.dropout, F.alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.feature_alpha_dropout)


class _Exchanging(TorchFunctionMode):
    """Exchanges functions of torch that the loop calls, but for those that an optimizer's step calls."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call, self.acts = call, True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        words = kwargs or {}
        return self.call(func, args, words) if self.acts else func(*args, **words)

    def pause(self, *_: Any) -> None:
        self.acts = False

    def go_on(self, *_: Any) -> None:
        self.acts = True


def _exchange(variant: Variant, call: Call) -> None:
    mode = _Exchanging(call)
    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(mode.pause).remove)
        variant.closing.callback(optimizer.register_step_post_hook(mode.go_on).remove)
    variant.closing.enter_context(mode)


class _Undetached:
    """Hands on what gradients are cut off at, and has derivatives that can be differentiated themselves.

    What cuts them off is numbered from 1 in each pass through the loop's body.

    Attributes:
        only: numbers of those that are undone; None for all.
        seen: how many there were in a pass, at most.
    """

    def __init__(self, variant: Variant, only: frozenset[int] | None = None) -> None:
        self.only, self.number, self.seen = only, 0, 0
        own = variant.step or variant.training_step
        if own is None:
            variant.closing.callback(modules(variant.model)[0].register_forward_pre_hook(self._begin).remove)
            return

        def passing(*args: Any) -> Any:
            self._begin()
            return own(*args)

        setattr(variant, "step" if variant.step is not None else "training_step", passing)

    def _begin(self, *_: Any) -> None:
        self.number = 0

    def __call__(self, func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        if func in _READ:
            return func(args[0].detach(), *args[1:], **words)
        is_off = func is torch._C._set_grad_enabled and args == (False,)
        if not (is_off or func in _DETACHING or func is torch.autograd.grad):
            return func(*args, **words)
        self.number += 1
        self.seen = max(self.seen, self.number)
        if self.only is not None and self.number not in self.only:
            return func(*args, **words)
        if is_off:
            return func(True)
        if func is torch.autograd.grad:
            return func(*args, **{**words, "create_graph": True})
        given = args[0] if args else None
        return given if isinstance(given, Tensor) and given.requires_grad else func(*args, **words)


def _undetach(variant: Variant) -> None:
    """Undoes one of what cuts gradients off, where that reaches as much as all do: a GAN's critic is cut off on purpose.

    The last that does, since its generator's own step comes behind the critic's.
    """
    before, every = _reached(variant, None), _Undetached(variant)
    gained = _reached(variant, every) - before
    alone = (frozenset({number}) for number in range(min(every.seen, _MOST_CUTS), 0, -1))
    only = next((one for one in alone if gained <= _reached(variant, _Undetached(variant, one))), None) if gained else None
    _exchange(variant, _Undetached(variant, only))


def _straight(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
    """The same values, and a derivative of what is flat between its steps.

    Of rounding it is 1; of a sign, and of a comparison once it is made a number, that of a line from -1 to 1 (Hubara et al.,
    Binarized neural networks, 2016, section 1.3).
    """
    value = func(*args, **words)
    given = args[0] if args and isinstance(args[0], Tensor) else None
    if given is None or not isinstance(value, Tensor):
        return value
    if func in (*_ABOVE, *_BELOW) and given.requires_grad:
        line = (given - args[1]).clamp(-1, 1)
        value.behind = line if func in _ABOVE else -line  # type: ignore[attr-defined]
    elif func in _ROUNDING and given.requires_grad:
        return value + (given - given.detach())
    elif func in _SIGNS and given.requires_grad:
        line = given.clamp(-1, 1)
        return value + (line - line.detach())
    elif func in _AS_NUMBERS and value.is_floating_point() and hasattr(given, "behind"):
        behind = given.behind  # type: ignore[attr-defined]
        return value + (behind - behind.detach())
    return value


def _passed(variant: Variant) -> None:
    """One forward pass, and backward where the loop's body does not do it, on a few examples."""
    loop, batch = variant.loop(), first_examples(variant.reference, _EXAMPLES)
    if loop.forward_only is None:
        judge, variant.judge = variant.judge, None
        look(variant, loop, batch, random_state())
        variant.judge = judge
        return
    gradients = [(parameter, parameter.grad) for parameter in variant.parameters]
    try:
        for parameter in variant.parameters:
            parameter.grad = None
        with torch.enable_grad(), randomness_restored(), loop.undisturbed(afresh=True):
            scalar(loop.forward_only(variant.model, cloned(batch))).backward()
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _reached(variant: Variant, call: Call | None) -> set[int]:
    """Parameters that the optimizers hold and that get a gradient other than zero."""
    reached: set[int] = set()

    def seen(key: int) -> Callable[[Tensor], None]:
        return lambda gradient: reached.add(key) if bool(gradient.any()) else None

    with contextlib.ExitStack() as stack:
        for parameter in (p for group in variant.groups for p in group["params"] if p.requires_grad):
            stack.callback(parameter.register_hook(seen(id(parameter))).remove)
        if call is not None:
            stack.enter_context(_Exchanging(call))
        stack.enter_context(contextlib.suppress(RuntimeError))  # a loss without any gradient
        _passed(variant)
    return reached


def _reaches_more(variant: Variant, call: Call) -> bool:
    held = {id(p) for group in variant.groups for p in group["params"] if p.requires_grad}
    before = _reached(variant, None)
    return before < held and bool(_reached(variant, call) - before)


def _watched(variant: Variant, seen: Call) -> None:
    """A pass in training mode, in which `seen` makes every call."""
    for model in modules(variant.model):
        set_training(model, True)
    with _Exchanging(seen):
        _passed(variant)


def calls_dropout(variant: Variant) -> bool:
    """Whether functions that drop units are called in training."""
    called = [False]

    def seen(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        called[0] |= func in _DROPPING and words.get("p", args[1] if len(args) > 1 else 0.5) > 0
        return func(*args, **words)

    _watched(variant, seen)
    return called[0]


def without_dropout_calls(variant: Variant) -> None:
    """Functions that drop units return what they are given."""

    def kept(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        if func in _DROPPING:
            return words.get("input", args[0] if args else None)
        if func is F.scaled_dot_product_attention and "dropout_p" in words:
            return func(*args, **{**words, "dropout_p": 0.0})
        return func(*args, **words)

    _exchange(variant, kept)


def _meets(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether one number an example meets as many in a column, (n,) and (n, 1), so that each is held against all."""
    if len(args) < 2 or getattr(func, "__name__", "") not in _TWO_SIDED_NAMES:
        return False
    shapes = [tuple(part.shape) for part in args[:2] if isinstance(part, Tensor)]
    flat = next((shape for shape in shapes if len(shape) == 1 and shape[0] > 1), None)
    return flat is not None and (*flat, 1) in shapes


def spreads(variant: Variant) -> bool:
    """Whether (n,) meets (n, 1) in the forward pass or the loss."""
    met = [False]

    def seen(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        met[0] |= _meets(func, args)
        return func(*args, **words)

    _watched(variant, seen)
    return met[0]


def without_spreading(variant: Variant) -> None:
    """What is (n, 1) is taken as (n,) where it meets that."""

    def call(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        if not _meets(func, args):
            return func(*args, **words)
        return func(*(part.flatten() for part in args[:2]), *args[2:], **words)

    _exchange(variant, call)


class _Numbered:
    """Numbers the calls of some functions within each forward pass of one model."""

    def __init__(self, variant: Variant, functions: tuple[Any, ...], stack: contextlib.ExitStack) -> None:
        self.functions, self.number, self.inside = functions, 0, False
        (model,) = modules(variant.model)
        stack.callback(model.register_forward_pre_hook(self._begins).remove)
        stack.callback(model.register_forward_hook(self._ends, always_call=True).remove)

    def _begins(self, *_: Any) -> None:
        self.number, self.inside = 0, True

    def _ends(self, *_: Any) -> None:
        self.inside = False

    def of(self, func: Any) -> int | None:
        """The number of this call, from 1; None of other functions, and outside of the model."""
        if not self.inside or func not in self.functions:
            return None
        self.number += 1
        return self.number


def hidden_calls(variant: Variant, functions: tuple[Any, ...]) -> set[int]:
    """Numbers of the calls of these functions in a forward pass of the model, but for those whose result it returns."""
    if len(modules(variant.model)) != 1:
        return set()
    made: dict[int, Tensor] = {}
    returned: list[Any] = []

    def seen(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        value, number = func(*args, **words), calls.of(func)
        if number is not None:
            made[number] = value
        return value

    with contextlib.ExitStack() as stack:
        calls = _Numbered(variant, functions, stack)
        model = modules(variant.model)[0]
        stack.callback(model.register_forward_hook(lambda _, args, output: returned.append(output)).remove)
        _watched(variant, seen)
    last = {tensor.data_ptr() for output in returned for _, tensor in tensors(output)}
    return {number for number, value in made.items() if value.data_ptr() not in last}


def exchange_calls(variant: Variant, functions: tuple[Any, ...], new: Callable[[Tensor], Tensor]) -> None:
    """Makes `hidden_calls` of these functions calls of another one."""
    hidden = hidden_calls(variant, functions)
    if not hidden:
        return
    calls = _Numbered(variant, functions, variant.closing)

    def call(func: Callable[..., Any], args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        return new(args[0]) if calls.of(func) in hidden and args else func(*args, **words)

    _exchange(variant, call)


_CUT_OFF = (
    "unreached_parameter.detached",
    "unmoved_parameter.without_gradient",
    "untrained_parameter.no_gradient",
    "zero_gradient",
    "flat_loss",
)

FUNCTION_CHANGES = named(
    Intervention(
        name="detach_off",
        change="gradients through detach(), .data, no_grad() and derivatives",
        applies=lambda variant: _reaches_more(variant, _Undetached(variant)),
        make=_undetach,
        answers=(*_CUT_OFF, "flat_derivative"),
        is_counted=True,
    ),
    Intervention(
        name="straight_through",
        change="gradients through rounding, signs and comparisons",
        applies=lambda variant: _reaches_more(variant, _straight),
        make=lambda variant: _exchange(variant, _straight),
        answers=(*_CUT_OFF, "unmoved_parameter.step_function"),
        is_counted=True,
    ),
)
