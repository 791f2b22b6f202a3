"""Three answers about a household from one trunk: a class, a value and a count; trunk and heads have their own optimizers."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, OUTSIDE, STALE
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import DETACHED, FAR_TARGETS, SATURATED, UPSIDE_DOWN

COLUMNS, CLASSES = 9, 3


@functools.cache
def households(train: bool) -> Data:
    """Columns (n, 9), a class (n,) of three, a value (n,) of unit spread, and a count (n,) of mean about 3."""
    rng = torch.Generator().manual_seed(280 if train else 281)
    n = 1200 if train else 400
    x = torch.randn(n, COLUMNS, generator=rng)
    a, b, c = x[:, 0] * x[:, 1], x[:, 2].abs() - 0.8, (x[:, 3] + x[:, 4]) / 1.4
    kind = torch.stack([a, b, c]).argmax(dim=0)
    value = (a + c + 0.5 * x[:, 5] + 0.2 * torch.randn(n, generator=rng)) / 1.5
    return x, kind, value, torch.poisson(torch.exp(0.8 + 0.6 * b + 0.4 * c), generator=rng)


def trunk(active: type[nn.Module] = nn.GELU, *, norm: bool = True, width: int = 48, depth: int = 2) -> nn.Sequential:
    """Hidden layers, with layer norm before each function."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else COLUMNS, width), *([nn.LayerNorm(width)] if norm else []), active()]
    return nn.Sequential(*layers)


class Heads(nn.Module):
    """Three linear heads, and the log-variances that weigh their losses."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.kind, self.value, self.count = nn.Linear(width, CLASSES), nn.Linear(width, 1), nn.Linear(width, 1)
        self.weigh = nn.Parameter(torch.zeros(3))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 48) to (n, 3), (n,) and (n,)."""
        return self.kind(h), self.value(h)[:, 0], self.count(h)[:, 0]


def losses(models: Any, batch: Any, *, log_input: bool = True, detach: bool = False) -> tuple[Tensor, ...]:
    """Cross-entropy, squared error and Poisson's likelihood."""
    x, kind, value, count = batch
    h = models["trunk"](x)
    logits, said, rate = models["heads"](h.detach() if detach else h)
    first = F.nll_loss(logits.log_softmax(dim=1), kind)
    return first, F.mse_loss(said, value), F.poisson_nll_loss(rate, count, log_input=log_input)


def summed(models: Any, batch: Any, **words: Any) -> Tensor:
    """The three losses, added."""
    return torch.stack(losses(models, batch, **words)).sum()


def weighed(models: Any, batch: Any, *, sign: float = 1.0) -> Tensor:
    """Each loss times exp(-s), plus s, with a learned s."""
    s = models["heads"].weigh
    first = F.softplus(torch.stack(losses(models, batch)))
    return (first * torch.exp(-s) + sign * s).sum()


def worst_of_three(models: Any, data: Data) -> float:
    """The mean of three scores, each 1 for perfect and 0 for the best constant."""
    x, kind, value, count = data
    logits, said, rate = models["heads"](models["trunk"](x))
    right = float((logits.argmax(dim=1) == kind).float().mean())
    best = float(torch.bincount(kind).max()) / len(kind)
    explained = [1 - float(F.mse_loss(a, b) / b.var(correction=0)) for a, b in ((said, value), (rate.exp(), count))]
    return ((right - best) / (1 - best) + explained[0] + 2 * explained[1]) / 3


def by_twos(model: Any, *, trunk: float = 2e-3, heads: float = 0.05, momentum: float = 0.9) -> dict[str, Any]:
    """Adam for the trunk, and SGD for the heads."""
    return {
        "trunk": torch.optim.Adam(model["trunk"].parameters(), lr=trunk),
        "heads": torch.optim.SGD(model["heads"].parameters(), lr=heads, momentum=momentum),
    }


def both(models: Any, optimizers: Any, batch: Any, loop: Loop) -> Tensor:
    """One backward pass and two steps."""
    return _stepped(models, optimizers, batch, loop, cleared=("trunk", "heads"), stepped=("trunk", "heads"))


def _stepped(
    models: Any, optimizers: Any, batch: Any, loop: Loop, *, cleared: tuple[str, ...], stepped: tuple[str, ...]
) -> Tensor:
    for name in models:
        models[name].train()
    for name in cleared:
        optimizers[name].zero_grad()
    loss = loop.loss_of(models, batch)
    loss.backward()
    for name in models:
        loop.seen(loss, name)
    for name in stepped:
        optimizers[name].step()
    return loss


def _without_trunk(models: Any, optimizers: Any, batch: Any, loop: Loop) -> Tensor:
    """The trunk's optimizer makes no step."""
    return _stepped(models, optimizers, batch, loop, cleared=("trunk", "heads"), stepped=("heads",))


def _keeps_heads(models: Any, optimizers: Any, batch: Any, loop: Loop) -> Tensor:
    """The heads' gradients are never cleared."""
    return _stepped(models, optimizers, batch, loop, cleared=("trunk",), stepped=("trunk", "heads"))


def _euros(train: bool) -> Data:
    x, kind, value, count = households(train)
    return x, kind, 30_000 + 12_000 * value, count


HOUSE = Program(
    model=lambda: {"trunk": trunk(), "heads": Heads()},
    train=lambda: households(True),
    held_out=lambda: households(False),
    score=worst_of_three,
    training_step=summed,
    trained=lambda model: model,
    optimizer=by_twos,
    options={},
    body=both,
    steps=350,
)
WEIGHED = but(HOUSE, training_step=weighed, options={"heads": 0.01})
BARE = but(HOUSE, model=lambda: {"trunk": trunk(nn.ReLU, norm=False, depth=3), "heads": Heads()}, options={"heads": 0.02})

SOUND = {
    "households": HOUSE,
    "households weighed": WEIGHED,
    "households without a norm": BARE,
    "households with slow heads": but(HOUSE, options={"heads": 2e-3, "trunk": 5e-3}),
}

FAULTS = {
    "trunk that makes no step": fault(
        HOUSE, "only the heads' optimizer makes steps", f"never_steps {OUTSIDE}", body=_without_trunk
    ),
    "heads keep their gradients": fault(BARE, "zero_grad is called for the trunk only", f"{STALE} {LARGE}", body=_keeps_heads),
    "trunk behind a detach": fault(
        HOUSE,
        "the heads get detached features",
        DETACHED,
        training_step=lambda models, batch: summed(models, batch, detach=True),
    ),
    "rates that may be negative": fault(
        BARE,
        "log_input=False, and the head may put out less than 0",
        "not_finite unreachable_target loss_below_floor wrong_sign",
        training_step=lambda models, batch: summed(models, batch, log_input=False),
    ),
    "values in euros": fault(
        HOUSE,
        "values of about 30,000 beside two losses of about 1",
        f"{FAR_TARGETS} {LARGE}",
        train=lambda: _euros(True),
        held_out=lambda: _euros(False),
    ),
    "the cost of a great variance turned round": fault(
        WEIGHED, "minus s for plus s", UPSIDE_DOWN, training_step=lambda models, batch: weighed(models, batch, sign=-1.0)
    ),
    "a trunk of eight sigmoids": fault(
        BARE,
        "eight hidden layers with sigmoid and no norm",
        f"{SATURATED} gain_budget_low constant_output slow_start",
        model=lambda: {"trunk": trunk(nn.Sigmoid, norm=False, depth=8), "heads": Heads()},
    ),
}
