"""A mixture of experts: a gate sends each row to few of several nets, for a map that changes from region to region."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from programs.held_out.causes import CLIPPED, OUTSIDE, STALE
from programs.program import Data, Loop, Program, but, explained, fault
from programs.unseen.causes import ALIKE, DETACHED, DIES, FROZEN, SAME

COLUMNS, EXPERTS = 6, 4


@functools.cache
def regions(train: bool) -> Data:
    """Rows (n, 6) and targets (n, 1), of which each quarter of the plane has a map of its own."""
    rng = torch.Generator().manual_seed(240 if train else 241)
    maps = 1.5 * torch.randn(EXPERTS, COLUMNS, generator=torch.Generator().manual_seed(3))
    n = 1200 if train else 400
    x = torch.randn(n, COLUMNS, generator=rng)
    region = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    y = (x * maps[region]).sum(dim=1) + 0.1 * torch.randn(n, generator=rng)
    return x, (y / y.std())[:, None]


class Mixture(nn.Module):
    """A gate of softmax and four experts; `top` of them are heard, weighed anew."""

    def __init__(
        self,
        *,
        top: int = EXPERTS,
        over: int = 1,
        detach: bool = False,
        width: int = 16,
    ) -> None:
        super().__init__()
        self.top, self.over, self.detach = top, over, detach
        self.gate = nn.Sequential(nn.Linear(COLUMNS, 16), nn.Tanh(), nn.Linear(16, EXPERTS))
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(COLUMNS, width), nn.SiLU(), nn.Linear(width, 1)) for _ in range(EXPERTS)
        )
        self.share = torch.zeros(EXPERTS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 1)."""
        weight = self.gate(x).softmax(dim=self.over)
        self.share = weight.mean(dim=0)
        if self.top < EXPERTS:
            kept = weight.topk(self.top, dim=1)
            weight = torch.zeros_like(weight).scatter(1, kept.indices, kept.values / kept.values.sum(dim=1, keepdim=True))
        if self.detach:
            weight = weight.detach()
        return (weight[:, :, None] * torch.stack([expert(x) for expert in self.experts], dim=1)).sum(dim=1)


class Listed(Mixture):
    """The same, with experts in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        made = list(self.experts)
        del self.experts
        self.nets = made

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 1)."""
        weight = self.gate(x).softmax(dim=1)
        return sum((weight[:, i : i + 1] * net(x) for i, net in enumerate(self.nets)), torch.zeros(()))


def balanced(model: Any, batch: list[Tensor]) -> Tensor:
    """Squared error and a small cost of an uneven gate."""
    return F.mse_loss(model(batch[0]), batch[1]) + 0.01 * EXPERTS * model.share.square().sum()


def _copies() -> nn.Module:
    """Experts are copies of one, and the gate's last layer is 0."""
    model = Mixture()
    for expert in model.experts:
        expert.load_state_dict(model.experts[0].state_dict())
    nn.init.zeros_(model.gate[2].get_parameter("weight"))
    nn.init.zeros_(model.gate[2].get_parameter("bias"))
    return model


def _quiet() -> nn.Module:
    model = Mixture(width=64)
    for expert in model.experts:
        nn.init.zeros_(expert.get_submodule("2").get_parameter("weight"))
    return model


def _accumulates(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """Micro-batches of eight, but zero_grad is forgotten after the step."""
    model.train()
    total = torch.zeros(())
    for i in range(0, len(batch[0]), 8):
        loss = loop.loss_of(model, [part[i : i + 8] for part in batch]) / 4
        loss.backward()
        total = total + loss.detach()
    loop.seen(total)
    optimizer.step()
    return total


def _warm(steps: int) -> Any:
    return lambda optimizer: LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / steps))


MIXTURE = Program(
    model=Mixture,
    train=lambda: regions(True),
    held_out=lambda: regions(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 0.01},
    scheduler=_warm(20),
    steps=400,
)
TOP = but(MIXTURE, model=lambda: Mixture(top=2), loss=None, training_step=balanced, optimizer=torch.optim.AdamW)
PLAIN = but(MIXTURE, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, scheduler=None)

SOUND = {
    "experts": MIXTURE,
    "experts by twos": TOP,
    "experts under sgd": PLAIN,
    "experts that begin at zero": but(MIXTURE, model=_quiet),
}

FAULTS = {
    "experts in a list": fault(
        PLAIN, "experts in a plain list: only the gate is trained", f"unregistered_layers {OUTSIDE}", model=Listed
    ),
    "experts all alike": fault(PLAIN, "four copies of one expert and a gate of zeros", ALIKE, model=_copies),
    "gate over the batch": fault(
        MIXTURE,
        "softmax over the rows, not over the experts",
        f"batch_leakage gain_budget_low {SAME}",
        model=lambda: Mixture(over=0),
    ),
    "gate left without gradient": fault(
        TOP, "the gate's weights are detached", DETACHED, model=lambda: Mixture(top=2, detach=True)
    ),
    "gradients of all micro-batches": fault(
        PLAIN, "zero_grad is missing beside gradient accumulation", f"{STALE} accumulation", body=_accumulates
    ),
    "warm-up counted from its end": fault(
        TOP,
        "the warm-up runs backwards: the rate falls to 0 in 20 steps",
        f"{DIES} lr_schedule",
        scheduler=lambda optimizer: LambdaLR(optimizer, lambda step: max(0.0, 1 - step / 20)),
    ),
    "experts frozen after loading": fault(
        PLAIN,
        "requires_grad_(False) for the experts was meant for the gate",
        FROZEN,
        model=lambda: _without_gradient(Mixture()),
    ),
    "gradient norm clipped at 0.001": fault(PLAIN, "the threshold is 0.001, not 1", CLIPPED, clip=0.001),
}


def _without_gradient(model: Mixture) -> nn.Module:
    model.experts.requires_grad_(False)
    return model
