"""Forecasts of a river's level from rain and level: recurrent nets of several kinds, and a transformer."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from programs.held_out.causes import CLIPPED, CUT, LARGE
from programs.program import Data, Loop, Program, but, explained, fault, in_closure
from programs.unseen.causes import DIES, SAME, SATURATED

HOURS = 20


@functools.cache
def river(train: bool) -> Data:
    """Hours (n, 20, 2) of rain and of a river's level, and the level two hours later, (n, 1); all of variance about 1.

    Rain reaches the gauge after three hours and counts for more where the level is low.
    """
    rng = torch.Generator().manual_seed(9200 if train else 9201)
    n, hours = 1000 if train else 300, HOURS + 12
    rain = torch.relu(torch.randn(n, hours, generator=rng) - 0.2)
    level = [torch.zeros(n) for _ in range(3)]
    for hour in range(3, hours):
        swell = rain[:, hour - 3] * (1.2 - 0.4 * torch.tanh(level[-1] - 1.5))
        level.append(0.8 * level[-1] + swell + 0.05 * torch.randn(n, generator=rng))
    levels = (torch.stack(level, dim=1) - 1.7) / 1.15
    x = torch.stack([(rain - 0.31) / 0.5, levels], dim=2)
    return x[:, -HOURS - 2 : -2].contiguous(), levels[:, -1:].contiguous()


class Gauge(nn.Module):
    """A recurrent net and a linear layer on its last output."""

    def __init__(self, *, width: int = 24, wild: bool = False, outputs: int = 1) -> None:
        super().__init__()
        self.lstm, self.out, self.wild = nn.LSTM(2, width, batch_first=True), nn.Linear(width, outputs), wild

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 2) to (n, outputs)."""
        first = None
        if self.wild:
            first = (torch.randn(1, len(x), self.lstm.hidden_size), torch.randn(1, len(x), self.lstm.hidden_size))
        return self.out(self.lstm(x, first)[0][:, -1])


class Squashed(nn.Module):
    """Three LSTMs, with dropout and what is given as activation behind each."""

    def __init__(self, bend: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nn.LSTM(2 if i == 0 else 24, 24, batch_first=True) for i in range(3))
        self.bends = nn.ModuleList(nn.Sequential(bend(), nn.Dropout(0.1)) for _ in range(3))
        self.out = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 2) to (n, 1)."""
        for net, bend in zip(self.nets, self.bends, strict=True):
            x = bend(net(x)[0])
        return self.out(x[:, -1])


class Attends(nn.Module):
    """A transformer of two post-norm layers over hours, with a linear layer on the last one."""

    def __init__(self, *, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.hours, self.into = nn.Parameter(0.5 * torch.randn(HOURS, width)), nn.Linear(2, width)
        layer = nn.TransformerEncoderLayer(width, heads, 64, dropout=0.0, batch_first=True)
        self.body, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 2) to (n, 1)."""
        return self.out(self.body(self.into(x) + self.hours)[:, -1])


class ByEcho(nn.Module):
    """A tanh recurrence by hand with every weight of the state's matrix times `gain`, orthogonal at first."""

    def __init__(self, gain: float = 0.9) -> None:
        super().__init__()
        self.into, self.state, self.out = nn.Linear(2, 40), nn.Linear(40, 40), nn.Linear(40, 1)
        nn.init.orthogonal_(self.state.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 2) to (n, 1)."""
        h = torch.zeros(len(x), 40)
        for hour in x.unbind(dim=1):
            h = torch.tanh(self.into(hour) + self.state(h))
        return self.out(h)


def likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Minus the log-likelihood of a normal distribution, below zero where it is narrow."""
    return (0.5 * ((target[:, 0] - output[:, 0]) * torch.exp(-output[:, 1])) ** 2 + output[:, 1]).mean()


def mean_explained(model: Any, data: Data) -> float:
    """Share of the variance that the means explain."""
    return explained(lambda x: model(x)[:, :1], data)


class Waits(torch.optim.Adam):
    """Adam with a ReduceLROnPlateau beside it, made together."""

    def __init__(self, params: Any, lr: float, mode: Any) -> None:
        super().__init__(params, lr)
        self.plateau = ReduceLROnPlateau(self, mode=mode, factor=0.5, patience=4)


def tells_the_loss(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """The loss goes to the scheduler after each step."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    optimizer.plateau.step(float(loss.detach()))
    return loss


def _each_by_itself(train: bool) -> Data:
    x, y = river(train)
    low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
    return (x - low) / (high - low), y


RIVER = Program(
    model=Gauge,
    train=lambda: river(True),
    held_out=lambda: river(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 1e-2},
    steps=250,
)
THREE = but(RIVER, model=Squashed, optimizer=torch.optim.RMSprop, options={"lr": 2e-3}, steps=300)
ATTENDS = but(RIVER, model=Attends, options={"lr": 3e-3}, steps=300)
WAITS = but(RIVER, optimizer=Waits, options={"lr": 1e-2, "mode": "min"}, body=tells_the_loss, steps=300)
LIKELY = but(RIVER, model=lambda: Gauge(outputs=2), loss=likelihood, score=mean_explained, clip=1.0)
SGD = but(RIVER, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9, "nesterov": True}, clip=1.0)
LBFGS = but(RIVER, optimizer=torch.optim.LBFGS, options={"lr": 0.1, "max_iter": 10}, body=in_closure, batch=500, steps=30)

SOUND = {
    "river by lstm": RIVER,
    "river from random first states": but(RIVER, model=lambda: Gauge(wild=True)),
    "river by three lstms": THREE,
    "river by a transformer": ATTENDS,
    "river with a rate that waits": WAITS,
    "river by its likelihood": LIKELY,
    "river by nesterov under a clip": SGD,
    "river by lbfgs in small steps": LBFGS,
    "river by an orthogonal echo": but(RIVER, model=ByEcho, optimizer=torch.optim.NAdam, options={"lr": 3e-3}),
}

FAULTS = {
    "three lstms behind sigmoids": fault(
        THREE, "a sigmoid behind each LSTM", f"gain_budget_low {SATURATED}", model=lambda: Squashed(nn.Sigmoid)
    ),
    "transformer of width one": fault(
        ATTENDS,
        "d_model=1: a layer norm of one number is always its bias",
        f"blind flat_derivative {SAME} {CUT}",
        model=lambda: Attends(width=1, heads=1),
    ),
    "rate that waits for a larger loss": fault(
        WAITS, "ReduceLROnPlateau in mode max is told the loss", DIES, options={"lr": 1e-2, "mode": "max"}
    ),
    "each window scaled by itself": fault(
        RIVER,
        "each window is brought to 0 to 1 by its own extremes, the target is not",
        "label_conflict input_scale",
        train=lambda: _each_by_itself(True),
        held_out=lambda: _each_by_itself(False),
    ),
    "river clipped at 0.001": fault(SGD, "gradient_clip_val=0.001 for 1", CLIPPED, clip=1e-3),
    "lbfgs in whole steps": fault(
        LBFGS, "LBFGS without a line search at lr=1, on batches", LARGE, options={"lr": 1.0, "max_iter": 10}
    ),
}
