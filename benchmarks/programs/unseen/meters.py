"""The next twelve hours of a meter, from two days of it: dilated causal convolutions with weight norm, and likelihoods."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.lr_scheduler import LambdaLR

from programs.held_out.causes import CUT, LARGE, LOUD
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import CLAMPED, DIES, FAR_TARGETS, SAME, UPSIDE_DOWN

HOURS, AHEAD, MEAN, SPREAD = 48, 12, 4200.0, 1300.0


@functools.cache
def series(train: bool) -> Data:
    """Windows (n, 48) of many meters, standardised, and the 12 hours after them (n, 12)."""
    rng = torch.Generator().manual_seed(270 if train else 271)
    n = 1000 if train else 300
    at = torch.arange(HOURS + AHEAD) + 24 * torch.rand(n, 1, generator=rng)
    sizes = 0.5 + torch.rand(n, 3, generator=rng)
    phase = 6.3 * torch.rand(n, 1, generator=rng)
    load = sizes[:, :1] * torch.sin(2 * math.pi * at / 24) + 0.6 * sizes[:, 1:2] * torch.sin(4 * math.pi * at / 24 + phase)
    load = load + 0.02 * (sizes[:, 2:] - 1) * (at - 30) + 0.15 * torch.randn(n, HOURS + AHEAD, generator=rng)
    return load[:, :HOURS], load[:, HOURS:]


class Causal(nn.Module):
    """Residual causal convolutions of growing dilation; the answer is read off the last hour."""

    def __init__(
        self,
        *,
        outputs: int = AHEAD,
        width: int = 24,
        blocks: int = 5,
        gain: float = 1.0,
        drop: float = 0.0,
        last: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(blocks))
        with torch.no_grad():
            for block in self.blocks:
                block.get_parameter("weight").mul_(gain)
        for block in self.blocks:
            weight_norm(block)
        self.drop, self.head, self.last = nn.Dropout(drop), nn.Linear(width, outputs), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, 48) to (n, outputs)."""
        h = self.first(x[:, None])
        for i, block in enumerate(self.blocks):
            h = h + self.drop(F.relu(block(F.pad(h, (2**i, 0)))))
        return self.last(self.head(h[:, :, -1]))


class Trend(nn.Module):
    """A linear map of the window about its last value."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(HOURS, AHEAD)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 48) to (n, 12)."""
        return x[:, -1:] + self.map(x - x[:, -1:])


def likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Minus the log-likelihood under a normal law; it falls below 0 as the forecast gets sharp."""
    mean, log_spread = output.chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, target, (2 * log_spread).exp())


def _log_probability(output: Tensor, target: Tensor) -> Tensor:
    mean, log_spread = output.chunk(2, dim=1)
    return torch.distributions.Normal(mean, log_spread.exp(), validate_args=False).log_prob(target).mean()


def foretold(model: nn.Module, data: Data) -> float:
    """Share of the squares of an average day that the forecast explains."""
    said, target = model(data[0])[:, :AHEAD], data[1]
    return 1 - float(F.mse_loss(said, target) / target.var(correction=0))


def _kilowatts(train: bool) -> Data:
    """Targets as the meters give them; only the windows are standardised."""
    x, y = series(train)
    return x, y * SPREAD + MEAN


def _switched_off(train: bool) -> Data:
    """Each window is divided by its own spread; some meters were off."""
    x, y = series(train)
    x = x.clone()
    x[::60] = 0.0
    return x / x.std(dim=1, keepdim=True), y


def _warm_up(optimizer: Any) -> LambdaLR:
    """Thirty steps up, then a half cosine down."""
    return LambdaLR(optimizer, lambda step: min((step + 1) / 30, 0.5 + 0.5 * math.cos(math.pi * step / 300)))


def _scaled(model: nn.Module, optimizer: Any, batch: Any, loop: Loop, *, unscale: bool = True) -> Tensor:
    """The loss times 1024, as for half precision, and gradients over 1024 before clipping."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    (1024 * loss).backward()
    if unscale:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(1024)
    loop.seen(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0 if unscale else math.inf)
    optimizer.step()
    return loss


METER = Program(
    model=Causal,
    train=lambda: series(True),
    held_out=lambda: series(False),
    score=foretold,
    loss=F.smooth_l1_loss,
    optimizer=torch.optim.AdamW,
    options={"lr": 5e-3},
    scheduler=_warm_up,
    steps=300,
)
LIKELY = but(METER, model=lambda: Causal(outputs=2 * AHEAD), loss=likelihood)
STEADY = but(METER, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, scheduler=None, loss=F.mse_loss)
SCALED = but(STEADY, body=_scaled)

SOUND = {
    "meters": METER,
    "meters by likelihood": LIKELY,
    "meters under sgd": STEADY,
    "meters by trends": but(METER, model=Trend, options={"lr": 2e-3}),
    "meters with the loss scaled": SCALED,
}

FAULTS = {
    "hours to come in kilowatts": fault(
        METER, "targets about 4,200", FAR_TARGETS, train=lambda: _kilowatts(True), held_out=lambda: _kilowatts(False)
    ),
    "meters that were off": fault(
        METER, "0 / 0 in some windows", "not_finite_data not_finite", train=lambda: _switched_off(True)
    ),
    "the log-likelihood minimised": fault(LIKELY, "the minus before log_prob is missing", UPSIDE_DOWN, loss=_log_probability),
    "loads cannot be negative": fault(
        STEADY, "ReLU behind the head; standardised loads are", CLAMPED, model=lambda: Causal(last=nn.ReLU())
    ),
    "scaled and never unscaled": fault(
        SCALED,
        "gradients are not divided by 1,024 before the step",
        LARGE,
        body=lambda model, optimizer, batch, loop: _scaled(model, optimizer, batch, loop, unscale=False),
    ),
    "warm-up in whole numbers": fault(
        METER,
        "step // 1000 is 0 all the time",
        f"zero_rate untrained_parameter untrained_parameter.lr_zero unmoved_parameter {DIES} {CUT}",
        scheduler=lambda optimizer: LambdaLR(optimizer, lambda step: min(1, step // 1000)),
    ),
    "the optimizer of the model before": fault(
        METER,
        "the model is made anew after its optimizer",
        "foreign_optimizer untrained_parameter unmoved_parameter",
        trained=lambda _: Causal().parameters(),
    ),
    "convolutions six times as loud": fault(STEADY, "weights of each block times 6", LOUD, model=lambda: Causal(gain=6.0)),
    "dropout of all but a hundredth": fault(
        METER,
        "nn.Dropout(0.99) for 0.01",
        f"heavy_dropout {SAME} confirmed_change.dropout_off",
        model=lambda: Causal(drop=0.99),
    ),
}
