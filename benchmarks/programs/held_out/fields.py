"""Functions of coordinates: pictures as functions, and solutions of differential equations through second derivatives."""

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LARGE, LOUD
from programs.program import Data, Program, but, explained, fault


@functools.cache
def picture(train: bool) -> Data:
    """Places (n, 2) from -1 to 1, and the brightness there, (n, 1), of a picture made of waves."""
    rng = torch.Generator().manual_seed(180 if train else 181)
    at = 2 * torch.rand(1600 if train else 500, 2, generator=rng) - 1
    y = torch.sin(7 * at[:, 0] + 3 * at[:, 1]) + torch.cos(9 * at[:, 1] - 2) + (at.norm(dim=1) < 0.6)
    return at, (y - 0.3)[:, None] / 1.1


def times(train: bool) -> Data:
    """Times (n, 1) from 0 to 2."""
    rng = torch.Generator().manual_seed(182 if train else 183)
    return (2 * torch.rand(512 if train else 200, 1, generator=rng),)


class Waves(nn.Module):
    """Random frequencies of the place, then a small net."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", 4 * torch.randn(2, 32))
        self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, at: Tensor) -> Tensor:
        """Places (n, 2) to (n, 1)."""
        phase = at @ self.frequencies
        return self.body(torch.cat([phase.sin(), phase.cos()], dim=1))


class Sine(nn.Module):
    """sin(factor * x)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return torch.sin(self.factor * x)


def siren(factor: float = 10.0, *, divides: bool = True) -> nn.Sequential:
    """Layers of sines with the weights that their paper asks for: U(-sqrt(6 / fan_in) / factor, …) behind the first."""
    model = nn.Sequential(
        nn.Linear(2, 32), Sine(factor), nn.Linear(32, 32), Sine(factor), nn.Linear(32, 32), Sine(factor), nn.Linear(32, 1)
    )
    for i, module in enumerate(model):
        if isinstance(module, nn.Linear):
            bound = 0.5 if i == 0 else math.sqrt(6 / 32) / (factor if divides else 0.2)
            nn.init.uniform_(module.weight, -bound, bound)
    return model


def solver(active: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Times (n, 1) to a solution (n, 1)."""
    return nn.Sequential(nn.Linear(1, 32), active(), nn.Linear(32, 32), active(), nn.Linear(32, 1))


def residual(*, sign: float = 1.0, cut: bool = False):
    """The oscillator u'' = -4 u with u(0) = 1 and u'(0) = 0: squares of what is left over."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        t = batch[0].clone().requires_grad_()
        u = model(t)
        speed = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        force = torch.autograd.grad(speed.sum(), t, create_graph=True)[0]
        left = (force.detach() + 4 * u.detach()) if cut else (force + 4 * u)
        zero = torch.zeros(1, 1, requires_grad=True)
        first = model(zero)
        first_speed = torch.autograd.grad(first.sum(), zero, create_graph=True)[0]
        begin = (first - 1).square() + first_speed.square()
        begin = begin.detach() if cut else begin
        loss = sign * (left.square().mean() / 10 + begin.sum())
        return loss.requires_grad_() if cut else loss

    return step


def solved(model: nn.Module, data: Data) -> float:
    """Share of the variance of cos(2 t) that the model explains."""
    return explained(model, (data[0], torch.cos(2 * data[0])))


def _pixels(train: bool) -> Data:
    """Places as pixels of 0 to 1,000."""
    at, y = picture(train)
    return 500 * (at + 1), y


def _shades(train: bool) -> Data:
    at, y = picture(train)
    return at, 20_000 + 9_000 * y


def _rows_and_columns(train: bool) -> Data:
    """The brightness was flattened by columns, the places by rows."""
    at, y = picture(train)
    return at, y.view(40, -1).mT.reshape(-1, 1) if train else y


FOURIER = Program(
    model=Waves,
    train=lambda: picture(True),
    held_out=lambda: picture(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 5e-3},
    batch=64,
    steps=400,
)
SIREN = but(FOURIER, model=siren, options={"lr": 2e-3}, scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.995))
MOTION = Program(
    model=solver,
    train=lambda: times(True),
    held_out=lambda: times(False),
    score=solved,
    training_step=residual(),
    options={"lr": 0.01},
    batch=64,
    steps=400,
)
COARSE = but(FOURIER, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9})

SOUND = {
    "picture by random frequencies": FOURIER,
    "picture by sines": SIREN,
    "picture under sgd": COARSE,
    "oscillator": MOTION,
    "oscillator with softplus": but(MOTION, model=lambda: solver(nn.Softplus), options={"lr": 0.02}, steps=600),
}

FAULTS = {
    "places in pixels": fault(
        SIREN,
        "places of 0 to 1,000 into sines",
        "input_scale gain_budget_high.input confirmed_change.inputs_standard",
        train=lambda: _pixels(True),
        held_out=lambda: _pixels(False),
    ),
    "sines drawn too wide": fault(
        SIREN,
        "weights are drawn as if sin had no factor, and times five",
        LOUD,
        model=lambda: siren(divides=False),
    ),
    "oscillator with relu": fault(
        MOTION, "nn.ReLU, whose second derivative is zero everywhere", "flat_derivative", model=lambda: solver(nn.ReLU)
    ),
    "residual detached": fault(
        MOTION, "derivatives are detached, then requires_grad_()", CUT, training_step=residual(cut=True)
    ),
    "residual climbs": fault(MOTION, "minus the squares", "wrong_sign loss_below_floor", training_step=residual(sign=-1.0)),
    "brightness in 16 bits": fault(
        COARSE,
        "targets of 20,000 give or take 9,000",
        "target_scale confirmed_change.targets_standard",
        train=lambda: _shades(True),
        held_out=lambda: _shades(False),
    ),
    "brightness by columns": fault(
        FOURIER, "reshape of a transposed picture", "shuffled_labels", train=lambda: _rows_and_columns(True)
    ),
    "oscillator at rate 2": fault(MOTION, "lr=2 under Adam", LARGE, options={"lr": 2.0}),
}
