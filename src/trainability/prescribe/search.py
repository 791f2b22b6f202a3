"""Search for plans that will train: by the closed form, then by measuring the best, then by trying them.

The closed form ranks thousands of plans a second, because a layer's gain is proportional to its weights' variance: one
prediction gives the budget of every other plan. The best are predicted again in full, the first few are measured (the loss,
the predicted stay at chance, the critical step of the first update), and, where time is given, trained for some steps.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainability import initialization
from trainability.doctor import input_moments, predict, trace, weight_moments
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import CriticalStep, Rehearsal
from trainability.doctor.setup import Setup
from trainability.doctor.theory.propagation import Prediction
from trainability.executors import results
from trainability.initialization import InitPlan
from trainability.prescribe.candidates import (
    gains_on_the_way,
    plan_by_fan_in,
    plans,
    plans_with_solved_std,
    promised_moments,
)

TOP = 5
_FACTORS = (0.7, 0.5, 0.35, 0.25, 0.1)
_REFERENCE = InitPlan.parse("lecun")
_NUM_FULL = 40  # plans whose whole prediction is computed, of those that the sum of gains puts first
# A signal that strays on the way and comes back trains late or not at all: of VGG-D's plans with a budget of 0, N(0, 0.067)
# throughout, which strays, left chance on the digits with one seed of two, He's and the same by fan-in with all.
_UNEVENNESS_COST = 1.0
_SEGMENT_COST = 0.1
# The healthy nets of the pilot have multiples of 1 to 64 at their first steps, and slow starts up to 1,000.
_LOWEST_MULTIPLE, _HIGHEST_MULTIPLE, _AIMED_MULTIPLE = 2.0, 1000.0, 16.0
_LARGEST_RAISE = 100.0  # as in the remedies: a larger one is not proposed at once
_TRIED_STEPS = 60
_MEASURED_SECONDS = 3.0
_MEASURED_EXAMPLES = 32


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A plan for a net, and what is known of it.

    Attributes:
        plan: as for `--init.plan`.
        budget: log10 of the product of all gains and the input's mean square; where gains do not multiply (residual sums,
            normalisation), the same function of the predicted outputs, log10(rms² / 2); `None` if they cannot be predicted.
        lr: learning rate that goes with it: the given one, or another if the critical step asks for it; `None` without an
            optimizer.
        multiple: critical multiple of the first update with that rate; `None` if not measured.
        loss_before: on a fixed batch, as initialised; `None` if not measured.
        loss_after: on it, after `num_steps`; `None` if not tried.
        num_steps: steps that were tried; 0 if none.
    """

    plan: InitPlan
    budget: float | None
    lr: float | None = None
    multiple: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    num_steps: int = 0


def propose(
    setup: Setup,
    *,
    like: InitPlan | None = None,
    is_allowed: Callable[[InitPlan], bool] = lambda plan: True,
    vary_lr: bool = True,
    top: int = TOP,
    seconds: float = 0.0,
    seed: int = 0,
    executor: Executor | None = None,
    make: Callable[[], Setup] | None = None,
) -> list[Proposal]:
    """Propose plans that will train, the best first.

    Args:
        setup: one model and batches (input, label); its weights do not matter, and nothing of it is changed.
        like: the current plan; it is also considered with other standard deviations.
        is_allowed: which plans may be proposed.
        vary_lr: propose another learning rate where the critical step of the first update asks for it.
        top: how many proposals.
        seconds: for trying them, shared by all; with 0 only the first update of the best is measured.
        seed: of the weights that are drawn to measure.
        executor: tries plans side by side there, each on one thread; `None` tries one after the other, here.
        make: makes the setup anew where the executor runs; needed with one, and picklable.

    Returns:
        Proposals; the first of them measured, all of them if there is time to try them.

    Raises:
        ValueError: there are several models, batches are not (input, label), the model has no weight layer that a plan can
            draw, or no plan is allowed.
    """
    model, images = setup.whole_model, _images(setup)
    if model is None:
        raise ValueError("plan takes one model, and the setup has several")
    if not initialization.weight_layers(model):
        raise ValueError("the model has no convolution or linear layer to initialise")
    found = by_closed_form(model, images, like=like, is_allowed=is_allowed)[:top]
    if not found:
        raise ValueError("no plan is allowed: every scheme is newer than the period")
    if setup.single_optimizer is None or (setup.loss is None and setup.training_step is None):
        return found
    if not seconds:
        return [_measured(setup, found[0], seed, vary_lr), *found[1:]]
    trials = [_Trial(proposal=each, seed=seed, seconds=seconds / len(found), vary_lr=vary_lr, make=make) for each in found]
    if executor is None:
        tried = {str(trial.proposal.plan): _try(trial, setup) for trial in trials}
    else:
        tried = dict(results(executor, _try, {str(trial.proposal.plan): trial for trial in trials}))
    return sorted((tried[str(proposal.plan)] for proposal in found), key=_loss_after)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A plan to be tried, as it travels to another process."""

    proposal: Proposal
    seed: int
    seconds: float
    vary_lr: bool
    make: Callable[[], Setup] | None


def _try(trial: _Trial, setup: Setup | None = None) -> Proposal:
    """Measure a plan's first update, and train it for some steps; the setup is made where it is not given."""
    if setup is None:
        assert trial.make is not None
        setup = trial.make()
    measured = _measured(setup, trial.proposal, trial.seed, trial.vary_lr)
    return _tried(setup, measured, trial.seed, trial.seconds)


def by_closed_form(
    model: nn.Module,
    images: Tensor,
    *,
    like: InitPlan | None = None,
    is_allowed: Callable[[InitPlan], bool] = lambda plan: True,
) -> list[Proposal]:
    """Rank plans by the distance of their predicted gain budget from 0, simpler and more even plans first.

    Args:
        model: its weights do not matter.
        images: (batch, ...) a batch as in training; its shape and its scale matter.
        like: as for `propose`.
        is_allowed: as for `propose`.

    Returns:
        Proposals, the best first. Where the net's scales cannot be predicted, the usual schemes without a budget.
    """
    layers = initialization.weight_layers(model)
    usual = [*plans(model, like), plan_by_fan_in(model)]
    try:
        structure, moments, own = trace(model, tuple(images.shape), images.dtype), input_moments(images), weight_moments(model)
    except (ValueError, RuntimeError):  # token ids, or operations that cannot be followed
        return [Proposal(plan=plan, budget=None) for plan in usual if is_allowed(plan)]

    def predicted(plan: InitPlan) -> Prediction:
        return predict(structure, {**own, **promised_moments(plan, model)}, moments)

    def cost(plan: InitPlan, budget: float) -> float:
        # Behind a residual sum or a normalisation a layer's gain says nothing of the signal's size.
        multiply = reference.log10_gain is not None
        strays = _unevenness(plan, layers, reference.log10_input) if multiply else 0.0
        return abs(budget) + _SEGMENT_COST * len(plan.segments) + _UNEVENNESS_COST * strays

    considered = dict.fromkeys(usual)
    reference = predicted(_REFERENCE)
    if reference.log10_gain is not None:  # gains multiply: the budget of every other plan follows from this one
        known, variances = _budget(reference), _variances(_REFERENCE, model)
        assert known is not None
        considered |= dict.fromkeys(plans_with_solved_std(model, variances, known))

        def estimated(plan: InitPlan) -> float:
            return known + sum(math.log10(v / variances[name]) for name, v in _variances(plan, model).items())

        allowed = sorted(filter(is_allowed, considered), key=lambda plan: cost(plan, estimated(plan)))[:_NUM_FULL]
    else:
        considered |= dict.fromkeys(plan_by_fan_in(model, factor=factor) for factor in _FACTORS)
        allowed = list(filter(is_allowed, considered))
    full = [(plan, _budget(predicted(plan))) for plan in allowed]
    full.sort(key=lambda found: math.inf if found[1] is None else cost(found[0], found[1]))
    return [Proposal(plan=plan, budget=budget) for plan, budget in full]


def _budget(prediction: Prediction) -> float | None:
    if prediction.log10_gain is not None:
        return prediction.log10_gain + prediction.log10_input
    rms = prediction.logit_rms
    return None if rms is None or not 0 < rms < math.inf else math.log10(rms**2 / 2)


def _variances(plan: InitPlan, model: nn.Module) -> dict[str, float]:
    layers = initialization.weight_layers(model)
    return {
        name: initialization.promised_std(segment, module) ** 2
        for (name, module), segment in zip(layers, plan.resolve(len(layers)), strict=True)
    }


def _unevenness(plan: InitPlan, layers: list[tuple[str, nn.Module]], log10_input: float) -> float:
    """How far the signal's mean square is from 1 behind the layers, in powers of ten, on average."""
    sizes = itertools.accumulate(gains_on_the_way(plan, layers), initial=log10_input)
    return statistics.fmean(abs(size) for size in itertools.islice(sizes, 1, None))


def _images(setup: Setup) -> Tensor:
    first = next(iter(setup.train_loader), None)
    if not (isinstance(first, tuple | list) and len(first) == 2 and isinstance(first[0], Tensor)):
        raise ValueError("plan takes batches of (input, label), the input one tensor, and the train loader gives another kind")
    return first[0][:_MEASURED_EXAMPLES]


def _initialised(setup: Setup, proposal: Proposal, seed: int) -> tuple[Any, Any]:
    """A copy of model and optimizer, drawn by the plan, with the proposal's learning rate."""
    model, optimizer = copied(setup.model, setup.single_optimizer)
    initialization.apply(proposal.plan, model, seed=seed)
    if proposal.lr is not None:
        for group in optimizer.param_groups:
            group["lr"] = proposal.lr
    return model, optimizer


def _rehearsed(setup: Setup, proposal: Proposal, seed: int, *, max_steps: int, seconds: float) -> Rehearsal:
    model, optimizer = _initialised(setup, proposal, seed)
    return rehearse(
        model,
        optimizer,
        setup.train_loader,
        loss_fn=setup.loss,
        training_step=setup.training_step,
        clip=setup.clip,
        max_steps=max_steps,
        seconds=seconds,
    )


def _measured(setup: Setup, proposal: Proposal, seed: int, vary_lr: bool) -> Proposal:
    """Measure the critical step of the first update; with `vary_lr`, again at a rate that it asks for."""
    assert setup.single_optimizer is not None
    rates = {float(group["lr"]) for group in setup.single_optimizer.param_groups}
    proposal = dataclasses.replace(proposal, lr=rates.pop() if len(rates) == 1 else None)
    proposal, critical = _with_first_update(setup, proposal, seed)
    multiple = proposal.multiple
    if not vary_lr or multiple is None or proposal.lr is None or _LOWEST_MULTIPLE <= multiple <= _HIGHEST_MULTIPLE:
        return proposal
    if critical is None or critical.at_limit:  # the loss rises, or falls, however long the update: no rate follows from it
        return proposal
    factor = min(multiple / _AIMED_MULTIPLE, _LARGEST_RAISE)
    return _with_first_update(setup, dataclasses.replace(proposal, lr=_one_digit(proposal.lr * factor)), seed)[0]


def _with_first_update(setup: Setup, proposal: Proposal, seed: int) -> tuple[Proposal, CriticalStep | None]:
    seen = _rehearsed(setup, proposal, seed, max_steps=1, seconds=_MEASURED_SECONDS)
    critical = seen.critical[0][1] if seen.critical else None
    before = seen.reference[0].loss if seen.reference else None
    return dataclasses.replace(proposal, multiple=critical.multiple if critical else None, loss_before=before), critical


def _one_digit(value: float) -> float:
    return float(f"{value:.0e}")


def _tried(setup: Setup, proposal: Proposal, seed: int, seconds: float) -> Proposal:
    seen = _rehearsed(setup, proposal, seed, max_steps=_TRIED_STEPS, seconds=seconds)
    if len(seen.reference) < 2:
        return proposal
    last = seen.reference[-1]
    return dataclasses.replace(proposal, loss_before=seen.reference[0].loss, loss_after=last.loss, num_steps=last.step)


def _loss_after(proposal: Proposal) -> float:
    """The loss that was reached, in classes of 5 %: within one (all are still at chance, say) the order stays."""
    after = proposal.loss_after
    if after is None or not math.isfinite(after):
        return math.inf
    return round(math.log(after) / 0.05) if after > 0 else -math.inf
