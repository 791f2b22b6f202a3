"""Functions to be fitted: a needle's direction, a spring, a chirp, and where a lamp is in a picture."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LOUD, STALE
from programs.program import Data, Loop, Program, but, explained, fault, in_closure
from programs.unseen.causes import DETACHED, SAME, UNSCALED


@functools.cache
def compasses(train: bool) -> Data:
    """Noisy readings (n, 8) of eight sensors around a needle, and its direction (n, 2) as cosine and sine."""
    rng = torch.Generator().manual_seed(7205 if train else 7206)
    angle = 6.2832 * torch.rand(800 if train else 300, 1, generator=rng)
    x = torch.exp(2 * torch.cos(angle - torch.arange(8) * 0.7854)) / 3
    return x + 0.15 * torch.randn(x.shape, generator=rng), torch.cat([angle.cos(), angle.sin()], dim=1)


@functools.cache
def spring(train: bool) -> Data:
    """Times (n, 1) from -1 to 1 and where a damped spring is."""
    t = 2 * torch.rand(160, 1, generator=torch.Generator().manual_seed(7207 if train else 7208)) - 1
    return t, torch.exp(-0.8 * (t + 1)) * torch.cos(5 * t)


@functools.cache
def chirp(train: bool) -> Data:
    """Places (n, 1) from -1 to 1 and a wave that grows fast."""
    x = 2 * torch.rand(1000 if train else 300, 1, generator=torch.Generator().manual_seed(7209 if train else 7210)) - 1
    return x, torch.sin(12 * (x + 1.2) ** 2)


@functools.cache
def lamps(train: bool) -> Data:
    """Pictures (n, 1, 14, 14) of a lamp among noise and where it is, (n, 2) from -1 to 1."""
    rng = torch.Generator().manual_seed(7211 if train else 7212)
    place = 1.6 * torch.rand(500 if train else 200, 2, generator=rng) - 0.8
    at = torch.linspace(-1, 1, 14)
    far = (at[None, :, None] - place[:, :1, None]) ** 2 + (at[None, None] - place[:, 1:, None]) ** 2
    return (torch.exp(-far / 0.02) + 0.15 * torch.randn(far.shape, generator=rng))[:, None], place


def perceptron(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU, last: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    """Linear layers with an activation behind all but the last."""
    parts: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        parts += [nn.Linear(sizes[i], sizes[i + 1]), act()]
    return nn.Sequential(*parts[:-1], *last)


def needle(made: Tensor, true: Tensor) -> Tensor:
    """One minus the cosine of the angle between; it never looks at lengths."""
    return (1 - F.cosine_similarity(made, true, dim=1)).mean()


def pointed(model: Any, data: Data) -> float:
    """Mean cosine of the angle between."""
    return float(F.cosine_similarity(model(data[0]), data[1], dim=1).mean())


class Waves(nn.Module):
    """Frequencies that are never trained, and a net on them."""

    pitch: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pitch", 15 * torch.randn(1, 48))
        self.net = perceptron(96, 64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1) to (n, 1)."""
        at = x @ self.pitch
        return self.net(torch.cat([at.sin(), at.cos()], dim=1))


class Siren(nn.Module):
    """Sines all the way, with the weights that they need."""

    def __init__(self, pitch: float = 20.0, drawn: bool = True) -> None:
        super().__init__()
        layers = [nn.Linear(1, 48), nn.Linear(48, 48), nn.Linear(48, 48)]
        self.layers, self.last, self.pitch = nn.ModuleList(layers), nn.Linear(48, 1), pitch
        for i, layer in enumerate(layers if drawn else ()):
            bound = 1.0 if i == 0 else math.sqrt(6 / 48) / pitch
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1) to (n, 1)."""
        for layer in self.layers:
            x = torch.sin(self.pitch * layer(x))
        return self.last(x)


class SoftArgmax(nn.Module):
    """The mean place under a map that is made by convolutions."""

    def __init__(self, over_channels: bool = False) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 1, 5, padding=2))
        self.over_channels = over_channels

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 14, 14) to (n, 2)."""
        maps, at = self.maps(x), torch.linspace(-1, 1, 14)
        odds = maps.softmax(dim=1)[:, 0] / 196 if self.over_channels else maps.flatten(1).softmax(dim=1).view(-1, 14, 14)
        return torch.stack([(odds.sum(dim=2) * at).sum(dim=1), (odds.sum(dim=1) * at).sum(dim=1)], dim=1)


def _closure_without_clearing(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    def closure() -> Tensor:
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        return loss

    return torch.as_tensor(optimizer.step(closure))


def _in_metres(train: bool) -> Data:
    x, y = chirp(train)
    return 1000 * x, y


NEEDLE = Program(
    model=lambda: perceptron(8, 32, 2, act=nn.Softplus),
    train=lambda: compasses(True),
    held_out=lambda: compasses(False),
    score=pointed,
    loss=needle,
    optimizer=torch.optim.Adamax,
    options={"lr": 1e-2},
    batch=8,
)
SPRING = Program(
    model=lambda: perceptron(1, 24, 24, 1, act=nn.Tanh),
    train=lambda: spring(True),
    held_out=lambda: spring(False),
    score=explained,
    loss=F.mse_loss,
    body=in_closure,
    optimizer=torch.optim.LBFGS,
    options={"lr": 0.5, "max_iter": 8},
    batch=160,
    steps=60,
)


SIREN = Program(
    model=Siren,
    train=lambda: chirp(True),
    held_out=lambda: chirp(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 5e-4},
    batch=128,
    steps=500,
)


ARGMAX = Program(
    model=SoftArgmax,
    train=lambda: lamps(True),
    held_out=lambda: lamps(False),
    score=explained,
    loss=F.l1_loss,
    options={"lr": 5e-3},
    steps=200,
)


SOUND = {
    "needle of a compass": NEEDLE,
    "damped spring by lbfgs": SPRING,
    "chirp through fixed frequencies": but(SIREN, model=Waves, options={"lr": 3e-3}),
    "chirp through sines": SIREN,
    "lamp by soft argmax": ARGMAX,
}

FAULTS = {
    "lbfgs without zero_grad": fault(SPRING, "zero_grad is missing in the closure", STALE, body=_closure_without_clearing),
    "chirp of places in metres": fault(
        SIREN,
        "places from -1,000 to 1,000 under sines that want -1 to 1",
        f"{UNSCALED} {LOUD}",
        train=lambda: _in_metres(True),
        held_out=lambda: _in_metres(False),
    ),
    "sines with usual weights": fault(
        SIREN, "the usual weights under a pitch of 120", f"{LOUD} oscillation", model=lambda: Siren(120.0, drawn=False)
    ),
    "softmax over one channel": fault(
        ARGMAX,
        "softmax(dim=1) of maps (n, 1, h, w)",
        f"{SAME} {CUT} {DETACHED}",
        model=lambda: SoftArgmax(over_channels=True),
    ),
}
