"""Tables: rents, rare defects, tags of songs, and a few spectra."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import SMALL
from programs.program import Data, Program, accuracy, but, class_score, explained, fault
from programs.unseen.causes import DIES, FAR_TARGETS, TWICE


@functools.cache
def rents(train: bool) -> Data:
    """Six columns (n, 6) of mean 0 and variance 1, and logarithms of rents (n, 1) of mean 0 and variance about 1."""
    rng = torch.Generator().manual_seed(8221 if train else 8222)
    x = torch.randn(1200 if train else 400, 6, generator=rng)
    y = 0.8 * x[:, 0] + 0.5 * torch.sin(2 * x[:, 1]) + 0.4 * x[:, 2] * x[:, 3] - 0.3 * x[:, 4].abs() + 0.24
    return x, (y + 0.15 * torch.randn(len(x), generator=rng))[:, None]


def in_hundreds(train: bool) -> Data:
    """The same flats with rents in hundreds, mostly from 5 to 20."""
    x, y = rents(train)
    return x, torch.exp(2.3 + 0.4 * y)


def in_full(train: bool) -> Data:
    """The same flats with rents to the last coin, about 1,000 give or take 400."""
    x, y = in_hundreds(train)
    return x, 100 * y


@functools.cache
def defects(train: bool) -> Data:
    """Measurements (n, 8) of parts, of which 90, 7 and 3 of a hundred are sound, bent and cracked."""
    rng = torch.Generator().manual_seed(8223 if train else 8224)
    n = 3000
    kind = torch.multinomial(torch.tensor([0.9, 0.07, 0.03]), n, replacement=True, generator=rng)
    middle = torch.zeros(3, 8)
    middle[1, :3], middle[2, 2:5] = 1.1, -1.2
    return middle[kind] + torch.randn(n, 8, generator=rng), kind


@functools.cache
def songs(train: bool) -> Data:
    """Sounds (n, 16), and which of six tags a song has, (n, 6) of 0.0 and 1.0; most have one or two."""
    rng = torch.Generator().manual_seed(8225)
    toward = torch.randn(16, 6, generator=rng) / 4
    rng.manual_seed(8226 if train else 8227)
    x = torch.randn(1500 if train else 500, 16, generator=rng)
    told = x @ toward + 0.5 * torch.sin(2 * x[:, :6]) + 0.2 * torch.randn(len(x), 6, generator=rng)
    return x, (told > 0.45).float()


@functools.cache
def spectra(train: bool) -> Data:
    """Forty spectra (n, 60) of three mixed substances, and the share of the first, (n, 1)."""
    rng = torch.Generator().manual_seed(8228)
    lines = torch.randn(3, 60, generator=rng)
    rng.manual_seed(8229 if train else 8230)
    n = 40 if train else 200
    share = torch.randn(n, 3, generator=rng)
    return share @ lines / 1.7 + 0.3 * torch.randn(n, 60, generator=rng), share[:, :1]


def columns(inside: int, out: int, *last: nn.Module, drop: float = 0.0) -> nn.Sequential:
    """Two hidden layers of 48."""
    return nn.Sequential(
        *(nn.Linear(inside, 48), nn.SiLU(), nn.Dropout(drop), nn.Linear(48, 48), nn.SiLU(), nn.Dropout(drop)),
        *(nn.Linear(48, out), *last),
    )


def rarity(power: float) -> Tensor:
    """Weights of the three kinds by their shares to a power."""
    return torch.tensor([0.9, 0.07, 0.03]) ** power


def of_logarithms(output: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of logarithms."""
    return F.mse_loss(output.log(), target.log())


def over_the_batch(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Share of right answers, where answers go through a softmax over the wrong dimension first."""
    return accuracy([(output.softmax(dim=0), target) for output, target in pairs])


def tagged(model: Any, data: Data, *, threshold: float = 0.0) -> float:
    """Balanced accuracy over the tags: 0 for always the same tags."""
    right, has = (model(data[0]) > threshold) == (data[1] > 0.5), data[1] > 0.5
    each = [right[has[:, i], i].float().mean() + right[~has[:, i], i].float().mean() - 1 for i in range(6)]
    return float(torch.stack(each).mean())


def _scaled_flat(train: bool) -> Data:
    x, y = rents(train)
    x = x.clone()
    x[:, 5] = 2.0  # the year of the survey
    return (x - x.mean(dim=0)) / x.std(dim=0), y


def _swings(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.001, 0.3, step_size_up=25)


def _slowly(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step / 200) ** 2))


RENTS = Program(
    model=lambda: columns(6, 1),
    train=lambda: rents(True),
    held_out=lambda: rents(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 3e-3},
    steps=300,
)
RATIOS = but(
    RENTS,
    model=lambda: columns(6, 1, nn.Softplus()),
    train=lambda: in_hundreds(True),
    held_out=lambda: in_hundreds(False),
    loss=of_logarithms,
)
DEFECTS = but(
    RENTS,
    model=lambda: columns(8, 3, drop=0.5),
    train=lambda: defects(True),
    held_out=lambda: defects(False),
    score=class_score,
    metric=accuracy,
    loss=lambda o, y: F.cross_entropy(o, y, rarity(-1.0)),
    options={"lr": 3e-3},
    batch=64,
    steps=300,
)
SONGS = but(
    RENTS,
    model=lambda: columns(16, 6),
    train=lambda: songs(True),
    held_out=lambda: songs(False),
    score=tagged,
    loss=F.binary_cross_entropy_with_logits,
    optimizer=torch.optim.AdamW,
    steps=300,
)

SOUND = {
    "rents": RENTS,
    "rents by their logarithms": RATIOS,
    "rents at a rate that swings": but(
        RENTS, optimizer=torch.optim.SGD, options={"lr": 0.001, "momentum": 0.8}, scheduler=_swings, clip=0.1
    ),
    "rents that warm up half the way": but(RENTS, scheduler=_slowly, options={"lr": 1e-2}, steps=400),
    "rare defects by weights": DEFECTS,
    "tags of songs": SONGS,
    "forty spectra under dropout": Program(
        model=lambda: nn.Sequential(nn.Dropout(0.3), nn.Linear(60, 64), nn.ReLU(), nn.Dropout(0.6), nn.Linear(64, 1)),
        train=lambda: spectra(True),
        held_out=lambda: spectra(False),
        score=explained,
        loss=F.smooth_l1_loss,
        optimizer=torch.optim.AdamW,
        options={"lr": 2e-3, "weight_decay": 0.1},
        batch=8,
        steps=400,
    ),
}

FAULTS = {
    "rents to the last coin": fault(
        RENTS, "targets about 1,000 as they stand", FAR_TARGETS, train=lambda: in_full(True), held_out=lambda: in_full(False)
    ),
    "column that never changes": fault(
        RENTS,
        "a constant column is divided by its deviation of zero",
        "not_finite_data",
        train=lambda: _scaled_flat(True),
        held_out=lambda: _scaled_flat(False),
    ),
    "step schedule with a factor of zero": fault(
        RENTS,
        "gamma=0 was meant to switch the schedule off",
        f"untrained_parameter.lr_zero {DIES}",
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 20, gamma=0.0),
    ),
    "rents in half precision": fault(
        RENTS, "model.half() and Adam's usual eps", "eps_underflow underflow", dtype=torch.float16
    ),
    "logarithms of raw outputs": fault(
        RATIOS, "nothing keeps outputs above zero before the logarithm", "not_finite", model=lambda: columns(6, 1)
    ),
    "weights the wrong way round": fault(
        DEFECTS,
        "classes are weighed by their shares in place of the inverse",
        "class_imbalance",
        loss=lambda o, y: F.cross_entropy(o, y, rarity(1.0)),
    ),
    "defects by a softmax over the batch": fault(
        DEFECTS, "softmax(dim=0) before the argmax of the metric", "metric_wrong evaluation_path", metric=over_the_batch
    ),
    "softmax over tags": fault(
        SONGS,
        "softmax where each tag has its own probability",
        TWICE,
        model=lambda: columns(16, 6, nn.Softmax(dim=1)),
        loss=F.binary_cross_entropy,
        score=lambda model, data: tagged(model, data, threshold=0.5),
    ),
    "tags by sgd at adam's rate": fault(
        SONGS, "SGD without momentum in Adam's place, at 0.002", SMALL, optimizer=torch.optim.SGD, options={"lr": 2e-3}
    ),
}
