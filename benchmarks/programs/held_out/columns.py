"""Tables with categories: quantiles, uncertain answers, rare answers, factors of two tables, closures."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, REDRAWN, SMALL
from programs.program import Data, Loop, Program, but, ending, explained, fault, in_closure

KINDS, NUMBERS = 20, 5


@functools.cache
def flats(train: bool) -> Data:
    """Two categories (n, 2), five numbers (n, 5), and a price (n, 1) of mean 0 and variance about 1."""
    rng = torch.Generator().manual_seed(170)
    worth, kind = torch.randn(KINDS, generator=rng), torch.randn(KINDS, generator=rng)
    rng.manual_seed(171 if train else 172)
    n = 1500 if train else 500
    who, x = torch.randint(KINDS, (n, 2), generator=rng), torch.randn(n, NUMBERS, generator=rng)
    y = worth[who[:, 0]] + kind[who[:, 1]] * x[:, 0] + 0.6 * torch.tanh(2 * x[:, 1]) + 0.5 * x[:, 2]
    return who, x, (y / 1.7 + 0.15 * torch.randn(n, generator=rng))[:, None]


@functools.cache
def rows(train: bool) -> Data:
    """Numbers (n, 6) and an answer (n, 1) whose noise grows with the third."""
    rng = torch.Generator().manual_seed(173 if train else 174)
    x = torch.randn(1200 if train else 400, 6, generator=rng)
    y = 0.8 * x[:, 0] * x[:, 1] + 0.7 * torch.cos(2 * x[:, 3]) + 0.4 * x[:, 4]
    return x, (y + (0.05 + 0.25 * torch.sigmoid(3 * x[:, 2])) * torch.randn(len(x), generator=rng))[:, None]


@functools.cache
def frauds(train: bool) -> Data:
    """Numbers (n, 6), of which 6 % are 1: those in a ring around the origin of the first two."""
    rng = torch.Generator().manual_seed(175 if train else 176)
    x = torch.randn(3000 if train else 1500, 6, generator=rng)
    far = x[:, :2].norm(dim=1)
    return x, ((far > 2.2) & (far < 3.2)).float()[:, None]


@functools.cache
def ratings(train: bool) -> Data:
    """Who (n,) and what (n,) of 40 each, and a rating (n,) from three hidden factors."""
    rng = torch.Generator().manual_seed(177)
    who, what = torch.randn(40, 3, generator=rng), torch.randn(40, 3, generator=rng)
    rng.manual_seed(178 if train else 179)
    i, j = torch.randint(40, (2, 2000 if train else 400), generator=rng)
    return i, j, ((who[i] * what[j]).sum(dim=1) / 1.7 + 0.1 * torch.randn(len(i), generator=rng))


class Embedded(nn.Module):
    """Categories looked up beside numbers, two hidden layers with layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(KINDS, 6) for _ in range(2))
        self.body = nn.Sequential(nn.Linear(12 + NUMBERS, 48), nn.LayerNorm(48), nn.GELU(), nn.Linear(48, 32), nn.GELU())
        self.head = nn.Linear(32, 1)

    def forward(self, who: Tensor, x: Tensor) -> Tensor:
        """Categories (n, 2) and numbers (n, 5) to (n, 1)."""
        return self.head(self.body(torch.cat([*(t(who[:, i]) for i, t in enumerate(self.tables)), x], dim=1)))


class Factors(nn.Module):
    """Two tables whose rows are multiplied."""

    def __init__(self, std: float = 0.3) -> None:
        super().__init__()
        self.who, self.what = nn.Embedding(40, 4), nn.Embedding(40, 4)
        nn.init.normal_(self.who.weight, 0.0, std)
        nn.init.normal_(self.what.weight, 0.0, std)

    def forward(self, who: Tensor, what: Tensor) -> Tensor:
        """Two rows of numbers (n,) to ratings (n,)."""
        return (self.who(who) * self.what(what)).sum(dim=1)


def net(outputs: int = 1, *, inputs: int = 6) -> nn.Sequential:
    """Three hidden layers with SELU."""
    return nn.Sequential(
        nn.Linear(inputs, 40), nn.SELU(), nn.Linear(40, 40), nn.SELU(), nn.Linear(40, 40), nn.SELU(), nn.Linear(40, outputs)
    )


def of_categories(loss: Any, scale: float = 1.0, *, columns: bool = True):
    """A loss of what the model says of categories and numbers."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        target = scale * batch[2]
        return loss(model(batch[0], batch[1]), target if columns else target[:, 0])

    return step


def _worth(model: nn.Module, data: Data) -> float:
    return explained(lambda _: model(data[0], data[1]), (data[1], data[2]))


def _rated(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


def quantiles(output: Tensor, target: Tensor) -> Tensor:
    """Pinball loss of the 10, 50 and 90 % quantiles."""
    levels = torch.tensor([0.1, 0.5, 0.9])
    gap = target - output
    return torch.maximum(levels * gap, (levels - 1) * gap).mean()


def _one_sided(output: Tensor, target: Tensor) -> Tensor:
    """The pinball loss with its second slope turned over: too large an answer costs less and less."""
    levels = torch.tensor([0.1, 0.5, 0.9])
    gap = target - output
    return torch.where(gap > 0, levels * gap, (1 - levels) * gap).mean()


def _median(model: nn.Module, data: Data) -> float:
    return explained(lambda x: model(x)[:, 1:2], data)


def certainty(output: Tensor, target: Tensor) -> Tensor:
    """Gaussian negative log-likelihood with a log-variance; below zero once answers are near."""
    mean, log_variance = output.chunk(2, dim=1)
    return 0.5 * (log_variance + (target - mean).square() / log_variance.exp()).mean()


def _raw_variance(output: Tensor, target: Tensor) -> Tensor:
    """The second output is taken for the variance as it is, which may be below zero."""
    mean, variance = output.chunk(2, dim=1)
    return 0.5 * (variance.log() + (target - mean).square() / variance).mean()


def _mean_alone(model: nn.Module, data: Data) -> float:
    return explained(lambda x: model(x)[:, :1], data)


def _balanced(model: nn.Module, data: Data) -> float:
    said, true = model(data[0]) > 0, data[1] > 0.5
    return float(said[true].float().mean() - said[~true].float().mean())


def _balanced_metric(pairs: list[tuple[Tensor, Tensor]]) -> float:
    said, true = torch.cat([o > 0 for o, _ in pairs]), torch.cat([t > 0.5 for _, t in pairs])
    return float(said[true].float().mean() + (~said[~true]).float().mean()) / 2


def weighted(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy with the rare answer fifteen times as heavy."""
    return F.binary_cross_entropy_with_logits(output, target, pos_weight=torch.tensor([15.0]))


def _closure_without_backward(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    model.train()

    def closure() -> Tensor:
        optimizer.zero_grad()
        return loop.loss_of(model, batch)

    loss = torch.as_tensor(optimizer.step(closure))
    loop.seen(loss)
    return loss


def _stamps(train: bool) -> Data:
    """One of the numbers is a time in seconds since 1970."""
    who, x, y = flats(train)
    x = x.clone()
    x[:, 4] = 1.7e9 + 2e7 * x[:, 4]
    return who, x, y


def _one_each(train: bool) -> Data:
    """Rows sorted by their answer, as the file stores them."""
    x, y = frauds(train)
    order = y[:, 0].argsort(stable=True)
    return x[order], y[order]


FLATS = Program(
    model=Embedded,
    train=lambda: flats(True),
    held_out=lambda: flats(False),
    score=_worth,
    training_step=of_categories(F.huber_loss),
    optimizer=torch.optim.AdamW,
    options={"lr": 5e-3},
    batch=64,
    steps=300,
)
DELTA = but(FLATS, optimizer=torch.optim.Adadelta, options={"lr": 1.0})
QUANTILES = Program(
    model=lambda: net(3),
    train=lambda: rows(True),
    held_out=lambda: rows(False),
    score=_median,
    loss=quantiles,
    options={"lr": 4e-3},
    batch=48,
    steps=500,
)
CERTAIN = but(QUANTILES, model=lambda: net(2), loss=certainty, score=_mean_alone)
FRAUD = but(
    QUANTILES,
    model=net,
    train=lambda: frauds(True),
    held_out=lambda: frauds(False),
    score=_balanced,
    loss=weighted,
    metric=_balanced_metric,
    batch=100,
    steps=300,
)
FACTORS = but(
    FLATS,
    model=Factors,
    train=lambda: ratings(True),
    held_out=lambda: ratings(False),
    score=lambda model, data: 1 - float(F.mse_loss(model(*data[:2]), data[2]) / data[2].var(correction=0)),
    training_step=_rated,
    optimizer=torch.optim.Adam,
    options={"lr": 0.02},
    steps=400,
)
NEWTON = but(
    QUANTILES,
    model=net,
    loss=F.mse_loss,
    score=explained,
    optimizer=torch.optim.LBFGS,
    options={"lr": 1.0, "max_iter": 6, "line_search_fn": "strong_wolfe"},
    body=in_closure,
    batch=1200,
    steps=25,
)
FOREST = but(QUANTILES, model=net, loss=F.l1_loss, score=explained, optimizer=torch.optim.Adagrad, options={"lr": 0.05})

SOUND = {
    "flats": FLATS,
    "flats adadelta": DELTA,
    "quantiles": QUANTILES,
    "certainty of its own": CERTAIN,
    "rare answers": FRAUD,
    "factors of ratings": FACTORS,
    "rows by lbfgs": NEWTON,
    "absolute error under adagrad": FOREST,
}

FAULTS = {
    "adadelta at keras' rate": fault(DELTA, "lr=0.001, Keras' default, in Adadelta", SMALL, options={"lr": 0.001}),
    "prices without a column": fault(
        FLATS,
        "answers (n, 1) against prices (n,)",
        "target_broadcast confirmed_change.target_shape",
        training_step=of_categories(F.huber_loss, columns=False),
    ),
    "seconds since 1970": fault(
        FLATS,
        "a time stamp of 1.7e9 beside standardised numbers",
        "input_scale gain_budget_high.input confirmed_change.inputs_standard",
        train=lambda: _stamps(True),
        held_out=lambda: _stamps(False),
    ),
    "pinball's second slope turned": fault(
        QUANTILES, "(1 - level) * gap for gaps below zero", "wrong_sign loss_below_floor", loss=_one_sided
    ),
    "variance from a raw output": fault(CERTAIN, "log of an output that may be below zero", "not_finite", loss=_raw_variance),
    "factors that start at zero": fault(
        FACTORS,
        "both tables start at zero: each gradient is the other table",
        f"flat_loss identical_units zero_gradient {REDRAWN}",
        model=lambda: Factors(0.0),
    ),
    "closure without backward": fault(
        NEWTON, "the closure returns the loss and calls no backward", "zero_gradient", body=_closure_without_backward
    ),
    "maximised": fault(
        FRAUD, "maximize=True", "wrong_sign", optimizer=torch.optim.Adam, options={"lr": 4e-3, "maximize": True}
    ),
    "betas exchanged": fault(
        but(FRAUD, options={"lr": 0.02}),
        "betas=(0.9999, 0.9)",
        "long_momentum exploding_gradient oscillation confirmed_change.momentum_usual",
        options={"lr": 0.02, "betas": (0.9999, 0.9)},
    ),
    "eps of ten": fault(
        QUANTILES,
        "eps=10 in Adam, which was the rate's place",
        f"{SMALL} update_ratio.eps confirmed_change.eps_usual",
        options={"lr": 4e-3, "eps": 10.0},
    ),
    "rare answers sorted": fault(
        FRAUD,
        "sorted by answer and not shuffled",
        "class_order confirmed_change.shuffled",
        train=lambda: _one_each(True),
        shuffle=False,
    ),
    "lbfgs rate of 500": fault(NEWTON, "lr=500 without a line search", LARGE, options={"lr": 500.0, "max_iter": 6}),
    "softplus on signed answers": fault(
        FOREST,
        "nn.Softplus ends a model of signed answers",
        "unreachable_target capped_loss clamped_logits confirmed_change.last_activation_off",
        model=ending(net, nn.Softplus()),
    ),
}
