"""Regression as forum threads have it: tables, counts, heat maps, key points, autoencoders, and an equation to solve."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import EVEN, UNPAIRED, UNREACHABLE
from programs.held_out.causes import CUT, LARGE, OUT_OF_ORDER, QUIET, SMALL
from programs.material import flat_digits
from programs.program import Data, Program, but, clears_too_late, drawn, explained, fault
from programs.unseen.causes import DETACHED, FAR_TARGETS, SAME, SATURATED, SUMMED, UNSCALED

FEATURES = torch.tensor([[1500.0, 500.0], [3.0, 1.0], [1970.0, 20.0], [8_000.0, 3_000.0], [0.5, 0.2]])


@functools.cache
def houses(train: bool) -> Data:
    """Houses (n, 5) with mean 0 and variance 1, and their prices (n, 1), too."""
    rng = torch.Generator().manual_seed(340 if train else 341)
    x = torch.randn(800 if train else 400, 5, generator=rng)
    price = 0.5 * x[:, 0] + 0.6 * x[:, 0] * x[:, 4] + 0.5 * x[:, 2].abs() + 0.3 * torch.sin(2 * x[:, 3]) - 0.4
    return x, (price / 0.86 + 0.2 * torch.randn(len(x), generator=rng))[:, None]


@functools.cache
def visits(train: bool) -> Data:
    """Features (n, 4), and how many visits, (n, 1)."""
    rng = torch.Generator().manual_seed(342 if train else 343)
    x = torch.randn(1200 if train else 600, 4, generator=rng)
    return x, torch.poisson(torch.exp(1.0 + 0.7 * x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3].clamp(-1, 1)), generator=rng)


@functools.cache
def spots(train: bool) -> Data:
    """Noisy images (n, 1, 16, 16) of a bright spot, and its place (n, 2) from 0 to 1."""
    rng = torch.Generator().manual_seed(344 if train else 345)
    n = 600 if train else 200
    place = 0.15 + 0.7 * torch.rand(n, 2, generator=rng)
    near = torch.exp(-_distance_squared(place) / (2 * 0.08**2))
    return (3 * near + 0.4 * torch.randn(n, 16, 16, generator=rng))[:, None], place


def _distance_squared(place: Tensor) -> Tensor:
    at = (torch.arange(16) + 0.5) / 16
    return (at[None, :, None] - place[:, :1, None]) ** 2 + (at[None, None] - place[:, 1:, None]) ** 2


@functools.cache
def heat(train: bool) -> Data:
    """The same images, and heat maps of the spot, a peak of one with a width of half a pixel."""
    x, place = spots(train)
    return x, torch.exp(-_distance_squared(place) / (2 * 0.04**2))[:, None]


@functools.cache
def mixtures(train: bool) -> Data:
    """Spectra (n, 24) of four parts, none below 0, which are their own targets."""
    rng = torch.Generator().manual_seed(346)
    parts = torch.rand(4, 24, generator=rng) ** 3
    rng.manual_seed(347 if train else 348)
    x = torch.rand(1000 if train else 300, 4, generator=rng) @ parts
    x = (x + 0.02 * torch.rand(len(x), 24, generator=rng)) / 2
    return x, x


def layers(
    *sizes: int, act: Callable[[], nn.Module] | None = nn.ReLU, last: nn.Module | None = None
) -> Callable[[], nn.Sequential]:
    """Makes an MLP of these sizes."""

    def made() -> nn.Sequential:
        parts: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(sizes)):
            parts += [*([act()] if i and act else []), nn.Linear(a, b)]
        return nn.Sequential(*parts, *([last] if last is not None else []))

    return made


def finder(*last: nn.Module, out: int = 2) -> nn.Sequential:
    """Three convolutions and a linear layer."""
    return nn.Sequential(
        *(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, out), *last),
    )


def painter(*last: nn.Module) -> nn.Sequential:
    """Convolutions from an image to a map."""
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 12, 5, padding=2), nn.ReLU()),
        *(nn.Conv2d(12, 1, 5, padding=2), *last),
    )


class Residual(nn.Module):
    """Twelve residual blocks with weight norm and no other."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first, self.last = nn.Linear(5, width), nn.Linear(width, 1)
        self.blocks = nn.ModuleList(norm(nn.Linear(width, width)) for _ in range(12))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 5) to (n, 1)."""
        h = self.first(x)
        for block in self.blocks:
            h = h + 0.3 * F.silu(block(h))
        return self.last(h)


class Variational(nn.Module):
    """A variational autoencoder of digits as rows."""

    def __init__(self, codes: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2 * codes))
        self.decoder = nn.Sequential(nn.Linear(codes, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 64) to what is restored, means, and logarithms of variances."""
        mean, logs = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * (logs / 2).exp() if self.training else mean
        return self.decoder(code), mean, logs


def evidence_bound(model: Any, batch: Any, *, weight: float = 1.0, recon: str = "sum") -> Tensor:
    """Reconstruction and divergence, both summed over an example."""
    made, mean, logs = model(batch[0])
    error = F.mse_loss(made, batch[1], reduction=recon) / (2 * len(made) if recon == "sum" else 1)
    return error - weight * 0.5 * (1 + logs - mean**2 - logs.exp()).sum(dim=1).mean()


def restored(model: Any, data: Data) -> float:
    """Share of the variance of each column that is restored."""
    return 1 - float(F.mse_loss(model(data[0])[0], data[1]) / data[1].var(dim=0, correction=0).mean())


def by_columns(model: Any, data: Data) -> float:
    """Share of the variance within each output's column that is explained."""
    output, target = model(data[0]).flatten(1), data[1].flatten(1)
    return 1 - float(F.mse_loss(output, target) / target.var(dim=0, correction=0).mean())


def oscillates(model: Any, batch: Any) -> Tensor:
    """The equation y'' = -4 y with y(0) = 1 and y'(0) = 0."""
    t = batch[0].detach().requires_grad_()
    y = model(t)
    slope = torch.autograd.grad(y.sum(), t, create_graph=True)[0]
    bend = torch.autograd.grad(slope.sum(), t, create_graph=True)[0]
    zero = torch.zeros(1, 1, requires_grad=True)
    start = model(zero)
    start_slope = torch.autograd.grad(start.sum(), zero, create_graph=True)[0]
    return ((bend + 4 * y) ** 2).mean() + 10 * ((start - 1) ** 2 + start_slope**2).sum()


@functools.cache
def times(train: bool) -> Data:
    """Times (n, 1) from 0 to 2, and the cosine that solves the equation."""
    t = 2 * torch.rand(512 if train else 200, 1, generator=torch.Generator().manual_seed(349 if train else 350))
    return t, torch.cos(2 * t)


def rates_explained(model: Any, data: Data) -> float:
    """Share of the variance of counts that exp(output) explains, of what their rate explains."""
    x = data[0]
    rate = torch.exp(1.0 + 0.7 * x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3].clamp(-1, 1))
    return 1 - float(F.mse_loss(model(x).exp(), rate) / rate.var(correction=0))


def _in_units(train: bool) -> Data:
    x, y = houses(train)
    return FEATURES[:, 0] + FEATURES[:, 1] * x, y


def _in_dollars(train: bool) -> Data:
    x, y = houses(train)
    return x, 250_000 + 80_000 * y


def _other_scaler(train: bool) -> Data:
    """What is new is scaled with a scaler that was fitted to something else."""
    x, y = houses(train)
    return (x if train else (x + FEATURES[:, 0] / FEATURES[:, 1]) / 3), y


def _shuffled(train: bool) -> Data:
    x, y = houses(train)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(8))], y


def _frame(train: bool) -> Data:
    x, place = spots(train)
    return x, 480 * place


def _from_item(model: Any, batch: Any) -> Tensor:
    loss = F.mse_loss(model(batch[0]), batch[1])
    return torch.tensor(loss.item(), requires_grad=True)


def _constant(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight, 0.1)
        nn.init.zeros_(module.bias)


def _tiny(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 1e-3)
        nn.init.zeros_(module.bias)


HOUSES = Program(
    model=layers(5, 48, 48, 1),
    train=lambda: houses(True),
    held_out=lambda: houses(False),
    score=explained,
    loss=F.mse_loss,
    steps=300,
)
SPOTS = but(HOUSES, model=finder, train=lambda: spots(True), held_out=lambda: spots(False), score=by_columns, steps=150)
HEAT = but(
    SPOTS,
    model=painter,
    train=lambda: (heat(True)[0], 10 * heat(True)[1]),
    held_out=lambda: (heat(False)[0], 10 * heat(False)[1]),
    options={"lr": 1e-2},
    steps=200,
)
MOMENTUM = but(HEAT, optimizer=torch.optim.SGD, options={"lr": 3e-3, "momentum": 0.9}, steps=300)
SPECTRA = but(
    HOUSES,
    model=layers(24, 32, 6, 32, 24),
    train=lambda: mixtures(True),
    held_out=lambda: mixtures(False),
    score=by_columns,
    options={"lr": 5e-3},
    steps=600,
)
DEEP = but(HOUSES, model=layers(5, *[32] * 8, 1, act=nn.Tanh))
VARIATIONAL = but(
    HOUSES,
    model=Variational,
    train=lambda: (flat_digits(True)[0], flat_digits(True)[0]),
    held_out=lambda: (flat_digits(False)[0], flat_digits(False)[0]),
    loss=None,
    training_step=evidence_bound,
    score=restored,
    options={"lr": 3e-3},
    steps=800,
)

SOUND = {
    "prices of houses": HOUSES,
    "prices of houses by huber": but(
        HOUSES, loss=F.smooth_l1_loss, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9}
    ),
    "prices through twelve weight-normed blocks": but(HOUSES, model=Residual),
    "prices through eight tanh layers": DEEP,
    "visits by poisson": but(
        HOUSES,
        model=layers(4, 32, 32, 1),
        train=lambda: visits(True),
        held_out=lambda: visits(False),
        score=rates_explained,
        loss=F.poisson_nll_loss,
    ),
    "place of a spot": SPOTS,
    "heat map of a spot": HEAT,
    "spectra through six numbers": SPECTRA,
    "digits through a variational bottleneck": VARIATIONAL,
    "oscillation from its equation": but(
        HOUSES,
        model=layers(1, 32, 32, 1, act=nn.Tanh),
        train=lambda: times(True),
        held_out=lambda: times(False),
        loss=None,
        training_step=oscillates,
        options={"lr": 5e-3},
        batch=64,
        steps=500,
    ),
}

FAULTS = {
    "houses in feet and years": fault(
        HOUSES,
        "features in their own units, up to 10,000",
        UNSCALED,
        train=lambda: _in_units(True),
        held_out=lambda: _in_units(False),
    ),
    "prices in dollars": fault(
        HOUSES, "targets are about 250,000", FAR_TARGETS, train=lambda: _in_dollars(True), held_out=lambda: _in_dollars(False)
    ),
    "new houses scaled by another scaler": fault(
        HOUSES, "what is held out is scaled with other statistics", "split_shift", held_out=lambda: _other_scaler(False)
    ),
    "houses shuffled without their prices": fault(
        HOUSES,
        "the rows are shuffled, the prices are not",
        UNPAIRED,
        train=lambda: _shuffled(True),
    ),
    "relu behind prices": fault(
        HOUSES,
        "ReLU is the last layer, half of the targets are negative",
        UNREACHABLE,
        model=layers(5, 48, 48, 1, last=nn.ReLU()),
    ),
    "tanh behind a heat map": fault(
        HEAT,
        "outputs from -1 to 1 for a peak of 10",
        f"{UNREACHABLE} {SATURATED} target_scale",
        model=lambda: painter(nn.Tanh()),
    ),
    "prices through sixteen sigmoids": fault(
        DEEP,
        "sixteen sigmoid layers",
        f"vanishing_gradient {SATURATED} {QUIET}",
        model=layers(5, *[32] * 16, 1, act=nn.Sigmoid),
    ),
    "linear layers for prices": fault(
        HOUSES, "no activation between the layers", "linear_stack", model=layers(5, 48, 48, 1, act=None)
    ),
    "prices from constant weights": fault(
        HOUSES,
        "every weight is 0.1",
        EVEN,
        model=drawn(layers(5, 48, 48, 1), _constant),
    ),
    "deep prices drawn from N(0, 0.001)": fault(DEEP, "std of 0.001", QUIET, model=drawn(DEEP.model, _tiny)),
    "prices from loss.item": fault(
        HOUSES, "backward of torch.tensor(loss.item())", f"{CUT} {DETACHED}", loss=None, training_step=_from_item
    ),
    "prices with zero_grad behind backward": fault(
        HOUSES, "gradients are cleared between backward and step", OUT_OF_ORDER, body=clears_too_late
    ),
    "spot in pixels of the frame": fault(
        SPOTS,
        "sigmoid behind coordinates of up to 480",
        f"{UNREACHABLE} {SATURATED} target_scale",
        model=lambda: finder(nn.Sigmoid()),
        train=lambda: _frame(True),
        held_out=lambda: _frame(False),
    ),
    "heat map with a small peak": fault(
        MOMENTUM,
        "a peak of one in 256 pixels under a mean, with the rate for a peak of ten",
        f"{SMALL} target_scale class_imbalance {SAME}",
        train=lambda: heat(True),
        held_out=lambda: heat(False),
    ),
    "spectra through softmax": fault(
        SPECTRA,
        "softmax behind the decoder: outputs sum to one",
        f"{UNREACHABLE} softmax_twice confirmed_change.softmax_off",
        model=layers(24, 32, 6, 32, 24, last=nn.Softmax(dim=1)),
    ),
    "spectra summed": fault(
        SPECTRA,
        "reduction='sum' with the rate for a mean, under SGD",
        f"{SUMMED} {LARGE}",
        loss=lambda o, y: F.mse_loss(o, y, reduction="sum"),
        optimizer=torch.optim.SGD,
        options={"lr": 0.1, "momentum": 0.9},
    ),
    "divergence against a mean": fault(
        VARIATIONAL,
        "the error is a mean over pixels, the divergence a sum over codes",
        f"{SAME} sum_for_mean",
        training_step=lambda model, batch: evidence_bound(model, batch, recon="mean"),
    ),
}
