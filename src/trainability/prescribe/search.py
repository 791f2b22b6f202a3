"""Search for plans that will train: by the closed form, then by measuring the best, then by trying them.

The best plan of the closed form's ranking (`plans.ranked`) is measured (the loss, the critical step of the first updates); if
time is given, the first few are also trained for some steps.
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

from torch import Tensor

from trainability import initialization
from trainability.doctor.batches import empty_line, first_examples
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.measure.sizes import MAX_PROBE_IMAGES, probe_size
from trainability.doctor.rehearsed import CriticalStep, Rehearsal
from trainability.doctor.setup import Setup
from trainability.doctor.theory.band import PILOT_DEPTH
from trainability.executors import results
from trainability.initialization import InitPlan
from trainability.prescribe.plans import ranked

TOP = 5
Trying = Callable[[str, int, int], None]
# The healthy nets of the pilot have multiples of 1 to 64 at their first steps, and slow starts up to 1,000.
_LOWEST_MULTIPLE, _HIGHEST_MULTIPLE, _AIMED_MULTIPLE = 2.0, 1000.0, 8.0
_LARGEST_RAISE = 100.0  # as in the remedies: larger raises are not proposed in one step
_TRIED_STEPS = 60
_MEASURED_STEPS = 20
_SMALL_SECONDS, _LARGE_SECONDS = 60.0, 3.0  # for a net small enough to be probed with a full batch; for a larger one
_MEASURED_EXAMPLES, _FEWEST_EXAMPLES = 32, 8
_FEWEST_NORMS = 5
_FORWARD_PASSES = 16  # a batch for the measurements is the probe's over this number


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A plan for a net, and its measurements.

    Attributes:
        plan: as for `--init.plan`.
        budget: as in `plans.Candidate`.
        lr: proposed learning rate: the given one, or another if the critical step requires it; `None` without an optimizer.
        clip: proposed gradient-norm threshold: the given one, or, for a deep net without one whose gains multiply, the median
            norm of the first updates; `None` for no clipping.
        multiple: the lowest critical multiple of the first updates with that rate; `None` if not measured. A proposed
            clip is not applied in this measurement, unless updates were too long without it or another rate is proposed.
        loss_before: on a fixed batch, as initialised; `None` if not measured.
        loss_after: on the same batch, after `num_steps`; `None` if not tried.
        num_steps: number of training steps; 0 if not tried.
    """

    plan: InitPlan
    budget: float | None
    lr: float | None = None
    clip: float | None = None
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
    vary_clip: bool = True,
    top: int = TOP,
    seconds: float = 0.0,
    seed: int = 0,
    executor: Executor | None = None,
    make: Callable[[], Setup] | None = None,
    trying: Trying | None = None,
) -> list[Proposal]:
    """Propose plans that will train, the best first.

    Args:
        setup: one model and batches (input, label); its weights do not matter, and nothing of it is changed.
        like: the current plan; it is also considered with other standard deviations.
        is_allowed: which plans may be proposed.
        vary_lr: propose another learning rate if the critical step of the first updates requires it.
        vary_clip: propose clipping for a deep net whose gains multiply: its gradient norm can grow a hundredfold when it leaves
            chance, and clipping limits every update to the length of the measured ones.
        top: how many proposals.
        seconds: total time for trying plans; with 0, only the first updates of the best plan are measured.
        seed: of the weights that are drawn for the measurements.
        executor: tries plans in parallel, each on one thread; `None` tries them one after the other in this process.
        make: makes the setup again in the executor's processes; required with an executor, and picklable.
        trying: called with the plan that is measured, its number, and the number of plans.

    Returns:
        Proposals; the first of them measured, all of them if there is time to try them.

    Raises:
        ValueError: there are several models, batches are not (input, label), the model has no weight layer that a plan can
            draw, or no plan is allowed.
    """
    model, images = setup.whole_model, _images(setup, seed)
    if model is None:
        raise ValueError("plan takes one model, and the setup has several")
    if not initialization.weight_layers(model):
        raise ValueError("the model has no convolution or linear layer to initialise")
    ranking = ranked(model, images, like=like, is_allowed=is_allowed)[:top]
    found = [Proposal(plan=candidate.plan, budget=candidate.budget, clip=setup.clip) for candidate in ranking]
    if not found:
        raise ValueError("no plan is allowed: every scheme is newer than the period")
    is_deep = ranking[0].multiply and len(initialization.weight_layers(model)) >= PILOT_DEPTH
    varied = _Varied(lr=vary_lr, clip=vary_clip and setup.clip is None and is_deep)
    if setup.single_optimizer is None or (setup.loss is None and setup.training_step is None):
        return found
    told = trying if trying is not None else lambda what, number, total: None
    if not seconds:
        told(str(found[0].plan), 1, 1)
        return [_measured(setup, found[0], seed, varied), *found[1:]]
    trials = [_Trial(proposal=each, seed=seed, seconds=seconds / len(found), varied=varied, make=make) for each in found]
    if executor is None:
        tried = {}
        for number, trial in enumerate(trials, start=1):
            told(str(trial.proposal.plan), number, len(trials))
            tried[str(trial.proposal.plan)] = _try(trial, setup)
    else:
        tried = dict(results(executor, _try, {str(trial.proposal.plan): trial for trial in trials}))
    return sorted((tried[str(proposal.plan)] for proposal in found), key=_loss_after)


@dataclass(frozen=True, kw_only=True)
class _Varied:
    """What is proposed besides the initialisation."""

    lr: bool
    clip: bool


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A plan to be tried, in the form that is sent to another process."""

    proposal: Proposal
    seed: int
    seconds: float
    varied: _Varied
    make: Callable[[], Setup] | None


def _try(trial: _Trial, setup: Setup | None = None) -> Proposal:
    """Measure a plan's first updates, and train it for some steps; the setup is made if it is not given."""
    if setup is None:
        assert trial.make is not None
        setup = trial.make()
    measured = _measured(setup, trial.proposal, trial.seed, trial.varied)
    return _tried(setup, measured, trial.seed, trial.seconds)


def _images(setup: Setup, seed: int) -> Tensor:
    with randomness_restored(), generators_restored(setup.train_loader):
        seed_torch(seed)
        first = next(iter(setup.train_loader), None)
    if first is None:
        raise ValueError(empty_line(setup.train_loader))
    if not (isinstance(first, tuple | list) and len(first) == 2 and isinstance(first[0], Tensor)):
        raise ValueError("plan takes batches of (input, label), the input one tensor, and the train loader gives another kind")
    return first[0][:_MEASURED_EXAMPLES]


def _initialised(setup: Setup, proposal: Proposal, seed: int) -> tuple[Any, Any]:
    """Return a copy of model and optimizer, initialised by the plan, with the proposal's learning rate."""
    model, optimizer = copied(setup.model, setup.single_optimizer)
    initialization.apply(proposal.plan, model, seed=seed)
    if proposal.lr is not None:
        for group in optimizer.param_groups:
            group["lr"] = proposal.lr
    return model, optimizer


def _rehearsed(setup: Setup, proposal: Proposal, seed: int, *, max_steps: int, seconds: float) -> Rehearsal:
    model, optimizer = _initialised(setup, proposal, seed)
    with randomness_restored():
        seed_torch(seed)
        return rehearse(
            model,
            optimizer,
            setup.train_loader,
            loss_fn=setup.loss,
            training_step=setup.training_step,
            clip=proposal.clip,
            max_steps=max_steps,
            seconds=seconds,
        )


def _measured(setup: Setup, proposal: Proposal, seed: int, varied: _Varied) -> Proposal:
    """Measure the first updates: a clip from their norms, and a rate from their critical step, measured again at that rate."""
    assert setup.single_optimizer is not None
    rates = {float(group["lr"]) for group in setup.single_optimizer.param_groups}
    proposal = dataclasses.replace(proposal, lr=rates.pop() if len(rates) == 1 else None)
    proposal, critical = _with_first_updates(setup, proposal, seed, varied.clip)
    if proposal.clip != setup.clip and proposal.multiple is not None and proposal.multiple < _LOWEST_MULTIPLE:
        proposal, critical = _with_first_updates(setup, proposal, seed, vary_clip=False)  # with the clip
    multiple = proposal.multiple
    if not varied.lr or multiple is None or proposal.lr is None or _LOWEST_MULTIPLE <= multiple <= _HIGHEST_MULTIPLE:
        return proposal
    if critical is None or critical.at_limit:  # the loss rises, or falls, at every length of the update
        return proposal
    factor = min(multiple / _AIMED_MULTIPLE, _LARGEST_RAISE)
    again = dataclasses.replace(proposal, lr=_one_digit(proposal.lr * factor))
    return _with_first_updates(setup, again, seed, vary_clip=False)[0]


def _with_first_updates(setup: Setup, proposal: Proposal, seed: int, vary_clip: bool) -> tuple[Proposal, CriticalStep | None]:
    """Measure the lowest critical step of the first updates, on as large a part of a batch as takes little time.

    Momentum builds up in the first ten steps, and a deep net's loss grows sharper as it begins to learn: a plain net of 34
    layers had a multiple of 111 at its first update, of 7 at its fifteenth, and ended at chance. An update that increases the
    loss on its own batch because of momentum has a multiple of almost 0, however short it is, and does not count.
    """
    model = setup.whole_model
    assert model is not None
    with randomness_restored(), generators_restored(setup.train_loader):
        seed_torch(seed)  # the same batches, whatever was drawn before
        batches = list(itertools.islice(setup.train_loader, _MEASURED_STEPS))
    parameter = next(model.parameters())
    probed = probe_size(model, tuple(batches[0][0].shape[1:]), parameter.device)
    size = min(max(probed // _FORWARD_PASSES, _FEWEST_EXAMPLES), _MEASURED_EXAMPLES)
    seconds = _SMALL_SECONDS if probed >= MAX_PROBE_IMAGES else _LARGE_SECONDS
    few = [first_examples(batch, size) for batch in batches]
    # Read only once, so that the measurements use the first batch, and not several batches together.
    part = dataclasses.replace(setup, train_loader=itertools.chain(few[:1], itertools.cycle(few)))
    seen = _rehearsed(part, proposal, seed, max_steps=_MEASURED_STEPS, seconds=seconds)
    known = [critical for _, critical in seen.critical if critical.multiple is not None and not critical.is_uphill]
    shortest = min(known, key=lambda critical: critical.multiple or 0.0, default=None)
    before = seen.reference[0].loss if seen.reference else None
    found = dataclasses.replace(proposal, multiple=shortest.multiple if shortest else None, loss_before=before)
    norms = [step.gradient_norm for step in seen.steps if step.gradient_norm is not None and math.isfinite(step.gradient_norm)]
    if vary_clip and len(norms) >= _FEWEST_NORMS:
        found = dataclasses.replace(found, clip=_one_digit(statistics.median(norms)))
    return found, shortest


def _one_digit(value: float) -> float:
    return float(f"{value:.0e}")


def _tried(setup: Setup, proposal: Proposal, seed: int, seconds: float) -> Proposal:
    seen = _rehearsed(setup, proposal, seed, max_steps=_TRIED_STEPS, seconds=seconds)
    if len(seen.reference) < 2:
        return proposal
    last = seen.reference[-1]
    return dataclasses.replace(proposal, loss_before=seen.reference[0].loss, loss_after=last.loss, num_steps=last.step)


def _loss_after(proposal: Proposal) -> float:
    """Return the final loss in bins of 5 %: within a bin (for instance, all at chance) plans keep their order."""
    after = proposal.loss_after
    if after is None or not math.isfinite(after):
        return math.inf
    return round(math.log(after) / 0.05) if after > 0 else -math.inf
