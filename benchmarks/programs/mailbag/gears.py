"""Digits under the rarer optimizers and schedules of torch.optim, in half precision, and with loops of several kinds."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CyclicLR, PolynomialLR

from programs.held_out.causes import LARGE, STALE
from programs.material import digits, flat_digits
from programs.program import Data, Loop, Program, accuracy, but, class_score, fault
from programs.unseen.causes import DIES


def normed(width: int = 64) -> nn.Sequential:
    """Two hidden layers with batch norm."""
    return nn.Sequential(
        *(nn.Linear(64, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.1), nn.Linear(width, width), nn.BatchNorm1d(width)),
        *(nn.LeakyReLU(0.1), nn.Linear(width, 10)),
    )


def plain(depth: int = 3, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Hidden layers of 48 units without a norm."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(48 if i else 64, 48), act()]
    return nn.Sequential(*layers, nn.Linear(48, 10))


def lenet() -> nn.Sequential:
    """Two convolutions and two linear layers, with tanh."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.Tanh()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)),
    )


def _turned_trunk() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.ReLU())


def _muon_and_adam(groups: dict[str, list]) -> dict[str, torch.optim.Optimizer]:
    return {
        "trunk": torch.optim.Muon(groups["trunk"], lr=0.02, weight_decay=0.0),
        "head": torch.optim.Adam(groups["head"], lr=5e-3),
    }


def _told(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model["head"](model["trunk"](batch[0])), batch[1])


def _pair_score(model: Any, data: Data) -> float:
    return class_score(lambda x: model["head"](model["trunk"](x)), data)


def steps_both(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """One backward pass, then a step of each optimizer."""
    loss = loop.loss_of(model, batch)
    for one in optimizer.values():
        one.zero_grad()
    loss.backward()
    for name, one in optimizer.items():
        loop.seen(loss, name)
        one.step()
    return loss


def clears_each_epoch(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """zero_grad stands in front of the loop over batches, of which an epoch has 45."""
    model.train()
    model.batches = getattr(model, "batches", -1) + 1
    if model.batches % 45 == 0:
        optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def clips_too_early(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Gradients are clipped before the backward pass, when there are none."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    nn.utils.clip_grad_norm_(model.parameters(), 0.2)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def scaled(model: Any, optimizer: Any, batch: Any, loop: Loop, *, back: bool = True) -> Tensor:
    """A loss times 1,024, as for half precision; gradients are divided by as much, or not."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    (1024 * loss).backward()
    if back:
        for parameter in model.parameters():
            parameter.grad /= 1024
    loop.seen(loss)
    optimizer.step()
    return loss


def _never_scaled_back(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    return scaled(model, optimizer, batch, loop, back=False)


NORMED = Program(
    model=normed,
    train=lambda: flat_digits(True),
    held_out=lambda: flat_digits(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.Adafactor,
    options={"lr": 0.02},
    steps=250,
)
PLAIN = but(NORMED, model=plain, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
CLIPPED = but(PLAIN, model=lambda: plain(6), options={"lr": 0.8, "momentum": 0.5}, clip=0.2, steps=350)
LENET = but(
    PLAIN,
    model=lenet,
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    optimizer=torch.optim.Adamax,
    options={"lr": 0.01},
    scheduler=lambda o: PolynomialLR(o, 300, power=0.9),
    steps=300,
)
HALF = but(LENET, optimizer=torch.optim.NAdam, options={"lr": 4e-3, "eps": 1e-4}, scheduler=None, dtype=torch.float16)
SCALED = but(PLAIN, model=lambda: plain(2), body=scaled, options={"lr": 0.03, "momentum": 0.9})

SOUND = {
    "digits under adafactor": NORMED,
    "digits under sgd": PLAIN,
    "digits clipped at every step": CLIPPED,
    "digits under adamax, down by a polynomial": LENET,
    "digits in half precision": HALF,
    "digits from a scaled loss": SCALED,
    "digits under averaged sgd": but(PLAIN, optimizer=torch.optim.ASGD, options={"lr": 0.2, "t0": 100}, steps=350),
    "digits in triangles": but(
        NORMED,
        optimizer=torch.optim.SGD,
        options={"lr": 0.01, "momentum": 0.9},
        scheduler=lambda o: CyclicLR(o, 0.001, 0.2, step_size_up=40, cycle_momentum=False),
    ),
    "digits under centred rmsprop": but(
        PLAIN,
        model=lambda: plain(3, nn.SiLU),
        optimizer=torch.optim.RMSprop,
        options={"lr": 1e-3, "centered": True, "momentum": 0.5},
    ),
    "digits under muon and adam": Program(
        model=lambda: {"trunk": _turned_trunk(), "head": nn.Linear(64, 10)},
        train=lambda: flat_digits(True),
        held_out=lambda: flat_digits(False),
        score=_pair_score,
        training_step=_told,
        body=steps_both,
        trained=lambda models: {name: list(model.parameters()) for name, model in models.items()},
        optimizer=_muon_and_adam,
        options={},
        steps=200,
    ),
}

FAULTS = {
    "half precision with the usual eps": fault(
        HALF,
        "eps of 1e-8 is zero in half precision",
        "eps_underflow underflow update_ratio.eps confirmed_change.eps_usual",
        options={"lr": 4e-3, "eps": 1e-8},
    ),
    "gradients cleared once an epoch": fault(
        PLAIN, "zero_grad is called in front of the loop over batches", f"{STALE} accumulation", body=clears_each_epoch
    ),
    "polynomial over ten batches": fault(
        LENET,
        "total_iters is the number of epochs, the schedule is stepped for each batch",
        DIES,
        scheduler=lambda o: PolynomialLR(o, 10, power=0.9),
    ),
    "clipped before backward": fault(
        CLIPPED,
        "clip_grad_norm_ is called before backward, where it does nothing",
        f"clip_dropped {LARGE}",
        body=clips_too_early,
    ),
    "scaled loss that is never scaled back": fault(
        SCALED,
        "optimizer.step() in place of the scaler's: gradients are 1,024 times too large",
        f"loss_divided {LARGE}",
        body=_never_scaled_back,
    ),
}
