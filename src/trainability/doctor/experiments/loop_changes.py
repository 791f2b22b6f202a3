"""Changes of the loop: gradients cleared, the step in its place, a plain loop, training mode, means, larger batches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, joined
from trainability.doctor.experiments.data_changes import pairs
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.workspace import set_training

_JOINED = 8


def _clear(model: Any, optimizer: Any) -> None:
    held = [p for item in optimizers(optimizer) for group in item.param_groups for p in group["params"]]
    for parameter in (*held, *(p for item in modules(model) for p in item.parameters())):
        parameter.grad = None


def _cleared(variant: Variant) -> None:
    """Clears before the body, and before each call of a closure that the body hands to an optimizer's step."""
    body = variant.step
    assert body is not None

    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        _clear(model, optimizer)

        def clearing(own: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(closure: Callable[[], Any] | None = None, **words: Any) -> Any:
                if closure is None:
                    return own(**words)

                def afresh() -> Any:
                    _clear(model, optimizer)
                    return closure()

                return own(afresh, **words)

            return stepped

        with _Exchanged(*((item, "step", clearing(item.step)) for item in optimizers(optimizer))):
            return body(model, optimizer, batch)

    variant.step = step


def _nothing(closure: Callable[[], Any] | None = None, **_: Any) -> Any:
    return closure() if closure is not None else None


class _Exchanged:
    """Exchanges methods for a while, on these objects only."""

    def __init__(self, *methods: tuple[Any, str, Callable[..., Any]]) -> None:
        self.methods = methods

    def __enter__(self) -> None:
        self.own = [vars(item).get(name) for item, name, _ in self.methods]
        for item, name, method in self.methods:
            object.__setattr__(item, name, method)

    def __exit__(self, *error: object) -> None:
        for (item, name, _), own in zip(self.methods, self.own, strict=True):
            object.__delattr__(item, name)
            if own is not None:
                object.__setattr__(item, name, own)


def _in_order(variant: Variant) -> None:
    """Clears, runs the body with `step` and `zero_grad` doing nothing, then steps once."""
    body = variant.step
    assert body is not None

    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        _clear(model, optimizer)
        own, models = optimizers(optimizer), modules(model)
        methods = [(item, name, _nothing) for item in own for name in ("step", "zero_grad")]
        with _Exchanged(*methods, *((item, "zero_grad", _nothing) for item in models)):
            loss = body(model, optimizer, batch)
        for item in own:
            item.step()
        return loss

    variant.step = step


def _has_own_loss(variant: Variant) -> bool:
    """Whether a body came with the loss that it computes, so that a plain loop can be written for it."""
    has_loss = variant.training_step is not None or variant.loss_fn is not None
    return variant.step is not None and has_loss and len(modules(variant.model)) == len(variant.optimizers) == 1


def _plain(variant: Variant) -> None:
    variant.step = None


def _is_evaluated(variant: Variant) -> bool:
    rehearsal = variant.evidence.rehearsal
    return rehearsal is not None and bool(rehearsal.in_evaluation_mode)


def _in_training_mode(variant: Variant) -> None:
    for model in modules(variant.model):

        def train(module: nn.Module, args: Any) -> None:
            if torch.is_grad_enabled():
                set_training(module, True)

        variant.closing.callback(model.register_forward_pre_hook(train).remove)


def loss_of(variant: Variant) -> Callable[[Any, Any], Tensor] | None:
    """The loss of the model on a batch, as the program computes it; None where its body does that and steps."""
    forward = variant.loop().forward_only
    return None if forward is None else lambda model, batch: scalar(forward(model, batch))


def _is_sum(variant: Variant) -> bool:
    """Whether the loss doubles with the batch."""
    forward, twice = loss_of(variant), joined([variant.reference, variant.reference])
    size = batch_size(variant.reference)
    if forward is None or twice is None or size is None or size < 2 or len(modules(variant.model)) != 1:
        return False
    model = modules(variant.model)[0]
    modes = [(module, module.training) for module in model.modules()]
    try:
        set_training(model, False)
        with torch.no_grad():
            one, two = float(forward(variant.model, variant.reference)), float(forward(variant.model, twice))
    except Exception:
        return False
    finally:
        for module, training in modes:
            module.training = training
    return abs(two - 2 * one) < 0.02 * abs(one) and one != 0


def _mean(variant: Variant) -> None:
    forward = loss_of(variant)
    assert forward is not None
    variant.judge = forward
    variant.training_step = lambda model, batch: forward(model, batch) / (batch_size(batch) or 1)


def _larger(variant: Variant) -> None:
    batches = variant.batches
    count = min(_JOINED, len(batches))
    together = [joined([batches[(start + k) % len(batches)] for k in range(count)]) for start in range(0, len(batches), count)]
    variant.batches = [batch for batch in together if batch is not None]


LOOP_CHANGES = named(
    Intervention(
        name="zero_grad",
        change="gradients cleared before each step",
        applies=lambda variant: variant.step is not None,
        make=_cleared,
        answers=("stale_gradients", "missing_zero_grad"),
    ),
    Intervention(
        name="step_in_order",
        change="zero_grad, backward and step in their order, once each",
        applies=lambda variant: variant.step is not None and bool(variant.optimizers),
        make=_in_order,
        answers=("never_steps", "zero_gradient", "stale_gradients", "unmoved_parameter", "flat_loss"),
    ),
    Intervention(
        name="plain_loop",
        change="zero_grad, the loss given beside the body, backward and step in place of the body",
        applies=_has_own_loss,
        make=_plain,
        answers=("never_steps", "zero_gradient", "stale_gradients", "flat_loss", "foreign_optimizer", "wrong_sign"),
    ),
    Intervention(
        name="train_mode",
        change="training mode in training",
        applies=_is_evaluated,
        make=_in_training_mode,
        answers=("evaluation_mode", "wrong_mode"),
    ),
    Intervention(
        name="mean_for_sum",
        change="the mean over the batch in place of the sum",
        applies=lambda variant: variant.step is None and _is_sum(variant),
        make=_mean,
        answers=("sum_for_mean", "exploding_gradient", "not_finite"),
    ),
    Intervention(
        name="batch_larger",
        change=f"{_JOINED} batches taken as one",
        applies=lambda variant: pairs(variant) and (batch_size(variant.batches[0]) or _JOINED) < _JOINED,
        make=_larger,
        answers=("zero_gradient", "flat_loss", "constant_output.norm"),
    ),
)
