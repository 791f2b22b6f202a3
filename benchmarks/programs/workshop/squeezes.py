"""Models of what lies behind the data: autoencoders of several kinds, small diffusion, and a flow."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED, UNREACHABLE
from programs.held_out.causes import LARGE
from programs.material import flat_digits, raw_digits
from programs.program import Data, Program, but, fault
from programs.unseen.causes import DETACHED, SAME, SUMMED, UNSCALED, UPSIDE_DOWN

STAGES = 40
KEPT = torch.cumprod(1 - torch.linspace(1e-3, 0.2, STAGES), dim=0)


def ink(train: bool) -> Data:
    """Digits (n, 64) from 0 to 1."""
    return (raw_digits(train)[0].flatten(1) / 16,)


def plates(train: bool) -> Data:
    """Digits (n, 1, 8, 8) from 0 to 1, which are their own targets."""
    x = raw_digits(train)[0] / 16
    return x, x


def rows(train: bool) -> Data:
    """Digits (n, 64) of mean 0 and deviation 1, which are their own targets."""
    x = flat_digits(train)[0]
    return x, x


@functools.cache
def spiral(train: bool) -> Data:
    """Points (n, 2) on most of a spiral's turn."""
    rng = torch.Generator().manual_seed(7111 if train else 7112)
    at = 2 + 5 * torch.rand(2000 if train else 500, 1, generator=rng)
    return (0.3 * torch.cat([at * at.cos(), at * at.sin()], dim=1) + 0.04 * torch.randn(len(at), 2, generator=rng),)


@functools.cache
def arches(train: bool) -> Data:
    """Points (n, 2) on a thin parabola, half a unit high."""
    rng = torch.Generator().manual_seed(7113 if train else 7114)
    x = 0.4 * torch.randn(1500 if train else 500, 1, generator=rng)
    return (torch.cat([x, x**2 - 0.2 + 0.03 * torch.randn(len(x), 1, generator=rng)], dim=1),)


class Tied(nn.Module):
    """An autoencoder whose decoder is the encoder's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 40), nn.Linear(40, 12)
        self.back, self.out = nn.Parameter(torch.zeros(40)), nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to the same."""
        code = self.second(torch.tanh(self.first(x)))
        return F.linear(torch.tanh(F.linear(code, self.second.weight.t(), self.back)), self.first.weight.t(), self.out)


def hourglass() -> nn.Sequential:
    """A convolutional autoencoder that gives logits of pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, 2, 1), nn.ELU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(64, 12)),
        *(nn.Linear(12, 64), nn.ELU(), nn.Unflatten(1, (16, 2, 2)), nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.ELU()),
        nn.ConvTranspose2d(12, 1, 4, 2, 1),
    )


class Bottle(nn.Module):
    """A variational autoencoder with a weight of the divergence that grows from 0 to 1."""

    def __init__(self, detach: bool = False) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(64, 80), nn.SiLU())
        self.mean, self.spread = nn.Linear(80, 6), nn.Linear(80, 6)
        self.outer = nn.Sequential(nn.Linear(6, 80), nn.SiLU(), nn.Linear(80, 64))
        self.register_buffer("age", torch.zeros(()))
        self.detach = detach

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances."""
        h = self.inner(x)
        return self.mean(h), self.spread(h)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to what is restored of the means."""
        return self.outer(self.encode(x)[0])


def bound(model: Any, batch: Any, *, weight: float = 1.0, floor: float = 0.0) -> Tensor:
    """The evidence bound with sums over pixels and codes."""
    mean, spread = model.encode(batch[0])
    code = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
    made = model.outer(code.detach() if model.detach else code)
    model.age += 1
    parts = -0.5 * (1 + spread - mean**2 - spread.exp())
    divergence = parts.sum(dim=1).mean().clamp_min(floor)
    return 0.5 * ((made - batch[0]) ** 2).sum(dim=1).mean() + weight * min(1.0, float(model.age) / 150) * divergence


def cleans(model: Any, batch: Any) -> Tensor:
    """The clean row from one with a third of its pixels gone and noise on the others."""
    x = batch[0]
    return F.mse_loss(model(F.dropout(x, 0.33) + 0.2 * torch.randn_like(x)), x)


def fills(model: Any, batch: Any) -> Tensor:
    """Half of the pixels from the other half; the loss is of the hidden ones only."""
    x = batch[0]
    hidden = (torch.rand_like(x) < 0.4).float()
    made = model(torch.cat([x * (1 - hidden), hidden], dim=1))
    return (hidden * (made - x) ** 2).sum() / hidden.sum()


def filled(model: Any, data: Data) -> float:
    """Share of the variance of hidden pixels that is restored."""
    x = data[0]
    hidden = (torch.rand(x.shape, generator=torch.Generator().manual_seed(4)) < 0.4).float()
    wrong = (hidden * (model(torch.cat([x * (1 - hidden), hidden], dim=1)) - x) ** 2).sum()
    return 1 - float(wrong / (hidden * (x - x.mean(dim=0)) ** 2).sum())


class Sparse(nn.Module):
    """More codes than pixels, few of them used."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 160), nn.Linear(160, 64)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to the same."""
        return self.outer(F.relu(self.inner(x)))


def frugal(model: Any, batch: Any, reduce: Callable[[Tensor], Tensor] = torch.mean) -> Tensor:
    """Error and the codes' size."""
    codes = F.relu(model.inner(batch[0]))
    return F.mse_loss(model.outer(codes), batch[0]) + 0.02 * reduce(codes.abs())


class Denoiser(nn.Module):
    """Which noise is in a point at a stage."""

    def __init__(self, words: bool = True) -> None:
        super().__init__()
        self.words = words
        self.net = nn.Sequential(
            *(nn.Linear(18 if words else 3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()),
            *(nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2)),
        )

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        """Points (n, 2) and stages (n,) to noise (n, 2)."""
        if not self.words:
            return self.net(torch.cat([x, stage[:, None].float() * (1000 / STAGES)], dim=1))
        angle = stage[:, None] / STAGES * 2.0 ** torch.arange(8)
        return self.net(torch.cat([x, angle.sin(), angle.cos()], dim=1))


def noises(model: Any, batch: Any, *, twice: bool = False) -> Tensor:
    """The error of the noise at stages drawn at random."""
    x = batch[0]
    stage = torch.randint(STAGES, (len(x),))
    kept, noise = KEPT[stage][:, None], torch.randn_like(x)
    wanted = torch.randn_like(x) if twice else noise
    return F.mse_loss(model(kept.sqrt() * x + (1 - kept).sqrt() * noise, stage), wanted)


def _astray(a: Tensor, b: Tensor) -> float:
    far = torch.cdist(a, b)
    return float(far.amin(dim=0).mean() + far.amin(dim=1).mean())


def sampled(model: Any, data: Data) -> float:
    """1 where points from noise lie on the true ones, 0 where they lie as a normal distribution."""
    rng = torch.Generator().manual_seed(5)
    x = torch.randn(500, 2, generator=rng)
    plain = data[0].mean(dim=0) + data[0].std(dim=0) * torch.randn(500, 2, generator=rng)
    for stage in reversed(range(STAGES)):
        before = KEPT[stage - 1] if stage else torch.ones(())
        share = KEPT[stage] / before
        noise = model(x, torch.full((500,), stage))
        x = (x - (1 - share) / (1 - KEPT[stage]).sqrt() * noise) / share.sqrt()
        x = x + ((1 - share) * (1 - before) / (1 - KEPT[stage])).sqrt() * torch.randn(500, 2, generator=rng)
    return 1 - _astray(x, data[0]) / _astray(plain, data[0])


class Flow(nn.Module):
    """Six couplings that make a normal distribution of the points."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)) for _ in range(6)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, 2) to points, and logarithms of volumes (n,)."""
        volume = torch.zeros(len(x))
        for i, net in enumerate(self.nets):
            kept, changed = x[:, i % 2, None], x[:, 1 - i % 2, None]
            size, shift = net(kept).chunk(2, dim=1)
            size = 2 * torch.tanh(size)
            changed = changed * size.exp() + shift
            x = torch.cat([kept, changed] if i % 2 == 0 else [changed, kept], dim=1)
            volume = volume + size[:, 0]
        return x, volume


def surprise(model: Any, batch: Any, *, sign: float = 1.0) -> Tensor:
    """Minus the log-likelihood; it goes below zero where points lie close."""
    z, volume = model(batch[0])
    return (0.5 * (z**2).sum(dim=1) + math.log(2 * math.pi) - sign * volume).mean()


def likelier(model: Any, data: Data) -> float:
    """How far the surprise is from a normal distribution's to the true one's, 1 at the true one."""
    x = data[0]
    plain = 0.5 * math.log((2 * math.pi * math.e) ** 2 * float(torch.linalg.det(torch.cov(x.T))))
    best = 0.5 * math.log((2 * math.pi * math.e * 0.4 * 0.03) ** 2)
    return (plain - float(surprise(model, data))) / (plain - best)


def restored(model: Any, data: Data) -> float:
    """Share of the variance of each column that is restored."""
    made = model(data[0])
    return 1 - float(F.mse_loss(made, data[0]) / data[0].var(dim=0, correction=0).mean())


def restored_pixels(model: Any, data: Data) -> float:
    """The same of logits."""
    return 1 - float(F.mse_loss(model(data[0]).sigmoid(), data[1]) / data[1].var(dim=0, correction=0).mean())


def _standard(train: bool) -> Data:
    x = (raw_digits(train)[0] - 4.9) / 6
    return x, x


def _times_255(train: bool) -> Data:
    return (raw_digits(train)[0].flatten(1) / 16 * 255,)


TIED = Program(
    model=Tied,
    train=lambda: rows(True),
    held_out=lambda: rows(False),
    score=restored,
    loss=F.mse_loss,
    optimizer=torch.optim.SGD,
    options={"lr": 0.5, "momentum": 0.9, "nesterov": True},
    steps=400,
)
PIXELS = but(
    TIED,
    model=hourglass,
    train=lambda: plates(True),
    held_out=lambda: plates(False),
    score=restored_pixels,
    loss=F.binary_cross_entropy_with_logits,
    optimizer=torch.optim.Adam,
    options={"lr": 5e-3},
    steps=300,
)
BOTTLE = but(
    TIED,
    model=Bottle,
    train=lambda: rows(True)[:1],
    held_out=lambda: rows(False)[:1],
    loss=None,
    training_step=bound,
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3},
)
SPARSE = but(BOTTLE, model=Sparse, training_step=frugal, optimizer=torch.optim.Adam, steps=300)
DIFFUSION = but(
    BOTTLE,
    model=Denoiser,
    train=lambda: spiral(True),
    held_out=lambda: spiral(False),
    score=sampled,
    training_step=noises,
    options={"lr": 5e-3},
    scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000),
    batch=256,
    steps=1000,
)
FLOW = but(
    DIFFUSION,
    model=Flow,
    train=lambda: arches(True),
    held_out=lambda: arches(False),
    score=likelier,
    training_step=surprise,
    options={"lr": 3e-3},
    scheduler=None,
    clip=5.0,
    batch=128,
    steps=400,
)

SOUND = {
    "autoencoder with tied weights": TIED,
    "convolutional autoencoder of ink": PIXELS,
    "variational autoencoder that warms up": BOTTLE,
    "variational autoencoder with free bits": but(
        BOTTLE, training_step=lambda model, batch: bound(model, batch, floor=3.0), optimizer=torch.optim.NAdam
    ),
    "sparse autoencoder": SPARSE,
    "denoising autoencoder": but(
        SPARSE,
        model=lambda: nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 64)),
        training_step=cleans,
        optimizer=torch.optim.RAdam,
        options={"lr": 5e-3},
    ),
    "masked autoencoder": but(
        SPARSE,
        model=lambda: nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64)),
        train=lambda: ink(True),
        held_out=lambda: ink(False),
        training_step=fills,
        score=filled,
        steps=800,
    ),
    "diffusion of a spiral": DIFFUSION,
    "flow of an arch": FLOW,
}

FAULTS = {
    "tied weights at a rate of 50": fault(
        TIED, "SGD with momentum at 50", f"{LARGE} not_finite", options={"lr": 50.0, "momentum": 0.9, "nesterov": True}
    ),
    "ink of mean zero under cross-entropy": fault(
        PIXELS,
        "standardized pixels as targets of BCEWithLogitsLoss",
        f"{UNREACHABLE} loss_below_floor label_range",
        train=lambda: _standard(True),
        held_out=lambda: _standard(False),
        score=restored_pixels,
    ),
    "divergence times the number of pixels": fault(
        BOTTLE,
        "the divergence weighs 64 times as much as in the bound",
        f"{SAME} sum_for_mean",
        training_step=lambda model, batch: bound(model, batch, weight=64.0),
    ),
    "code detached from its encoder": fault(
        BOTTLE, "code.detach() before the decoder", f"{DETACHED} {SAME}", model=lambda: Bottle(detach=True)
    ),
    "bottle of 255 greys": fault(
        BOTTLE,
        "pixels up to 255 into exp(spread)",
        f"{UNSCALED} not_finite target_scale exploding_gradient",
        train=lambda: _times_255(True),
        held_out=lambda: _times_255(False),
    ),
    "codes summed": fault(
        SPARSE,
        "codes.abs().sum() with the weight for a mean",
        f"{SUMMED} {SAME} dead_units",
        training_step=lambda model, batch: frugal(model, batch, torch.sum),
    ),
    "stage as a number": fault(
        DIFFUSION,
        "the stage, 0 to 999, beside the coordinates",
        f"{UNSCALED} numbers_for_words",
        model=lambda: Denoiser(words=False),
    ),
    "noise drawn twice": fault(
        DIFFUSION,
        "randn_like again where the noise is the target",
        f"{UNPAIRED} {SAME} repeated_draws",
        training_step=lambda model, batch: noises(model, batch, twice=True),
    ),
    "flow with volumes added": fault(
        FLOW,
        "the logarithm of the volume with the wrong sign",
        UPSIDE_DOWN,
        training_step=lambda model, batch: surprise(model, batch, sign=-1.0),
    ),
}
