"""Solutions of equations by their residuals, two answers at once, and several heads."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LOUD
from programs.material import flat_digits
from programs.program import Data, Program, but, class_score, drawn, explained, fault, in_closure
from programs.unseen.causes import FAR_TARGETS, SATURATED, UNSCALED

LOSS, ROOM = 4.0, 0.2


def cup(train: bool) -> Data:
    """Times (n, 1) from 0 to 1, and how warm a cup is then that is at 1.0 first."""
    t = torch.rand(512, 1, generator=torch.Generator().manual_seed(8251)) if train else torch.linspace(0, 1, 101)[:, None]
    return t, ROOM + (1 - ROOM) * torch.exp(-LOSS * t)


def by_the_second(train: bool) -> Data:
    """The same with times from 0 to 3,600."""
    t, warm = cup(train)
    return 3600 * t, warm


def rod(train: bool) -> Data:
    """Places (n, 1) on a rod from -1 to 1, and its temperature there, from 1.0 at one end to 2.0 at the other."""
    x = torch.linspace(-1, 1, 128 if train else 101)[:, None]
    return x, 1.5 + 0.5 * x + torch.sin(math.pi * x)


def in_kelvin(train: bool) -> Data:
    """The same with temperatures of hundreds."""
    x, warm = rod(train)
    return x, 300 * warm


@functools.cache
def forks(train: bool) -> Data:
    """Numbers (n, 1) and one of two answers (n, 1) to each, as often the upper as the lower."""
    rng = torch.Generator().manual_seed(8252 if train else 8253)
    n = 1500 if train else 500
    x = 2 * torch.rand(n, 1, generator=rng) - 1
    side = 2.0 * torch.randint(2, (n, 1), generator=rng) - 1
    return x, side * (1 + torch.sin(2 * x)) + 0.1 * torch.randn(n, 1, generator=rng)


@functools.cache
def readings(train: bool) -> Data:
    """Digits (n, 64), their class, and how much ink each row of pixels has (n, 8), standardized."""
    x, y = flat_digits(train)
    rows = x.view(-1, 8, 8).mean(dim=2)
    return x, y, (rows - rows.mean(dim=0)) / (rows.std(dim=0) + 0.05)


def field() -> nn.Sequential:
    """A net for a function of one number."""
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def slope(y: Tensor, x: Tensor) -> Tensor:
    """The derivative of each output by its own input."""
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def cools(model: Any, batch: Any, *, start: float = 1.0, length: float = 1.0) -> Tensor:
    """The residual of a cup that cools, and the error at the start with a weight."""
    t = batch[0].clone().requires_grad_()
    warm = model(t)
    residual = length * slope(warm, t) + LOSS * (warm - ROOM)
    return (residual**2).mean() / LOSS + start * ((model(torch.zeros(1, 1)) - 1) ** 2).sum()


def warms(model: Any, batch: Any, *, unit: float = 1.0) -> Tensor:
    """The residual of a heated rod, and the errors at both ends."""
    x = batch[0].clone().requires_grad_()
    residual = slope(slope(model(x), x), x) + unit * math.pi**2 * torch.sin(math.pi * x)
    ends = model(torch.tensor([[-1.0], [1.0]]))[:, 0] - unit * torch.tensor([1.0, 2.0])
    return (residual**2).mean() / 10 + (ends**2).sum()


class Mixture(nn.Module):
    """Three Gaussians for each input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 9))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 1) to logarithms of weights, means and logarithms of deviations, (n, 3) each."""
        weight, mean, spread = self.body(x).chunk(3, dim=1)
        return weight.log_softmax(dim=1), mean, spread.clamp(-5, 5)


def surprise(model: Any, batch: Any, *, summed: bool = False) -> Tensor:
    """Minus the log-likelihood of the mixture, or the sum of the logarithms of its parts."""
    weight, mean, spread = model(batch[0])
    parts = weight - 0.5 * ((batch[1] - mean) / spread.exp()) ** 2 - spread - 0.5 * math.log(2 * math.pi)
    return -(parts.sum(dim=1) if summed else parts.logsumexp(dim=1)).mean()


def likelier(model: Any, data: Data) -> float:
    """1 for answers that are far likelier than under one Gaussian, 0 for as likely."""
    one = 0.5 * math.log(2 * math.pi * math.e * float(data[1].var()))
    return -math.expm1(float(surprise(model, data)) - one)


class Reader(nn.Module):
    """A trunk, and heads for the class and for ink."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.kind, self.ink = nn.Linear(64, 10), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 64) to logits (n, 10) and ink (n, 8)."""
        h = self.trunk(x)
        return self.kind(h), self.ink(h)


def reads(model: Any, batch: Any, *, summed: bool = True, unit: float = 1.0) -> Tensor:
    """Both losses, or the last alone."""
    kind, ink = model(batch[0])
    loss = F.cross_entropy(kind, batch[1])
    other = F.mse_loss(ink, unit * batch[2])
    return loss + other if summed else other


def told(model: Any, data: Data) -> float:
    """The mean of how well classes and ink are told."""
    kind, ink = model(data[0])
    return (class_score(lambda _: kind, data) + 1 - float(F.mse_loss(ink, data[2]) / data[2].var(correction=0))) / 2


def _randn(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight)


CUP = Program(
    model=field,
    train=lambda: cup(True),
    held_out=lambda: cup(False),
    score=explained,
    training_step=cools,
    options={"lr": 5e-3},
    batch=128,
    steps=400,
)
ROD = but(
    CUP,
    train=lambda: rod(True),
    held_out=lambda: rod(False),
    training_step=warms,
    steps=400,
)
FORKS = but(
    CUP,
    model=Mixture,
    train=lambda: forks(True),
    held_out=lambda: forks(False),
    score=likelier,
    training_step=surprise,
    steps=400,
)
READER = but(
    CUP,
    model=Reader,
    train=lambda: readings(True),
    held_out=lambda: readings(False),
    score=told,
    training_step=reads,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9, "nesterov": True},
    batch=32,
    steps=300,
)

SOUND = {
    "cup that cools": CUP,
    "heated rod": ROD,
    "heated rod by lbfgs": but(
        ROD, body=in_closure, optimizer=torch.optim.LBFGS, options={"lr": 0.1, "max_iter": 10, "history_size": 20}, steps=40
    ),
    "two answers to each number": FORKS,
    "digits and their ink": READER,
}

FAULTS = {
    "cup without a start": fault(
        CUP,
        "the initial value is left out of the loss",
        "constant_as_good",
        training_step=lambda model, batch: cools(model, batch, start=0.0),
    ),
    "cup by the second": fault(
        CUP,
        "times from 0 to 3,600 into tanh",
        f"{UNSCALED} {SATURATED}",
        train=lambda: by_the_second(True),
        held_out=lambda: by_the_second(False),
        training_step=lambda model, batch: cools(model, batch, length=3600.0),
    ),
    "rod in kelvin": fault(
        ROD,
        "temperatures of 300 to 600 from a net whose outputs are about 1",
        FAR_TARGETS,
        train=lambda: in_kelvin(True),
        held_out=lambda: in_kelvin(False),
        training_step=lambda model, batch: warms(model, batch, unit=300.0),
    ),
    "logarithms of the parts": fault(
        FORKS,
        "the sum of logarithms in place of the logarithm of a sum",
        "identical_units collapsed_output",
        training_step=lambda model, batch: surprise(model, batch, summed=True),
    ),
    "reader drawn from N(0, 1)": fault(
        READER, "weights of torch.randn, as wide as 64 inputs", LOUD, model=drawn(Reader, _randn)
    ),
    "one loss over the other": fault(
        READER,
        "loss = ... twice: the second takes the first one's place",
        f"{CUT} untrained_parameter unmoved_parameter",
        training_step=lambda model, batch: reads(model, batch, summed=False),
    ),
    "ink in thousandths": fault(
        READER,
        "ink in units of a thousandth beside cross-entropy",
        FAR_TARGETS,
        train=lambda: readings(True),
        training_step=lambda model, batch: reads(model, batch, unit=1000.0),
    ),
}
