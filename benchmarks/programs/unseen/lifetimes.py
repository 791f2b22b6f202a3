"""When something ends, of which many were last seen alive: partial likelihood, hazards of intervals, and Weibull's law."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import DECAYED, LARGE, OUTSIDE, SMALL
from programs.program import Data, Program, but, fault
from programs.unseen.causes import CLAMPED, FAR_TARGETS, SAME, UNRELATED, UNSCALED, UPSIDE_DOWN

COLUMNS, INTERVALS = 10, 8


@functools.cache
def patients(train: bool, n: int | None = None, censored: float = 0.35) -> Data:
    """Columns (n, 10), standardised, days (n,) until the end or the last visit, and whether it is the end (n,)."""
    rng = torch.Generator().manual_seed(230 if train else 231)
    n = n or (900 if train else 300)
    x = torch.randn(n, COLUMNS, generator=rng)
    risk = 1.5 * x[:, 0] * x[:, 1].tanh() + x[:, 2].abs() - 1.2 * x[:, 3] + 0.5 * x[:, 4]
    noise = -torch.log(torch.rand(n, generator=rng).clamp(min=1e-6))
    days = 400 * (noise * torch.exp(-1.5 * risk)) ** 0.4
    seen = torch.rand(n, generator=rng) >= censored
    return x, torch.where(seen, days, days * torch.rand(n, generator=rng)).clamp(min=0.5), seen.float()


def risks(*, width: int = 48, outputs: int = 1, last: nn.Module | None = None) -> nn.Sequential:
    """Two hidden layers with SELU and alpha dropout, and one risk."""
    return nn.Sequential(
        *(nn.Linear(COLUMNS, width), nn.SELU(), nn.AlphaDropout(0.05), nn.Linear(width, width), nn.SELU()),
        *(nn.Linear(width, outputs), *([last] if last else [])),
    )


def partial_likelihood(model: nn.Module, batch: Any, *, upwards: bool = False) -> Tensor:
    """Breslow's: each end against those still there."""
    x, days, ends = batch
    order = days.argsort(descending=not upwards)
    risk, ends = model(x)[:, 0][order], ends[order]
    return -((risk - risk.logcumsumexp(dim=0)) * ends).sum() / ends.sum().clamp(min=1)


def _edges() -> Tensor:
    return torch.tensor([60.0, 130.0, 220.0, 320.0, 450.0, 650.0, 1000.0])


def hazards(model: nn.Module, batch: Any, *, twice: bool = False) -> Tensor:
    """Binary cross-entropy of the end in each interval that was entered."""
    x, days, ends = batch
    interval = torch.bucketize(days, _edges())
    at = torch.arange(INTERVALS)[None]
    there = (at <= interval[:, None]).float()
    target = (at == interval[:, None]).float() * ends[:, None]
    logits = model(x)
    if twice:
        logits = logits.sigmoid()
    costs = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * there
    return costs.sum() / there.sum()


def weibull(model: nn.Module, batch: Any) -> Tensor:
    """Minus the log-likelihood of a life whose scale the model gives, of shape 2.5."""
    x, days, ends = batch
    ratio = 2.5 * (torch.log(days / 400) - model(x)[:, 0])
    return -(ends * (ratio - torch.log(days)) - ratio.exp()).mean()


def squared(model: nn.Module, batch: Any, *, unit: float = 400.0, broadcast: bool = False) -> Tensor:
    """Squared error of the time of those who ended; the rest only where the model says too soon."""
    x, days, ends = batch
    said = model(x) if broadcast else model(x)[:, 0]
    gap = days / unit - said
    return (torch.where(ends > 0, gap, gap.relu()) ** 2).mean()


def concordance(model: nn.Module, data: Data, *, sign: float = 1.0) -> float:
    """Twice the share of comparable pairs in the right order, minus one; over 0.8, about what noise leaves."""
    x, days, ends = data
    out = model(x)
    risk = sign * (out[:, 0] if out.shape[1] == 1 else F.softplus(out).sum(dim=1))
    if not bool(risk.isfinite().all()):
        return float("nan")
    sooner = (days[:, None] < days[None]) & (ends[:, None] > 0)
    right = (risk[:, None] > risk[None]).float() + 0.5 * (risk[:, None] == risk[None]).float()
    return (2 * float(right[sooner].mean()) - 1) / 0.8


def told(model: nn.Module, data: Data, *, unit: float = 400.0) -> float:
    """Share of the variance of the days of those who ended that is explained; over 0.6, about what noise leaves."""
    x, days, ends = data
    days, said = days[ends > 0] / unit, model(x)[ends > 0, 0]
    return (1 - float(F.mse_loss(said, days) / days.var())) / 0.6


def _time(model: nn.Module, data: Data) -> float:
    return concordance(model, data, sign=-1.0)


def _raw(train: bool) -> Data:
    """Incomes, ages and counts as the registry has them."""
    x, days, ends = patients(train)
    return (
        x * torch.tensor([20_000.0, 15, 900, 1, 4, 1, 300, 1, 1, 8000])
        + torch.tensor([45_000.0, 60, 1500, 0, 9, 0, 0, 0, 0, 0]),
        days,
        ends,
    )


COX = Program(
    model=risks,
    train=lambda: patients(True),
    held_out=lambda: patients(False),
    score=concordance,
    training_step=partial_likelihood,
    optimizer=torch.optim.NAdam,
    options={"lr": 2e-3},
    batch=64,
    steps=300,
)
INTERVAL = but(COX, model=lambda: risks(outputs=INTERVALS), training_step=hazards, optimizer=torch.optim.RMSprop)
STEADY = but(INTERVAL, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
LIFE = but(COX, training_step=weibull, score=_time, optimizer=torch.optim.SGD, options={"lr": 0.02, "momentum": 0.9}, clip=5.0)
SQUARE = but(COX, training_step=squared, score=told, options={"lr": 3e-3})

SOUND = {
    "lifetimes": COX,
    "lifetimes by intervals": INTERVAL,
    "lifetimes by intervals under sgd": STEADY,
    "lifetimes by weibull": LIFE,
    "lifetimes by squares": SQUARE,
    "lifetimes of eighty": but(
        COX, train=lambda: patients(True, 80), batch=80, options={"lr": 2e-3, "weight_decay": 0.1}, steps=150
    ),
    "lifetimes mostly censored": but(COX, train=lambda: patients(True, None, 0.8)),
}

FAULTS = {
    "those gone already at risk": fault(
        COX,
        "sorted upwards, so that the risk set holds those who are gone",
        f"{UPSIDE_DOWN} {UNRELATED}",
        training_step=lambda model, batch: partial_likelihood(model, batch, upwards=True),
    ),
    "columns of the registry": fault(
        COX, "columns are not standardised", UNSCALED, train=lambda: _raw(True), held_out=lambda: _raw(False)
    ),
    "one patient at a time": fault(
        COX, "batch size 1: nobody else is at risk, so each loss is 0", "flat_loss zero_gradient unmoved_parameter", batch=1
    ),
    "hazards through sigmoid": fault(
        STEADY,
        "sigmoid, then the loss with logits",
        "softmax_twice capped_loss unreachable_target",
        training_step=lambda model, batch: hazards(model, batch, twice=True),
    ),
    "days for four hundreds of days": fault(
        SQUARE,
        "days are regressed as they are, up to thousands",
        FAR_TARGETS,
        training_step=lambda model, batch: squared(model, batch, unit=1.0),
        score=lambda model, data: told(model, data, unit=1.0),
    ),
    "each life beside every answer": fault(
        SQUARE,
        "(n, 1) beside (n,)",
        f"target_broadcast {SAME} confirmed_change.target_shape",
        training_step=lambda model, batch: squared(model, batch, broadcast=True),
    ),
    "decay of one half": fault(
        LIFE, "weight_decay 0.5 under SGD", DECAYED, options={"lr": 0.02, "momentum": 0.9, "weight_decay": 0.5}
    ),
    "lifetimes at a rate of two": fault(LIFE, "rate 2 for 0.02", LARGE, options={"lr": 2.0, "momentum": 0.9}, clip=None),
    "only biases of the risks": fault(
        COX,
        "a filter by name for weight decay drops every weight from the optimizer",
        f"{OUTSIDE} {SMALL}",
        trained=lambda model: [p for name, p in model.named_parameters() if "weight" not in name],
    ),
    "log of the scale behind relu": fault(
        LIFE,
        "the log of the scale ends in ReLU: no life below 400 days can be told",
        CLAMPED,
        model=lambda: risks(last=nn.ReLU()),
    ),
}
