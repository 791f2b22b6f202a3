"""Nets that do several things at once: shares of a loss, missing answers, two rooms, and heads on the way."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, LOUD, OUT_OF_ORDER, STALE
from programs.material import flat_digits
from programs.program import Data, Loop, Program, but, class_score, fault
from programs.unseen.causes import FAR_TARGETS, SAME, SATURATED, UNRELATED, UPSIDE_DOWN

Step = Callable[[Any, Any], Tensor]


@functools.cache
def answers(train: bool) -> Data:
    """Digits (n, 64), their class, whether they have a closed loop, and the ink in each quarter (n, 4)."""
    x, y = flat_digits(train)
    loop = torch.tensor([1, 0, 0, 0, 1, 0, 1, 0, 1, 1])[y]
    quarters = x.view(-1, 2, 4, 2, 4).mean(dim=(2, 4)).flatten(1)
    return x, y, loop, (quarters - quarters.mean(dim=0)) / 0.2


@functools.cache
def patchy(train: bool) -> Data:
    """The same with two answers of three missing: -100 for a class, NaN for ink."""
    x, y, loop, quarters = answers(train)
    if not train:
        return x, y, loop, quarters
    rng = torch.Generator().manual_seed(7501)
    gone, dry = torch.rand(len(x), generator=rng) < 0.66, torch.rand(quarters.shape, generator=rng) < 0.66
    return x, torch.where(gone, -100, y), loop, torch.where(dry, math.nan, quarters)


@functools.cache
def two_rooms(train: bool) -> Data:
    """Points (n, 6) of three kinds, the kind, and which of two rooms; held out are those of the second room.

    Two columns tell the kind in the first room only.
    """
    rng = torch.Generator().manual_seed(7502 if train else 7503)
    n = 1600 if train else 500
    kind, room = torch.randint(3, (n,), generator=rng), torch.randint(2, (n,), generator=rng)
    middle = torch.tensor([[1.2, 0.0], [-0.6, 1.0], [-0.6, -1.0]])
    told = middle[kind] + 0.5 * torch.randn(n, 2, generator=rng)
    also = torch.where(room[:, None] == 0, middle[kind], middle[torch.randint(3, (n,), generator=rng)] + 0.6)
    x = torch.cat([told, also + 0.5 * torch.randn(n, 2, generator=rng), torch.randn(n, 2, generator=rng)], dim=1)
    return (x, kind, room) if train else (x[room == 1], kind[room == 1])


class Heads(nn.Module):
    """One trunk, three heads, and the logarithm of a variance for each."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.kind, self.loop, self.ink = nn.Linear(64, 10), nn.Linear(64, 1), nn.Linear(64, 4)
        self.doubt = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to logits of classes."""
        return self.kind(self.trunk(x))


def losses(model: Any, batch: Any, *, unit: float = 1.0) -> Tensor:
    """The losses of the three heads; ink is told in units."""
    h = model.trunk(batch[0])
    loop = F.binary_cross_entropy_with_logits(model.loop(h)[:, 0], batch[2].float())
    return torch.stack([F.cross_entropy(model.kind(h), batch[1]), loop, F.mse_loss(model.ink(h), unit * batch[3])])


def by_doubt(model: Any, batch: Any, sign: float = 1.0) -> Tensor:
    """Losses divided by learned variances, and the logarithms of those, which may make it negative."""
    return (losses(model, batch) * torch.exp(-model.doubt) + sign * 0.5 * model.doubt).sum()


def what_is_there(model: Any, batch: Any, *, times: bool = False) -> Tensor:
    """Losses of the answers that are not missing."""
    h = model.trunk(batch[0])
    there, made = ~batch[3].isnan(), model.ink(h)
    kind = F.cross_entropy(model.kind(h), batch[1])
    if times:
        return kind + (there * (made - batch[3]) ** 2).sum() / there.sum()
    return kind + F.mse_loss(made[there], batch[3][there])


def all_told(model: Any, data: Data) -> float:
    """The mean of how well classes, loops and ink are told."""
    x, y, loop, ink = data
    h = model.trunk(x)
    right = float(((model.loop(h)[:, 0] > 0) == (loop > 0)).float().mean())
    part = 1 - float(F.mse_loss(model.ink(h), ink) / ink.var(correction=0))
    return (class_score(lambda _: model.kind(h), (x, y)) + 2 * right - 1 + part) / 3


def class_and_ink(model: Any, data: Data) -> float:
    """The mean of how well classes and ink are told."""
    part = 1 - float(F.mse_loss(model.ink(model.trunk(data[0])), data[3]) / data[3].var(correction=0))
    return (class_score(model, data[:2]) + part) / 2


class Turned(torch.autograd.Function):
    """Nothing forwards; backwards the gradient with its sign turned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, much: float) -> Tensor:
        """Returns x."""
        ctx.much = much
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Returns minus the gradient, times `much`."""
        return -ctx.much * grad_outputs[0], None


class Rooms(nn.Module):
    """Kinds from what does not tell the room."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 16), nn.Tanh())
        self.kind, self.room = nn.Linear(16, 3), nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to logits of kinds."""
        return self.kind(self.trunk(x))


def adapts(model: Any, batch: Any, *, much: float = 0.3, both: bool = False) -> Tensor:
    """Kinds of the first room, and rooms behind a turned gradient."""
    x, kind, room = batch
    h = model.trunk(x)
    turned = Turned.apply(h, much)
    told = F.cross_entropy(model.kind(turned if both else h)[room == 0], kind[room == 0])
    return told + F.cross_entropy(model.room(turned), room)


class Stages(nn.Module):
    """Ten tanh layers with a head at every third."""

    def __init__(self, std: float | None = None) -> None:
        super().__init__()
        layers = [nn.Linear(64, 64) for _ in range(10)]
        self.layers = nn.ModuleList(layers)
        self.heads = nn.ModuleList(nn.Linear(64, 10) for _ in range(3))
        if std is not None:
            for layer in layers:
                nn.init.normal_(layer.weight, 0.0, std)

    def each(self, x: Tensor) -> list[Tensor]:
        """The logits of each head."""
        made = []
        for i, layer in enumerate(self.layers):
            x = torch.tanh(layer(x))
            if i % 3 == 0 and i:
                made.append(self.heads[i // 3 - 1](x))
        return made

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to the last head's logits."""
        return self.each(x)[-1]


def on_the_way(model: Any, batch: Any, *, shares: tuple[float, ...] = (0.3, 0.3, 1.0)) -> Tensor:
    """The losses of all heads; the last counts most."""
    made = model.each(batch[0])
    right = F.one_hot(batch[1], 10).float()
    return sum(
        (s * -(right * m.log_softmax(dim=1)).sum(dim=1).mean() for s, m in zip(shares, made, strict=True)), torch.zeros(())
    )


def one_after_the_other(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Each loss has its own backward, and gradients are summed."""
    optimizer.zero_grad()
    total = losses(model, batch)
    for i, one in enumerate(total):
        one.backward(retain_graph=i < 2)
    loop.seen(total.sum())
    optimizer.step()
    return total.sum()


def clears_between(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """zero_grad before each backward, one step at the end."""
    total = losses(model, batch)
    for i, one in enumerate(total):
        optimizer.zero_grad()
        one.backward(retain_graph=i < 2)
    loop.seen(total.sum())
    optimizer.step()
    return total.sum()


def _filled(train: bool) -> Data:
    x, y, loop, ink = patchy(train)
    return x, y.clamp_min(0), loop, ink.nan_to_num(0.0)


HEADS = Program(
    model=Heads,
    train=lambda: answers(True),
    held_out=lambda: answers(False),
    score=all_told,
    training_step=by_doubt,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9},
    steps=300,
)
APART = but(
    HEADS,
    training_step=lambda model, batch: losses(model, batch).sum(),
    body=one_after_the_other,
    optimizer=torch.optim.Adam,
    options={"lr": 2e-3, "amsgrad": True},
)
PATCHY = but(
    APART,
    train=lambda: patchy(True),
    held_out=lambda: patchy(False),
    training_step=what_is_there,
    body=HEADS.body,
    score=class_and_ink,
)
ROOMS = but(
    PATCHY,
    model=Rooms,
    train=lambda: two_rooms(True),
    held_out=lambda: two_rooms(False),
    training_step=adapts,
    score=class_score,
    optimizer=torch.optim.RMSprop,
    options={"lr": 2e-3},
    batch=64,
    steps=400,
)
STAGES = but(
    PATCHY,
    model=Stages,
    training_step=on_the_way,
    train=lambda: answers(True)[:2],
    held_out=lambda: answers(False)[:2],
    score=class_score,
)

SOUND = {
    "three errands weighted by doubt": HEADS,
    "three errands, a backward each": APART,
    "two errands with missing answers": PATCHY,
    "kinds in another room": ROOMS,
    "heads on the way": STAGES,
}

FAULTS = {
    "doubt that pays": fault(
        HEADS, "minus the logarithms of variances", UPSIDE_DOWN, training_step=lambda model, batch: by_doubt(model, batch, -1.0)
    ),
    "ink in thousands": fault(
        HEADS,
        "one head's targets are in thousands",
        f"{FAR_TARGETS} {LARGE} not_finite",
        training_step=lambda model, batch: losses(model, batch, unit=1000.0).sum(),
    ),
    "gradients cleared between errands": fault(
        APART,
        "zero_grad before each backward, but one step",
        f"{OUT_OF_ORDER} {STALE} untrained_parameter",
        body=clears_between,
    ),
    "missing answers times zero": fault(
        PATCHY,
        "NaN times a mask of zero is NaN",
        "not_finite not_finite_data",
        training_step=lambda model, batch: what_is_there(model, batch, times=True),
    ),
    "missing answers as class 0": fault(
        PATCHY,
        "fillna(0) before the loss",
        f"class_imbalance label_conflict {SAME} {UNRELATED}",
        train=lambda: _filled(True),
    ),
    "gradient turned for both": fault(
        ROOMS,
        "the kinds' head, too, is behind the turned gradient",
        UPSIDE_DOWN,
        training_step=lambda model, batch: adapts(model, batch, much=1.0, both=True),
    ),
    "ten tanh layers from N(0, 1)": fault(
        STAGES,
        "torch.randn for weights of 64 columns",
        f"{SATURATED} {LOUD}",
        model=lambda: Stages(std=1.0),
    ),
    "heads at a rate of 1": fault(STAGES, "Adam at 1", f"{LARGE} saturation", options={"lr": 1.0}),
}
