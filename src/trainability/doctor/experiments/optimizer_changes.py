"""Changes of how weights are moved: rate, direction, momentum, weight decay, clipping, epsilon, what the optimizer holds."""

import dataclasses
import functools
import inspect
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_examples
from trainability.doctor.evidence import Evidence
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import modules, optimizers

# Median critical multiples of the rehearsal (pilot of DESIGN: healthy nets 1 to 1,000).
_TOO_LONG, _TOO_SHORT = 4.0, 300.0
_AIMED_MULTIPLE = 32.0  # of healthy nets at their first steps, 1 to 64
_LEAST_MULTIPLE = 1e-6  # below, the loss rises however short the update
_FACTORS, _ALIKE = (1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0), 2.5
_USUAL_MOMENTUM, _USUAL_BETAS = 0.9, (0.9, 0.999)
_USUAL_CLIP = 1.0
_FAR_RATES = 30.0  # groups whose rates are so far apart are meant to differ less


def _multiple(evidence: Evidence) -> float | None:
    rehearsal = evidence.rehearsal
    found = sorted(c.multiple for _, c in rehearsal.critical if c.multiple is not None) if rehearsal is not None else []
    return found[len(found) // 2] if found else None


def _scale_rates(variant: Variant, factor: Callable[[dict[str, Any]], float]) -> None:
    """Scales the rate of each group within each step only, so that schedulers and a body that sets it are none the wiser."""

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        kept[id(optimizer)] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor(group)

    def after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group, rate in zip(optimizer.param_groups, kept[id(optimizer)], strict=True):
            group["lr"] = rate

    kept: dict[int, list[Any]] = {}
    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(before).remove)
        variant.closing.callback(optimizer.register_step_post_hook(after).remove)


def _scale_rate(variant: Variant, factor: float) -> None:
    _scale_rates(variant, lambda group: factor)


def _rate(name: str, factor: float, words: str) -> Intervention:
    def hinted(evidence: Evidence) -> bool:
        multiple = _multiple(evidence)
        return multiple is not None and (multiple < _TOO_LONG if factor < 1 else multiple > _TOO_SHORT)

    smaller = (
        "sum_for_mean",
        "exploding_gradient",
        "not_finite",
        "oscillation",
        "loss_cliff",
        "dead_units",
        "gain_budget_high",
        "update_ratio.large",
    )
    larger = ("slow_start", "update_ratio.small", "plateau", "flat_loss")
    return Intervention(
        name=name,
        change=f"learning rate {words}",
        applies=lambda variant: any("lr" in group for group in variant.groups),
        make=functools.partial(_scale_rate, factor=factor),
        answers=smaller if factor < 1 else larger,
        hinted=hinted,
        family="rate",
        compensates=True,
        hastens=factor > 1,
    )


def _falls(variant: Variant) -> bool:
    """Whether something changes the rate during the run."""
    return variant.scheduler is not None or any("initial_lr" in group for group in variant.groups)


def _hold_rate(variant: Variant) -> None:
    """Steps at the rate from which the schedule starts."""

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group, rate in zip(optimizer.param_groups, started[id(optimizer)], strict=True):
            group["lr"] = rate

    started = {id(o): [group.get("initial_lr", group["lr"]) for group in o.param_groups] for o in variant.optimizers}
    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(before).remove)


def measured_rate(evidence: Evidence) -> Intervention | None:
    """The learning rate that the critical step of the rehearsed updates asks for; None where it asks for no other.

    A factor that is about one of the fixed ones is none of its own.
    """
    multiple = _multiple(evidence)
    if multiple is None or _TOO_LONG <= multiple <= _TOO_SHORT or multiple < _LEAST_MULTIPLE:
        return None
    factor = float(f"{multiple / _AIMED_MULTIPLE:.0e}")
    if any(1 / _ALIKE < factor / fixed < _ALIKE for fixed in _FACTORS):
        return None
    return dataclasses.replace(
        _rate("rate_measured", factor, f"times {factor:,g}, as its critical step asks"), hinted=lambda _: True
    )


def _unusual_momentum(group: dict[str, Any]) -> bool:
    betas = group.get("betas")
    if betas is not None:
        return bool(betas[0] > _USUAL_BETAS[0] + 1e-6 or betas[1] > _USUAL_BETAS[1] + 1e-6 or betas[1] < 0.9)
    return group.get("momentum", 0.0) > _USUAL_MOMENTUM + 1e-6 or bool(group.get("dampening"))


def _usual_momentum(variant: Variant) -> None:
    for group in variant.groups:
        if group.get("betas") is not None:
            group["betas"] = _USUAL_BETAS
        elif _unusual_momentum(group):
            group["momentum"], group["dampening"] = _USUAL_MOMENTUM, 0


def _no_decay(variant: Variant) -> None:
    for group in variant.groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0


def _can_unclip(variant: Variant) -> bool:
    if variant.step is None:
        return variant.clip is not None
    return bool(variant.optimizers) and not any("Scaler" in type(item).__name__ for item in variant.others)


def _unclipped(variant: Variant) -> None:
    """In a body of its own, whatever clips: the optimizer gets the gradients that backward left."""
    if variant.step is None:
        variant.clip = None
        return
    whole: dict[int, Tensor] = {}

    def keep(parameter: Tensor) -> None:
        if parameter.grad is not None:
            whole[id(parameter)] = parameter.grad.detach().clone()

    def restore(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and id(parameter) in whole:
                    parameter.grad.copy_(whole[id(parameter)])

    for parameter in variant.parameters:
        if parameter.requires_grad:
            variant.closing.callback(parameter.register_post_accumulate_grad_hook(keep).remove)
    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(restore).remove)


def _clipped(variant: Variant) -> None:
    def clip(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], _USUAL_CLIP)

    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(clip).remove)


def _default_eps(optimizer: torch.optim.Optimizer) -> float | None:
    parameter = inspect.signature(type(optimizer).__init__).parameters.get("eps")
    usual = parameter.default if parameter is not None else None
    return usual if isinstance(usual, float) else None


def _has_unusual_eps(variant: Variant) -> bool:
    return any(
        isinstance(group.get("eps"), float) and group["eps"] != usual
        for optimizer in variant.optimizers
        if (usual := _default_eps(optimizer)) is not None
        for group in optimizer.param_groups
    )


def _usual_eps(variant: Variant) -> None:
    for optimizer in variant.optimizers:
        for group in optimizer.param_groups:
            if "eps" in group:
                group["eps"] = _default_eps(optimizer)


def _left_out(variant: Variant) -> list[Tensor]:
    """What the loss depends on and no optimizer holds: parameters of the model, and leaves that no module owns.

    Optimizers that the loop's body uses besides the setup's, such as a discriminator's, count, too.
    """
    groups = [group for each in (*variant.optimizers, *optimizers(list(variant.others))) for group in each.param_groups]
    held = {id(p) for group in groups for p in group["params"]}
    found = {id(p): p for p in variant.parameters if p.requires_grad and id(p) not in held}
    loop = variant.loop()
    if loop.forward_only is not None:
        with torch.enable_grad():
            queue = [scalar(loop.forward_only(variant.model, first_examples(variant.reference, 8))).grad_fn]
        seen: set[Any] = set()
        while queue:
            node = queue.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if isinstance(leaf, Tensor) and isinstance(leaf, nn.Parameter) and id(leaf) not in held:
                found[id(leaf)] = leaf
            queue += [following for following, _ in node.next_functions]
    return list(found.values())


def _can_hold_all(variant: Variant) -> bool:
    return len(variant.optimizers) == 1 and len(modules(variant.model)) == 1 and bool(_left_out(variant))


def _hold_all(variant: Variant) -> None:
    """In the group of the largest rate: a scheduler knows how many groups there are."""
    group = max(variant.groups, key=lambda group: float(group.get("lr", 0.0)))
    held = group["params"]
    group["params"] = [*held, *_left_out(variant)]
    variant.closing.callback(group.__setitem__, "params", held)


def _frozen(variant: Variant) -> list[nn.Parameter]:
    return [p for p in variant.parameters if not p.requires_grad and p.is_floating_point()]


def _unfreeze(variant: Variant) -> None:
    for parameter in _frozen(variant):
        parameter.requires_grad_(True)
        variant.closing.callback(parameter.requires_grad_, False)
    if _left_out(variant):
        _hold_all(variant)


def _rates(variant: Variant) -> list[float]:
    return [float(group["lr"]) for group in variant.groups if group["params"] and float(group.get("lr") or 0.0) > 0]


def _even_rates(variant: Variant) -> None:
    """The geometric mean of all, within each step only, and as much of it as a schedule leaves of each group's own."""
    first, mean = [group.get("lr") for group in variant.groups], statistics.geometric_mean(_rates(variant))
    factors = {id(group): mean / float(lr) for group, lr in zip(variant.groups, first, strict=True) if lr}
    _scale_rates(variant, lambda group: factors.get(id(group), 1.0))


def _minimise(variant: Variant) -> None:
    for group in variant.groups:
        if group.get("maximize"):
            group["maximize"] = False


def _reversed(variant: Variant) -> None:
    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        kept[id(optimizer)] = [(p, p.detach().clone()) for p in held]

    @torch.no_grad()
    def after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, old in kept.pop(id(optimizer), ()):
            parameter.copy_(2 * old - parameter)

    kept: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for optimizer in variant.optimizers:
        variant.closing.callback(optimizer.register_step_pre_hook(before).remove)
        variant.closing.callback(optimizer.register_step_post_hook(after).remove)


OPTIMIZER_CHANGES = named(
    Intervention(
        name="all_parameters",
        change="every parameter that the loss depends on in the optimizer",
        applies=_can_hold_all,
        make=_hold_all,
        answers=(
            "foreign_optimizer",
            "unregistered_layers",
            "untrained_parameter",
            "unmoved_parameter",
            "unreached_parameter.unused",
            "never_steps",
        ),
    ),
    Intervention(
        name="unfrozen",
        change="every parameter trained, those with requires_grad=False too",
        applies=lambda variant: len(variant.optimizers) == 1 and len(modules(variant.model)) == 1 and bool(_frozen(variant)),
        make=_unfreeze,
        stands_in=True,
        answers=("untrained_parameter", "unmoved_parameter"),
    ),
    Intervention(
        name="maximize_off",
        change="the loss minimised, without maximize=True",
        applies=lambda variant: any(group.get("maximize") for group in variant.groups),
        make=_minimise,
        is_setting=True,
        answers=("wrong_sign",),
    ),
    Intervention(
        name="update_reversed",
        change="each update in the other direction",
        applies=lambda variant: bool(variant.optimizers),
        make=_reversed,
        answers=("wrong_sign",),
    ),
    Intervention(
        name="clip_off",
        change="gradients not clipped",
        applies=_can_unclip,
        make=_unclipped,
        is_setting=True,
        answers=("clipping", "clip_dropped"),
    ),
    Intervention(
        name="decay_off",
        change="no weight decay",
        applies=lambda variant: any(group.get("weight_decay", 0.0) > 0 for group in variant.groups),
        make=_no_decay,
        is_setting=True,
        answers=("weights_decayed",),
    ),
    Intervention(
        name="momentum_usual",
        change=f"momentum {_USUAL_MOMENTUM:g} (Adam's betas {_USUAL_BETAS[0]:g} and {_USUAL_BETAS[1]:g})",
        applies=lambda variant: any(map(_unusual_momentum, variant.groups)),
        make=_usual_momentum,
        is_setting=True,
        answers=("long_momentum", "oscillation", "exploding_gradient", "loss_cliff"),
    ),
    Intervention(
        name="eps_usual",
        change="the optimizer's default eps",
        applies=_has_unusual_eps,
        make=_usual_eps,
        is_setting=True,
        answers=("eps_underflow", "update_ratio.eps"),
    ),
    Intervention(
        name="rate_held",
        change="the learning rate without its schedule",
        applies=_falls,
        make=_hold_rate,
        is_setting=True,
        answers=("rate_dies", "lr_schedule", "zero_rate"),
        family="rate",
    ),
    Intervention(
        name="rates_alike",
        change="one learning rate for all parameter groups, the geometric mean of theirs",
        applies=lambda variant: max(_rates(variant), default=0.0) > _FAR_RATES * min(_rates(variant), default=1.0),
        make=_even_rates,
        is_setting=True,
        answers=("update_ratio", "exploding_gradient", "not_finite", "plateau", "flat_loss"),
        family="rate",
    ),
    _rate("rate_tenth", 0.1, "times 1/10"),
    _rate("rate_ten", 10.0, "times 10"),
    _rate("rate_hundredth", 0.01, "times 1/100"),
    _rate("rate_hundred", 100.0, "times 100"),
    _rate("rate_thousand", 1000.0, "times 1,000"),
    Intervention(
        name="clip_on",
        change=f"gradients clipped at norm {_USUAL_CLIP:g}",
        applies=lambda variant: bool(variant.optimizers) and (variant.clip is None or variant.clip > _USUAL_CLIP),
        make=_clipped,
        answers=("exploding_gradient", "loss_cliff", "not_finite"),
        compensates=True,
        yields_to="rate",  # a clip that acts at every step hides a rate that is too large
    ),
)
