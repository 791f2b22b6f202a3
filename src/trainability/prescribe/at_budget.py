"""What is measured at one gain budget without training: the predicted stay at chance, the critical rate, and the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from trainability.doctor.evidence import ProbeResult
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.optimizer_settings import optimizer_settings
from trainability.doctor.measure.probe import probe
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.setup import Setup
from trainability.doctor.stay import NOISY, growing_steps, mean_growth, noise_over_signal
from trainability.doctor.theory.band import PLATEAU_SHARE, PLATEAU_START
from trainability.prescribe.short_run import loss_of, scale_budget

_CRITICAL_EXAMPLES = 32
_FAR = 1.05  # if the first loss is more than so many times chance, small steps first bring it down to chance
_SETTLING_STEPS, _GENTLE = 20, 8.0  # number of these steps, and factor of their rate below the critical rate


@dataclass(frozen=True, kw_only=True)
class AtBudget:
    """What was measured at one budget, without training.

    Attributes:
        budget: log10, with the input.
        plateau_steps: predicted steps at chance at the program's own rate; infinite if weight decay is faster than growth;
            `None` where the formula does not apply.
        critical_lr: rate at which the first update raises the loss on its batch; `None` if none was found.
        growing_steps: steps in which the weights grow by their own size at the program's own rate, measured on a copy that
            started far above chance and has come down to it; `None` for one that starts at chance (see `plateau_steps`).
        noise_lr: rate at which the noise of the batches moves the weights as far as the gradient does before the net has left
            chance; `None` if unknown.
    """

    budget: float
    plateau_steps: float | None
    critical_lr: float | None
    growing_steps: float | None = None
    noise_lr: float | None = None

    def growing(self, times: float) -> float | None:
        """T of equation (9) at the program's rate over `times`; if the net settles first, the mean of T before and after."""
        if self.plateau_steps is None:
            return None
        first = times * (self.plateau_steps - PLATEAU_START) / PLATEAU_SHARE
        return first if self.growing_steps is None else mean_growth(first, times * self.growing_steps)

    def slower(self, longest: float) -> float | None:
        """Factor by which the program's rate can be divided until T is `longest`; 0 if no rate is fast enough."""
        if self.plateau_steps is None or math.isinf(self.plateau_steps):
            return None if self.plateau_steps is None else 0.0
        low, high = 1e-12, 1e12
        for _ in range(100):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if (self.growing(middle) or 0.0) < longest else (low, middle)
        return low


def probed(setup: Setup, model: nn.Module, first: tuple[Tensor, Tensor], steps: int) -> ProbeResult:
    """Probe a model with the program's loss, optimizer and clipping."""
    loss = setup.loss or nn.functional.cross_entropy
    return probe(model, loss, *first, optimizer=setup.single_optimizer, clip=setup.clip, planned_steps=steps)


def measured_at(
    setup: Setup, decades: float, budget: float, first: tuple[Tensor, Tensor], *, steps: int, chance: float
) -> AtBudget:
    """Measure the predicted stay at chance, the critical step and the noise of a copy whose weights are scaled."""
    model, optimizer = copied(setup.model, setup.single_optimizer)
    scale_budget(model, decades)
    plateau = probed(setup, model, first, steps).plateau_steps
    model.train()
    batch = (first[0][:_CRITICAL_EXAMPLES], first[1][:_CRITICAL_EXAMPLES])
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = [p.detach().clone() for p in parameters.values()]
    with randomness_restored():
        loss = loss_of(setup, model, batch)
    if not math.isfinite(loss.item()):
        return AtBudget(budget=budget, plateau_steps=plateau, critical_lr=None)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), math.inf if setup.clip is None else setup.clip)
    optimizer.step()
    seen = along_update(parameters, before, lambda: loss_of(setup, model, batch))
    critical = None
    if seen.multiple is not None and not seen.at_limit:
        critical = float(optimizer.param_groups[0]["lr"]) * seen.multiple
    gentle = critical / _GENTLE if critical is not None and loss.item() > _FAR * chance else None
    growing, noisy = _grown(setup, decades, gentle) if plateau is not None else (None, None)
    return AtBudget(
        budget=budget,
        plateau_steps=plateau,
        critical_lr=critical,
        growing_steps=growing if gentle is not None else None,
        noise_lr=noisy,
    )


def _grown(setup: Setup, decades: float, settling_lr: float | None) -> tuple[float | None, float | None]:
    """Measure T and the rate at which noise exceeds the signal, on a copy as it is, or after it has come down to chance."""
    model, optimizer = copied(setup.model, setup.single_optimizer)
    scale_budget(model, decades)
    settings = optimizer_settings(optimizer, clip=setup.clip)
    for group in optimizer.param_groups:
        group["lr"] = settling_lr or 0.0
    found = rehearse(
        model,
        optimizer,
        setup.train_loader,
        loss_fn=setup.loss,
        training_step=setup.training_step,
        clip=setup.clip,
        max_steps=_SETTLING_STEPS if settling_lr else 1,
        seconds=math.inf,
    )
    growing = growing_steps(found, settings)
    if growing is None or found.growth is None:
        return None, None
    # Noise over signal falls as the square root of the steps, and T is inversely proportional to the rate.
    noise = noise_over_signal(found.growth, growing)
    return growing, settings.lr * (NOISY / noise) ** 2 if noise > 0 else None
