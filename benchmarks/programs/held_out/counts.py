"""How many blobs an image holds: Poisson regression, ordinal steps, and a mean over the field."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, OUTSIDE
from programs.program import Data, Program, but, ending, fault, in_evaluation_mode


@functools.cache
def blobs(train: bool) -> Data:
    """Images (n, 1, 14, 14) with none to eight blobs, and how many, (n, 1)."""
    rng = torch.Generator().manual_seed(120 if train else 121)
    n = 700 if train else 250
    number = torch.randint(9, (n,), generator=rng)
    ys, xs = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    x = torch.zeros(n, 14, 14)
    for i in range(8):
        at = 2 + 10 * torch.rand(n, 2, 1, 1, generator=rng)
        x += (number > i)[:, None, None] * torch.exp(-((ys - at[:, 0]) ** 2 + (xs - at[:, 1]) ** 2) / 1.5)
    return 2 * (x + 0.15 * torch.randn(n, 14, 14, generator=rng))[:, None] - 0.6, number.float()[:, None]


class Counter(nn.Module):
    """Convolutions, the mean over the field, and the logarithm of a rate."""

    def __init__(self, *, bias: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.CELU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.CELU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.CELU(), nn.Linear(16, 1))
        with torch.no_grad():
            self.head[-1].get_parameter("bias").add_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 1, 14, 14) to log-rates (n, 1)."""
        return self.head(self.body(x))


def deviance(model: nn.Module, data: Data) -> float:
    """Share of the Poisson deviance that log-rates explain."""
    return _explained(model(data[0]), data[1])


def of_rates(model: nn.Module, data: Data) -> float:
    """The same of rates."""
    return _explained(model(data[0]).clamp(min=1e-8).log(), data[1])


def _explained(log_rate: Tensor, y: Tensor) -> float:
    least = torch.xlogy(y, y) - y

    def of(log_rate: Tensor) -> Tensor:
        return (log_rate.exp() - y * log_rate + least).mean()

    return 1 - float(of(log_rate) / of(y.mean().log().expand_as(y)))


def rises(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Ordinal: a logit for each of "more than 0" to "more than 7"."""
    steps = (batch[1] > torch.arange(8)).float()
    return F.binary_cross_entropy_with_logits(model(batch[0]), steps)


def ordinal() -> nn.Module:
    """The counter with eight outputs."""
    model = Counter()
    model.head[-1] = nn.Linear(16, 8)
    return model


def _of_steps(model: nn.Module, data: Data) -> float:
    said = model(data[0]).sigmoid().sum(dim=1, keepdim=True)
    return 1 - float(F.mse_loss(said, data[1]) / data[1].var(correction=0))


def _flat(train: bool) -> Data:
    x, y = blobs(train)
    return x, y[:, 0]


def _emptied(train: bool) -> Data:
    """Every image is divided by its own largest value after it was set to one value."""
    x, y = blobs(train)
    return torch.ones_like(x), y


def _poisson_of_rates(output: Tensor, target: Tensor) -> Tensor:
    return F.poisson_nll_loss(output, target, log_input=False)


POISSON = Program(
    model=Counter,
    train=lambda: blobs(True),
    held_out=lambda: blobs(False),
    score=deviance,
    loss=nn.PoissonNLLLoss(),
    optimizer=torch.optim.RAdam,
    options={"lr": 0.02},
    steps=300,
)
RATES = but(POISSON, model=ending(Counter, nn.Softplus()), loss=_poisson_of_rates, score=of_rates, options={"lr": 0.02})
NORMED = but(POISSON, model=lambda: Counter(norm=True), optimizer=torch.optim.Adam)
MOMENTUM = but(POISSON, optimizer=torch.optim.SGD, options={"lr": 0.02, "momentum": 0.9}, clip=5.0, steps=400)

SOUND = {
    "poisson": POISSON,
    "poisson of rates": RATES,
    "poisson batch norm": NORMED,
    "poisson sgd clipped": MOMENTUM,
    "ordinal": but(POISSON, model=ordinal, loss=None, training_step=rises, score=_of_steps),
}

FAULTS = {
    "rates from a raw output": fault(
        RATES, "log_input=False on an output that can be negative: log of it is NaN", "not_finite", model=Counter
    ),
    "counts without a column": fault(
        POISSON,
        "log-rates (n, 1) against counts (n,)",
        "target_broadcast confirmed_change.target_shape",
        train=lambda: _flat(True),
    ),
    "log-rate starts at 12": fault(
        MOMENTUM,
        "the bias of the log-rate starts at 12: a rate of 160,000",
        "loss_at_start target_scale",
        model=lambda: Counter(bias=12.0),
    ),
    "images all of one value": fault(
        POISSON, "a wrong scaler makes every pixel 1", "constant_input blank_images input_scale", train=lambda: _emptied(True)
    ),
    "head alone is trained": fault(
        but(POISSON, optimizer=torch.optim.Adadelta, options={"lr": 1.0}, model=lambda: _thin()),
        "the optimizer gets model.head",
        OUTSIDE,
        trained=lambda model: model.head.parameters(),
    ),
    "poisson at rate 3": fault(MOMENTUM, "lr=3 under SGD with momentum", LARGE, options={"lr": 3.0, "momentum": 0.9}),
    "norm frozen in evaluation mode": fault(
        but(NORMED, train=lambda: _bright(True), held_out=lambda: _bright(False)),
        "model.eval() before the first validation is never undone",
        "evaluation_mode wrong_mode confirmed_change.train_mode confirmed_change.norm_usual",
        body=in_evaluation_mode,
    ),
}


def _bright(train: bool) -> Data:
    """The images a hundred times as bright, which batch norm takes away."""
    x, y = blobs(train)
    return 100 * x + 300, y


def _thin() -> nn.Module:
    """A counter whose body leaves two channels."""
    model = Counter()
    model.body[3] = nn.Conv2d(8, 2, 3, stride=2, padding=1)
    model.head[1] = nn.Linear(2, 16)
    return model
