"""What lies behind the data: autoencoders, plain, denoising and variational, diffusion, and flows of two kinds."""

import functools
import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import flat_digits, raw_digits
from programs.program import Data, Program, but, explained, fault
from programs.unseen.causes import SAME, UNSCALED
from programs.workshop.forgers import apart, dense

STAGES = 100


@functools.cache
def beats(train: bool) -> Data:
    """Short traces (n, 1, 32) of two bells each, twice: as inputs and as targets."""
    rng = torch.Generator().manual_seed(8211 if train else 8212)
    n = 800 if train else 300
    place = torch.tensor([8.0, 20.0]) + 4 * (torch.rand(n, 2, generator=rng) - 0.5) * 2
    height = torch.tensor([2.0, 1.0]) + 0.5 * torch.randn(n, 2, generator=rng)
    bells = height[:, :, None] * torch.exp(-((torch.arange(32) - place[:, :, None]) ** 2) / 6)
    x = (bells.sum(dim=1) - 0.4 + 0.03 * torch.randn(n, 32, generator=rng))[:, None]
    return x, x


def ink(train: bool) -> Data:
    """Digits (n, 64) from 0 to 1."""
    return (raw_digits(train)[0].flatten(1) / 16,)


def raw_ink(train: bool) -> Data:
    """Digits (n, 64) from 0 to 16, as they are stored."""
    return (raw_digits(train)[0].flatten(1),)


@functools.cache
def spoiled(train: bool) -> Data:
    """Digits (n, 64) with noise, and without."""
    x = flat_digits(train)[0]
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(8213 if train else 8214)), x


@functools.cache
def strokes(train: bool) -> Data:
    """Points (n, 2) on two parallel strokes, one longer than the other."""
    rng = torch.Generator().manual_seed(8215 if train else 8216)
    n = 1200 if train else 400
    along, which = torch.rand(n, generator=rng), torch.randint(2, (n,), generator=rng)
    x = torch.stack([3.2 * along - 1.6, torch.where(which == 1, 1.1, -1.1) + 0.5 * along], dim=1)
    return (x + 0.06 * torch.randn(n, 2, generator=rng),)


class Trace(nn.Module):
    """A convolutional autoencoder of traces through six numbers; `squeezed` drops the channel at the end."""

    def __init__(self, *, squeezed: bool = False) -> None:
        super().__init__()
        self.squeezed = squeezed
        self.encode = nn.Sequential(
            *(nn.Conv1d(1, 8, 5, 2, 2), nn.SiLU(), nn.Conv1d(8, 16, 5, 2, 2), nn.SiLU()),
            *(nn.Flatten(), nn.Linear(128, 6)),
        )
        self.decode = nn.Sequential(
            *(nn.Linear(6, 128), nn.SiLU(), nn.Unflatten(1, (16, 8))),
            *(nn.ConvTranspose1d(16, 8, 4, 2, 1), nn.SiLU(), nn.ConvTranspose1d(8, 1, 4, 2, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 32) to (n, 1, 32)."""
        made = self.decode(self.encode(x))
        return made[:, 0] if self.squeezed else made


class Bottle(nn.Module):
    """A variational autoencoder of ink: means, and logarithms of variances."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = dense(64, 96, 16), dense(8, 96, 64)

    def told(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations (n, 8)."""
        mean, raw = self.encode(x).chunk(2, dim=1)
        return mean, torch.exp(0.5 * raw)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to pixels (n, 64) from the means."""
        return torch.sigmoid(self.decode(self.told(x)[0]))


def bound(model: Any, batch: Any, *, kind: str = "sum") -> Tensor:
    """The bound: the error summed over pixels, or its mean; the divergence of a row, or summed over the batch, too."""
    x = batch[0]
    mean, std = model.told(x)
    logits = model.decode(mean + std * torch.randn_like(std))
    divergence = -0.5 * (1 + 2 * std.log() - mean**2 - std**2).sum()
    if kind == "mean":
        return F.binary_cross_entropy_with_logits(logits, x) + divergence
    return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + divergence) / len(x)


def betas() -> Tensor:
    """The variances that are added at each stage."""
    return torch.linspace(1e-3, 0.1, STAGES)


class Denoiser(nn.Module):
    """Tells the noise in points, given the stage by sines."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        """Points (n, 2) and stages from 0 to 1, (n,), to (n, 2)."""
        angles = stage[:, None] * torch.tensor([1.0, 3.0, 9.0, 27.0])
        return self.body(torch.cat([x, angles.sin(), angles.cos()], dim=1))


def noises(model: Any, batch: Any, *, product: bool = True, same_stage: bool = False) -> Tensor:
    """The noise of a stage drawn for each point; the signal's share is a product over the stages before."""
    x = batch[0]
    stage = torch.full((len(x),), len(x)) if same_stage else torch.randint(STAGES, (len(x),))
    kept = 1 - betas()
    share = (kept.cumprod(0) if product else kept)[stage][:, None]
    noise = torch.randn_like(x)
    return F.mse_loss(model(share.sqrt() * x + (1 - share).sqrt() * noise, stage / STAGES), noise)


def diffused(model: Any, data: Data) -> float:
    """1 where sampled points lie as true ones do, 0 where they lie as noise."""
    rng = torch.Generator().manual_seed(6)
    x = start = torch.randn(400, 2, generator=rng)
    step, kept = betas(), (1 - betas()).cumprod(0)
    for i in reversed(range(STAGES)):
        told = model(x, torch.full((400,), i / STAGES))
        x = (x - step[i] / (1 - kept[i]).sqrt() * told) / (1 - step[i]).sqrt()
        x = x + (step[i].sqrt() * torch.randn(400, 2, generator=rng) if i else 0.0)
    return 1 - apart(x, data[0]) / apart(start, data[0]) if bool(x.isfinite().all()) else math.nan


def flows(model: Any, batch: Any) -> Tensor:
    """The speed along straight lines from noise to points; its loss stays above 1, since lines cross."""
    x, noise = batch[0], torch.randn_like(batch[0])
    time = torch.rand(len(x))
    between = (1 - time)[:, None] * noise + time[:, None] * x
    return F.mse_loss(model(between, time), x - noise)


def arrived(model: Any, data: Data) -> float:
    """The same score for noise that is carried along in forty steps."""
    x = start = torch.randn(400, 2, generator=torch.Generator().manual_seed(7))
    for i in range(40):
        x = x + model(x, torch.full((400,), i / 40)) / 40
    return 1 - apart(x, data[0]) / apart(start, data[0])


class Couplings(nn.Module):
    """Six affine couplings of two coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(dense(1, 48, 48, 2) for _ in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Points (n, 2) to noise (n, 2), and the logarithms of the volumes (n,) of each coupling."""
        volumes = []
        for i, net in enumerate(self.nets):
            fixed, moved = x[:, i % 2], x[:, 1 - i % 2]
            scale, shift = net(fixed[:, None]).unbind(dim=1)
            scale = 2 * torch.tanh(scale)
            moved = moved * scale.exp() + shift
            x = torch.stack([fixed, moved] if i % 2 == 0 else [moved, fixed], dim=1)
            volumes.append(scale)
        return x, volumes


def surprise(model: Any, batch: Any, *, last_only: bool = False) -> Tensor:
    """Minus the log-likelihood, with the volumes of all couplings or of the last."""
    z, volumes = model(batch[0])
    volume = volumes[-1] if last_only else torch.stack(volumes).sum(dim=0)
    return (0.5 * (z**2).sum(dim=1) + math.log(2 * math.pi) - volume).mean()


def likelier(model: Any, data: Data) -> float:
    """1 for points that are far likelier than under a Gaussian, 0 for as likely."""
    gaussian = 0.5 * float(torch.logdet(torch.cov(data[0].T))) + 1 + math.log(2 * math.pi)
    return -math.expm1(float(surprise(model, data)) - gaussian)


def cleaned(model: Any, batch: Any) -> Tensor:
    """The error of what is made of spoiled rows."""
    return F.mse_loss(model(batch[0]), batch[1])


def _spoiled_twice(train: bool) -> Data:
    x = spoiled(train)[0]
    return x, x


def plain(between: type[nn.Module] = nn.Mish, **words: Any) -> nn.Module:
    """A deep autoencoder of 64 numbers through eight."""
    sizes = [64, 48, 32, 8, 32, 48, 64]
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), between(**words))]
    return nn.Sequential(*layers[:-1])


BEATS = Program(
    model=Trace,
    train=lambda: beats(True),
    held_out=lambda: beats(False),
    score=explained,
    loss=F.l1_loss,
    options={"lr": 3e-3, "amsgrad": True},
    steps=300,
)
DEEP = but(
    BEATS,
    model=plain,
    train=lambda: flat_digits(True)[:1] * 2,
    held_out=lambda: flat_digits(False)[:1] * 2,
    loss=F.mse_loss,
    optimizer=torch.optim.Adamax,
    options={"lr": 1e-2},
)
CLEAN = but(
    DEEP,
    model=lambda: dense(64, 96, 96, 64),
    train=lambda: spoiled(True),
    held_out=lambda: spoiled(False),
    optimizer=torch.optim.NAdam,
    options={"lr": 2e-3},
    steps=400,
)
BOTTLE = but(
    BEATS,
    model=Bottle,
    train=lambda: ink(True),
    held_out=lambda: ink(False),
    score=lambda model, data: explained(model, data * 2),
    loss=None,
    training_step=bound,
    options={"lr": 3e-3},
    steps=400,
)
DIFFUSION = but(
    BEATS,
    model=Denoiser,
    train=lambda: strokes(True),
    held_out=lambda: strokes(False),
    score=diffused,
    loss=None,
    training_step=noises,
    options={"lr": 3e-3},
    batch=64,
    steps=600,
)
COUPLINGS = but(
    DIFFUSION,
    model=Couplings,
    score=likelier,
    training_step=surprise,
    clip=5.0,
    steps=400,
)

SOUND = {
    "traces through six numbers": BEATS,
    "deep autoencoder by adamax": DEEP,
    "digits cleaned of noise": CLEAN,
    "bottle of summed errors": BOTTLE,
    "diffusion of two strokes": DIFFUSION,
    "couplings of two strokes": COUPLINGS,
    "straight flow to two strokes": but(
        DIFFUSION, score=arrived, training_step=flows, optimizer=torch.optim.RAdam, options={"lr": 5e-3}, steps=1000
    ),
}

FAULTS = {
    "traces without their channel": fault(
        BEATS,
        "outputs (n, 32) against targets (n, 1, 32)",
        "target_broadcast confirmed_change.target_shape",
        model=lambda: Trace(squeezed=True),
    ),
    "softmax between hidden layers": fault(
        DEEP,
        "softmax as the activation",
        "softmax_twice gain_budget_low vanishing_gradient confirmed_change.softmax_off confirmed_change.relu",
        model=lambda: plain(nn.Softmax, dim=1),
    ),
    "noise in the targets, too": fault(
        CLEAN, "the noisy rows are inputs and targets", "sees_future", train=lambda: _spoiled_twice(True)
    ),
    "divergence of a whole batch": fault(
        BOTTLE,
        "the divergence is summed over batch and codes, the error is a mean",
        f"{SAME} sum_for_mean confirmed_change.mean_for_sum",
        training_step=lambda model, batch: bound(model, batch, kind="mean"),
    ),
    "ink that is not divided by 16": fault(
        BOTTLE,
        "pixels of 0 to 16 under binary cross-entropy",
        f"{UNSCALED} target_scale label_range unreachable_target loss_below_floor",
        train=lambda: raw_ink(True),
        held_out=lambda: raw_ink(False),
    ),
    "alphas that are not multiplied up": fault(
        DIFFUSION,
        "each stage is noised as if it were the first: cumprod is missing",
        "split_shift",
        training_step=lambda model, batch: noises(model, batch, product=False),
    ),
    "stage that is the batch size": fault(
        DIFFUSION,
        "the number of points is handed over for their stages",
        "constant_input",
        training_step=lambda model, batch: noises(model, batch, same_stage=True),
    ),
    "volume of the last coupling": fault(
        COUPLINGS,
        "log_det is overwritten in the loop, not added up",
        "loss_below_floor wrong_sign.volume",
        training_step=lambda model, batch: surprise(model, batch, last_only=True),
    ),
}
