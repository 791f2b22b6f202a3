"""Numbers from tables: quantiles, likelihoods, counts, deep nets, and targets of any size."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import SLOWED, UNPAIRED, UNREACHABLE
from programs.held_out.causes import CLIPPED, CUT, DECAYED, LARGE, SMALL
from programs.program import Data, Loop, Program, but, explained, fault
from programs.unseen.causes import DETACHED, DIES, FAR_TARGETS, SAME, UPSIDE_DOWN
from programs.workshop.curves import perceptron

LEVELS = torch.tensor([0.1, 0.5, 0.9])


@functools.cache
def deliveries(train: bool) -> Data:
    """Features (n, 6) of deliveries and how long they take, (n, 1), less certain where the third is large."""
    rng = torch.Generator().manual_seed(7201 if train else 7202)
    x = torch.randn(1200 if train else 500, 6, generator=rng)
    middle = x[:, 0] + 0.8 * torch.sin(1.5 * x[:, 1]) + 0.6 * x[:, 2] * (x[:, 3] > 0)
    spread = 0.1 + 0.2 * torch.sigmoid(2 * x[:, 2])
    return x, (middle + spread * torch.randn(len(x), generator=rng))[:, None]


@functools.cache
def goals(train: bool) -> Data:
    """Features (n, 5), goals (n, 1), and how many are to be expected, mostly less than one."""
    rng = torch.Generator().manual_seed(7203 if train else 7204)
    x = torch.randn(1500 if train else 500, 5, generator=rng)
    rate = torch.exp(-1.2 + 0.9 * x[:, :1] - 0.5 * x[:, 1:2].abs())
    return x, torch.poisson(rate, generator=rng), rate


def heavy(train: bool) -> Data:
    """The deliveries with a target that is around 40,000."""
    x, y = deliveries(train)
    return x, 40_000 + 9_000 * y


def pinball(made: Tensor, true: Tensor, pick: Callable[[Tensor, Tensor], Tensor] = torch.maximum) -> Tensor:
    """The loss of three quantiles."""
    over = true - made
    return pick(LEVELS * over, (LEVELS - 1) * over).mean()


def better_quantiles(model: Any, data: Data) -> float:
    """How much lower the pinball loss is than that of the quantiles of all."""
    plain = torch.quantile(data[1], LEVELS, dim=0).T.expand(len(data[1]), -1)
    return 1 - float(pinball(model(data[0]), data[1]) / pinball(plain, data[1]))


class Doubtful(nn.Module):
    """A mean and the logarithm of a variance from one trunk."""

    def __init__(self, squeeze: bool = False) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.mean, self.spread, self.squeeze = nn.Linear(64, 1), nn.Linear(64, 1), squeeze

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to the means."""
        return self.mean(self.trunk(x))


def likelihood(model: Any, batch: Any, *, raw: bool = False) -> Tensor:
    """Minus the likelihood of normal distributions; it goes below zero where the model is sure."""
    h = model.trunk(batch[0])
    mean, spread = model.mean(h), model.spread(h)
    if model.squeeze:
        mean, spread = mean.squeeze(1), spread.squeeze(1)
    if raw:
        return (0.5 * torch.log(spread) + 0.5 * (batch[1] - mean) ** 2 / spread).mean()
    return (0.5 * spread + 0.5 * (batch[1] - mean) ** 2 * torch.exp(-spread)).mean()


def rates_told(model: Any, data: Data) -> float:
    """Share of the variance of the true rates that exp(output) explains."""
    return 1 - float(F.mse_loss(model(data[0]).exp(), data[2]) / data[2].var(correction=0))


class Units(nn.Module):
    """A net that answers in the units of its targets, of which it keeps mean and deviation."""

    def __init__(self) -> None:
        super().__init__()
        y = heavy(True)[1]
        self.net = perceptron(6, 64, 64, 1, act=nn.SiLU)
        self.register_buffer("middle", y.mean())
        self.register_buffer("size", y.std())

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 1)."""
        return self.middle + self.size * self.net(x)


def in_sizes(model: Any, batch: Any) -> Tensor:
    """The mean square in deviations of the targets."""
    return F.huber_loss(model(batch[0]) / model.size, batch[1] / model.size)


class Deep(nn.Module):
    """Sixteen residual blocks, normed first."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(16)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 1)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


class _Rounds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class Coarse(nn.Module):
    """A net whose few inner numbers are whole ones."""

    def __init__(self, rounds: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.outer, self.rounds = perceptron(6, 32, 6), perceptron(6, 32, 1), rounds

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 1)."""
        return self.outer(self.rounds(2 * self.inner(x)) / 2)


def twice(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """The gradient is that of the worst weights near by: a step up, a second backward, and back again."""
    loss = loop.loss_of(model, batch)
    optimizer.zero_grad()
    loss.backward()
    weights = [p for p in model.parameters() if p.grad is not None]
    size = torch.stack([p.grad.norm() for p in weights]).norm()
    moves = [0.05 * p.grad / (size + 1e-12) for p in weights]
    with torch.no_grad():
        for p, move in zip(weights, moves, strict=True):
            p.add_(move)
    optimizer.zero_grad()
    loop.loss_of(model, batch).backward()
    loop.seen(loss)
    with torch.no_grad():
        for p, move in zip(weights, moves, strict=True):
            p.sub_(move)
    optimizer.step()
    return loss


def warm(optimizer: Any) -> Any:
    """A rate that grows for 40 steps and falls along a cosine."""
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=320, pct_start=0.12)


def _scaled_by_an_outlier(train: bool) -> Data:
    x, y = deliveries(train)
    return x, y / 50_000


QUANTILES = Program(
    model=lambda: perceptron(6, 64, 64, 3),
    train=lambda: deliveries(True),
    held_out=lambda: deliveries(False),
    score=better_quantiles,
    loss=pinball,
    steps=400,
)


DOUBT = but(QUANTILES, model=Doubtful, loss=None, training_step=likelihood, score=explained)


GOALS = but(
    DOUBT,
    model=lambda: perceptron(5, 24, 1),
    train=lambda: goals(True),
    held_out=lambda: goals(False),
    training_step=lambda model, batch: F.poisson_nll_loss(model(batch[0]), batch[1]),
    score=rates_told,
    options={"lr": 5e-3},
)


UNITS = but(
    QUANTILES,
    model=Units,
    train=lambda: heavy(True),
    held_out=lambda: heavy(False),
    loss=None,
    training_step=in_sizes,
    score=explained,
)


DEEP = but(
    QUANTILES,
    model=Deep,
    loss=F.mse_loss,
    score=explained,
    optimizer=torch.optim.SGD,
    options={"lr": 1e-3, "momentum": 0.9},
    scheduler=warm,
    clip=1.0,
    steps=320,
)


COARSE = but(QUANTILES, model=lambda: Coarse(_Rounds.apply), loss=F.smooth_l1_loss, score=explained, options={"lr": 3e-3})


PLAIN = but(
    QUANTILES,
    model=lambda: perceptron(6, 48, 48, 1, act=nn.LeakyReLU),
    loss=lambda o, y: torch.log(torch.cosh(o - y)).mean(),
    score=explained,
    optimizer=torch.optim.Adagrad,
    options={"lr": 0.03},
)


SOUND = {
    "quantiles of deliveries": QUANTILES,
    "deliveries with a doubt": DOUBT,
    "goals by poisson": GOALS,
    "targets of 40,000 in the model's units": UNITS,
    "sixteen normed blocks under one cycle": DEEP,
    "whole numbers straight through": COARSE,
    "deliveries by log cosh": PLAIN,
    "deliveries by sharpness-aware steps": but(
        PLAIN, body=twice, loss=F.mse_loss, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}
    ),
    "goals in double precision": but(GOALS, dtype=torch.float64, optimizer=torch.optim.ASGD, options={"lr": 0.1}),
    "deliveries by rprop, all at once": but(
        PLAIN, loss=F.l1_loss, optimizer=torch.optim.Rprop, options={"lr": 1e-3}, batch=1200, steps=150
    ),
}

FAULTS = {
    "pinball with min for max": fault(
        QUANTILES, "min for max in the pinball loss", UPSIDE_DOWN, loss=lambda o, y: pinball(o, y, torch.minimum)
    ),
    "variance that may be negative": fault(
        DOUBT,
        "the last layer's output is taken for a variance",
        "not_finite",
        training_step=lambda model, batch: likelihood(model, batch, raw=True),
    ),
    "means squeezed before the likelihood": fault(
        DOUBT, "means (n,) against targets (n, 1)", f"target_broadcast {SAME}", model=lambda: Doubtful(squeeze=True)
    ),
    "log rates behind softplus": fault(
        GOALS,
        "logarithms of rates cannot be negative, rates are below one",
        f"softmax_twice.exp {UNREACHABLE}",
        model=lambda: perceptron(5, 24, 1, last=(nn.Softplus(),)),
    ),
    "units without their scaler": fault(
        UNITS,
        "the plain net for targets of 40,000",
        FAR_TARGETS,
        model=lambda: perceptron(6, 64, 64, 1, act=nn.SiLU),
        training_step=None,
        loss=F.huber_loss,
    ),
    "deep blocks clipped at 0.0001": fault(DEEP, "clip_grad_norm_(..., 1e-4)", f"{CLIPPED} {SMALL}", clip=1e-4),
    "step schedule for epochs stepped by batches": fault(
        DEEP,
        "StepLR(10, 0.1) is stepped after each batch",
        f"{DIES} {SLOWED}",
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1),
    ),
    "rounding without straight through": fault(
        COARSE,
        "torch.round has no gradient, so the first layers get none",
        f"{CUT} {DETACHED} flat_derivative",
        model=lambda: Coarse(torch.round),
    ),
    "deliveries divided by an outlier": fault(
        PLAIN,
        "targets are divided by 50,000",
        f"target_scale {LARGE} {SAME} loss_at_start",
        train=lambda: _scaled_by_an_outlier(True),
        held_out=lambda: _scaled_by_an_outlier(False),
    ),
    "deliveries under a decay of 1": fault(
        PLAIN,
        "weight_decay=1.0 in the gradient",
        DECAYED,
        optimizer=torch.optim.Adam,
        options={"lr": 2e-3, "weight_decay": 1.0},
    ),
    "deliveries of the row before": fault(
        QUANTILES,
        "targets are one row off",
        UNPAIRED,
        train=lambda: (deliveries(True)[0], deliveries(True)[1].roll(1, 0)),
    ),
    "sgd rate for adagrad": fault(PLAIN, "lr=1e-5 under Adagrad", SMALL, options={"lr": 1e-5}),
}
