"""Recurrent nets that run freely, have static inputs beside a series, or tag each step in both directions."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import LEAKS
from programs.held_out.causes import CUT, OUTSIDE
from programs.program import Data, Loop, Program, accuracy, but, class_score, explained, fault
from programs.unseen.causes import MISALIGNED
from programs.workshop.swells import rng_of


@functools.cache
def pendulums(train: bool) -> Data:
    """The first ten angles (n, 10, 1) of a pendulum without friction and the next eight, (n, 8, 1)."""
    rng = rng_of(5106 if train else 5107)
    n = 600 if train else 200
    angle, speed = 2.4 * torch.rand(n, generator=rng) - 1.2, torch.randn(n, generator=rng)
    angles = []
    for _ in range(18):
        speed = speed - 0.35 * torch.sin(angle)
        angle = angle + 0.35 * speed
        angles.append(angle)
    series = torch.stack(angles, dim=1)[..., None] / 2
    return series[:, :10], series[:, 10:]


@functools.cache
def deliveries(train: bool) -> Data:
    """Three facts of a shop (n, 3), its last twelve orders (n, 12, 2), and the next order, (n, 1)."""
    rng = rng_of(5108 if train else 5109)
    n = 900 if train else 300
    facts = torch.randn(n, 3, generator=rng)
    orders = torch.randn(n, 12, 2, generator=rng)
    target = torch.tanh(facts[:, :1]) * orders[:, -3:, 0].mean(dim=1, keepdim=True) * 1.7 + 0.6 * facts[:, 1:2]
    return facts, orders, target + 0.3 * orders[:, -1:, 1]


@functools.cache
def phases(train: bool) -> Data:
    """Recordings (n, 20, 3) and the phase of each step, (n, 20): before, between or after two pulses."""
    rng = rng_of(5110 if train else 5111)
    n, t = 600 if train else 200, torch.arange(20)
    start = torch.randint(2, 9, (n, 1), generator=rng)
    end = start + torch.randint(4, 9, (n, 1), generator=rng)
    x = 0.4 * torch.randn(n, 20, 3, generator=rng)
    x[..., 1] += 2.5 * ((t == start) | (t == end))
    return x, (t >= start).long() + (t >= end).long()


@functools.cache
def turns(train: bool) -> Data:
    """Steps (n, 14, 2) of a walk and whether it ends left, right or near to where it began, (n,)."""
    rng = rng_of(5112 if train else 5113)
    n = 1000 if train else 400
    x = torch.randn(n, 14, 2, generator=rng)
    drift = torch.randint(3, (n,), generator=rng)
    x[..., 0] += 0.9 * (drift - 1)[:, None].float()
    return x, drift


class Pendulum(nn.Module):
    """Reads ten angles, then runs freely, or is fed the truth of the step before; it learns the change of the angle."""

    def __init__(self, *, fed: str = "before") -> None:
        super().__init__()
        self.fed = fed
        self.cell, self.out = nn.GRUCell(1, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor, truth: Tensor | None = None) -> Tensor:
        """(n, 10, 1) to (n, 8, 1)."""
        h = x.new_zeros(len(x), 32)
        for t in range(x.shape[1] - 1):
            h = self.cell(x[:, t], h)
        last, outputs = x[:, -1], []
        for t in range(8):
            if truth is not None and self.fed == "same":
                last = truth[:, t]
            h = self.cell(last, h)
            last = (0.0 if self.fed == "same" else last) + self.out(h)
            outputs.append(last)
            if truth is not None and self.fed == "before":
                last = truth[:, t]
        return torch.stack(outputs, dim=1)


class Shops(nn.Module):
    """Facts make the first state of a GRU over the orders."""

    def __init__(self, *, linked: bool = True) -> None:
        super().__init__()
        self.linked = linked
        self.first, self.gru = nn.Linear(3, 32), nn.GRU(2, 32, batch_first=True)
        self.out = nn.Sequential(nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1))

    def forward(self, facts: Tensor, orders: Tensor) -> Tensor:
        """(n, 3) and (n, 12, 2) to (n, 1)."""
        h = torch.tanh(self.first(facts))[None]
        _, h = self.gru(orders, h if self.linked else None)
        return self.out(h[0])


class Phases(nn.Module):
    """A bidirectional LSTM whose projected outputs are tagged step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 24, batch_first=True, bidirectional=True, proj_size=12)
        self.tag = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 3) to log-probabilities (n, 20, 3)."""
        return F.log_softmax(self.tag(self.lstm(x)[0]), dim=2)


class Turns(nn.Module):
    """The last states of both directions of a GRU, joined."""

    def __init__(self, *, joined: str = "cat") -> None:
        super().__init__()
        self.joined = joined
        self.gru = nn.GRU(2, 16, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 14, 2) to (n, 3)."""
        h = self.gru(x)[1]
        if self.joined == "cat":
            return self.fc(torch.cat((h[0], h[1]), dim=1))
        return self.fc(h.view(len(x), -1))


def by_two(model: Any, data: Data) -> float:
    """Variance explained by a model of facts and orders."""
    return explained(lambda _: model(data[0], data[1]), (data[0], data[2]))


def unrolled(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Three small steps on a batch, each clipped."""
    model.train()
    loss = torch.zeros(())
    for part in zip(*(tensor.chunk(3) for tensor in batch), strict=True):
        optimizer.zero_grad()
        loss = loop.loss_of(model, part)
        loss.backward()
        loop.seen(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
    return loss


def tagged(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of each step."""
    return F.nll_loss(output.transpose(1, 2), target)


def viewed(output: Tensor, target: Tensor) -> Tensor:
    """The same with a view where a transpose belongs."""
    return F.nll_loss(output.reshape(len(output), 3, -1), target)


def tag_score(model: Any, data: Data) -> float:
    """Mean accuracy of the tags over the classes, where a label is not negative."""
    known = data[1] >= 0
    return class_score(lambda _: model(data[0])[known], (data[0], data[1][known]))


def _halves(train: bool) -> Data:
    x, y = phases(train)
    return x, y.flip(1)


PENDULUM = Program(
    model=Pendulum,
    train=lambda: pendulums(True),
    held_out=lambda: pendulums(False),
    score=explained,
    training_step=lambda model, batch: F.mse_loss(model(batch[0], batch[1]), batch[1]),
    options={"lr": 1e-2},
    clip=0.5,
    steps=250,
)
SHOPS = Program(
    model=Shops,
    train=lambda: deliveries(True),
    held_out=lambda: deliveries(False),
    score=by_two,
    training_step=lambda model, batch: F.huber_loss(model(batch[0], batch[1]), batch[2], delta=0.5),
    optimizer=torch.optim.AdamW,
    options={"lr": 1e-2, "weight_decay": 0.05},
    steps=250,
)
PHASES = Program(
    model=Phases,
    train=lambda: phases(True),
    held_out=lambda: phases(False),
    score=tag_score,
    loss=tagged,
    options={"lr": 1e-2},
    steps=200,
)
TURNS = Program(
    model=Turns,
    train=lambda: turns(True),
    held_out=lambda: turns(False),
    score=class_score,
    loss=F.multi_margin_loss,
    metric=accuracy,
    optimizer=torch.optim.SGD,
    options={"lr": 0.2, "momentum": 0.9, "nesterov": True},
    clip=5.0,
    steps=200,
)

SOUND = {
    "pendulum fed the truth": PENDULUM,
    "pendulum on its own": but(
        PENDULUM, training_step=lambda model, batch: F.l1_loss(model(batch[0]), batch[1]), body=unrolled, clip=None
    ),
    "shops and their orders": SHOPS,
    "phases of a recording": PHASES,
    "turns of a walk": TURNS,
}

FAULTS = {
    "pendulum fed the answer": fault(
        PENDULUM,
        "the decoder is fed the angle that it is to tell",
        "sees_future",
        model=lambda: Pendulum(fed="same"),
    ),
    "facts left out": fault(
        SHOPS,
        "the first state made of the facts is not handed to the GRU",
        f"{CUT} {OUTSIDE} unreached_parameter",
        model=lambda: Shops(linked=False),
    ),
    "tags by view": fault(PHASES, "(n, t, 3) is viewed as (n, 3, t) in place of transposed", MISALIGNED, loss=viewed),
    "tags back to front": fault(
        PHASES,
        "the tags are read from a file that is sorted by falling time",
        f"{MISALIGNED} constant_as_good",
        train=lambda: _halves(True),
    ),
    "directions joined by view": fault(
        TURNS, "h (2, n, 16) is viewed as (n, 32), so that rows mix examples", LEAKS, model=lambda: Turns(joined="view")
    ),
}
