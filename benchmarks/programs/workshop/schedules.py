"""Optimizers and schedules of every kind on small nets: spirals, a table, a curve, glyphs."""

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from programs.forum.causes import SLOWED
from programs.held_out.causes import CLIPPED, DECAYED, LARGE, REDRAWN, SMALL
from programs.program import Data, Loop, Program, accuracy, but, class_score, drawn, explained, fault, in_closure
from programs.unseen.causes import ALIKE, DIES, SAME, UPSIDE_DOWN
from programs.workshop.swells import rng_of


@functools.cache
def spirals(train: bool) -> Data:
    """Points (n, 2) on three arms of a spiral and their arm, (n,)."""
    rng = rng_of(5180 if train else 5181)
    n = 900 if train else 450
    arm = torch.randint(3, (n,), generator=rng)
    out = torch.rand(n, generator=rng)
    angle = 4.5 * out + arm * 2.094 + 0.12 * torch.randn(n, generator=rng)
    return 1.7 * (0.1 + out)[:, None] * torch.stack((angle.cos(), angle.sin()), dim=1), arm


@functools.cache
def flats(train: bool) -> Data:
    """Eight columns of flats, (n, 8), and the log of the rent, standardised, (n, 1)."""
    rng = rng_of(5182 if train else 5183)
    x = torch.randn(800 if train else 400, 8, generator=rng)
    rent = x[:, :1] + 0.7 * x[:, 1:2] * x[:, 2:3] + 0.6 * (x[:, 3:4].abs() - 0.8) - 0.5 * x[:, 4:5]
    return x, (rent + 0.15 * torch.randn(len(x), 1, generator=rng)) / 1.5


@functools.cache
def curve(train: bool) -> Data:
    """Points (n, 1) from -1 to 1 and a curve over them, (n, 1)."""
    x = torch.linspace(-1, 1, 128 if train else 101)[:, None]
    return x, torch.sin(5 * x) + 0.5 * torch.cos(11 * x)


@functools.cache
def glyphs(train: bool) -> Data:
    """Images (n, 1, 10, 10) of six glyphs that are moved about, under noise; the first three are four times as frequent."""
    rng = rng_of(5184 if train else 5185)
    n = 800 if train else 500
    label = torch.multinomial(torch.tensor([4.0, 4, 4, 1, 1, 1]), n, replacement=True, generator=rng)
    shapes = (torch.rand(6, 6, 6, generator=rng_of(5186)) < 0.45).float()
    x = 0.2 * torch.randn(n, 1, 10, 10, generator=rng)
    for i, (down, right) in enumerate(torch.randint(5, (n, 2), generator=rng).tolist()):
        x[i, 0, down : down + 6, right : right + 6] += shapes[label[i]]
    return (x - 0.2) / 0.5, label


class Lion(torch.optim.Optimizer):
    """Sign of the momentum, decoupled decay; `moves` is how a parameter is changed."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, decay: float = 0.0, moves: str = "down") -> None:
        super().__init__(params, {"lr": lr, "decay": decay})
        self.moves = moves

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                update = (0.9 * momentum + 0.1 * p.grad).sign() + group["decay"] * p
                if self.moves == "copy":
                    p = p - group["lr"] * update
                else:
                    p.add_(update, alpha=group["lr"] if self.moves == "up" else -group["lr"])
                if self.moves != "copy":
                    momentum.mul_(0.99).add_(p.grad, alpha=0.01)


class Orthogonal(torch.optim.SGD):
    """SGD with momentum whose gradients of matrices are made orthogonal first."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim == 2 and p.grad is not None:
                    u, _, v = torch.linalg.svd(p.grad, full_matrices=False)
                    p.grad.copy_(u @ v)
        return super().step(closure)


class Lookahead(torch.optim.Adam):
    """Adam that goes back half of its way every fifth step."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update."""
        told = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                slow = state.setdefault("slow", p.clone())
                if float(state["step"]) % 5 == 0:
                    p.copy_(slow.lerp_(p, 0.5))
        return told


def arms(width: int = 48) -> nn.Module:
    """Three layers for points of the plane."""
    return nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3))


def rents() -> nn.Module:
    """Three layers for a table."""
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def curves() -> nn.Module:
    """A net of tanh."""
    return nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))


def convolutions() -> nn.Module:
    """Two convolutions with group norm and a head."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.GroupNorm(4, 32), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(288, 6)),
    )


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices with decay, vectors without, the head at its own rate."""
    head = {id(p) for p in list(model.parameters())[-2:]}
    body = [p for p in model.parameters() if id(p) not in head]
    return [
        {"params": [p for p in body if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in body if p.ndim == 1], "weight_decay": 0.0},
        {"params": list(model.parameters())[-2:], "lr": 5e-4, "weight_decay": 0.0},
    ]


def sharpness(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Steps with the gradient found a little uphill, as SAM does."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    kept = [p.detach().clone() for p in model.parameters()]
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.add_(p.grad, alpha=0.05 / float(norm + 1e-12))
    optimizer.zero_grad()
    loop.loss_of(model, batch).backward()
    with torch.no_grad():
        for p, was in zip(model.parameters(), kept, strict=True):
            p.copy_(was)
    loop.seen(loss)
    optimizer.step()
    return loss


def clips_values(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Every element of a gradient is cut at a ten-thousandth."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    nn.utils.clip_grad_value_(model.parameters(), 1e-4)
    optimizer.step()
    return loss


SPIRALS = Program(
    model=arms,
    train=lambda: spirals(True),
    held_out=lambda: spirals(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 8e-3},
    scheduler=lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 60, T_mult=2, eta_min=1e-4),
    steps=420,
)
NESTEROV = but(
    SPIRALS,
    optimizer=torch.optim.SGD,
    options={"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    scheduler=lambda o: lr_scheduler.OneCycleLR(o, 0.3, total_steps=500, pct_start=0.2),
    steps=500,
)
LION = but(
    SPIRALS,
    optimizer=Lion,
    options={"lr": 2e-3, "decay": 0.01},
    scheduler=lambda o: lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / 50)),
)
FLATS = Program(
    model=rents,
    train=lambda: flats(True),
    held_out=lambda: flats(False),
    score=explained,
    loss=F.huber_loss,
    optimizer=torch.optim.Adagrad,
    options={"lr": 0.05},
    steps=300,
)
PLAIN_SGD = but(FLATS, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
CURVE = Program(
    model=curves,
    train=lambda: curve(True),
    held_out=lambda: curve(False),
    score=explained,
    loss=F.mse_loss,
    optimizer=torch.optim.LBFGS,
    options={"lr": 1.0, "max_iter": 10, "line_search_fn": "strong_wolfe"},
    body=in_closure,
    batch=128,
    dtype=torch.float64,
    steps=60,
)
GLYPHS = Program(
    model=convolutions,
    train=lambda: glyphs(True),
    held_out=lambda: glyphs(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.NAdam,
    options={"lr": 2e-3, "decoupled_weight_decay": True},
    trained=groups,
    steps=350,
)

SOUND = {
    "spirals with warm restarts": SPIRALS,
    "spirals in one cycle": NESTEROV,
    "spirals by lion": LION,
    "flats by adagrad": FLATS,
    "flats by adadelta": but(FLATS, optimizer=torch.optim.Adadelta, options={"lr": 1.0}),
    "flats by rprop in one batch": but(FLATS, optimizer=torch.optim.Rprop, options={"lr": 1e-3}, batch=800, steps=150),
    "flats with lookahead": but(FLATS, optimizer=Lookahead, options={"lr": 5e-3}),
    "flats by orthogonal steps": but(FLATS, optimizer=Orthogonal, options={"lr": 0.02, "momentum": 0.8}, batch=8),
    "flats by heavy ball": PLAIN_SGD,
    "curve by lbfgs": CURVE,
    "glyphs in groups": GLYPHS,
    "glyphs on flat ground": but(
        GLYPHS,
        optimizer=torch.optim.RMSprop,
        options={"lr": 1e-3, "momentum": 0.5},
        trained=lambda model: model.parameters(),
        body=sharpness,
    ),
    "glyphs under a clip that always acts": but(
        GLYPHS, optimizer=torch.optim.Adam, options={"lr": 3e-3}, trained=lambda model: model.parameters(), clip=0.01
    ),
}

FAULTS = {
    "halved every five batches": fault(
        SPIRALS,
        "StepLR(5, 0.5) is meant for epochs and stepped for each batch",
        DIES,
        scheduler=lambda o: lr_scheduler.StepLR(o, 5, 0.5),
    ),
    "a power of a power": fault(
        NESTEROV,
        "MultiplicativeLR is given 0.98 to the step, as if it were LambdaLR",
        DIES,
        scheduler=lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.98**step),
    ),
    "lambda that returns a rate": fault(
        LION,
        "LambdaLR's factor is the wanted rate 2e-3 itself",
        SLOWED,
        scheduler=lambda o: lr_scheduler.LambdaLR(o, lambda _: 2e-3),
    ),
    "lion at 0.3": fault(LION, "the rate of an SGD recipe under Lion", LARGE, options={"lr": 0.3, "decay": 0.01}),
    "lion uphill": fault(
        LION, "add_ of the update in place of its negative", UPSIDE_DOWN, options={"lr": 2e-3, "decay": 0.01, "moves": "up"}
    ),
    "lion on copies": fault(
        LION,
        "p = p - lr * update binds a name and changes no parameter",
        "unmoved_parameter untrained_parameter.not_written never_steps plateau.small_steps update_ratio.small zero_rate",
        options={"lr": 2e-3, "decay": 0.01, "moves": "copy"},
    ),
    "flats from tenths": fault(
        FLATS,
        "every weight and bias is set to 0.1",
        f"{ALIKE} {SAME} {REDRAWN}",
        model=drawn(rents, lambda module: [nn.init.constant_(p, 0.1) for p in module.parameters(recurse=False)]),
    ),
    "adagrad at 1e-4": fault(FLATS, "a rate of Adam's for Adagrad", SMALL, options={"lr": 1e-4}),
    "values cut at a ten-thousandth": fault(
        PLAIN_SGD, "clip_grad_value_ at 1e-4 under SGD", f"{CLIPPED} {SMALL} local_clipping", body=clips_values
    ),
    "heavy ball with a decay of one": fault(
        PLAIN_SGD, "weight_decay=1 under SGD", DECAYED, options={"lr": 0.05, "momentum": 0.9, "weight_decay": 1.0}
    ),
    "dampened wholly": fault(
        PLAIN_SGD,
        "dampening=1: after the first gradient no other enters the momentum",
        f"long_momentum stale_gradients {SMALL}",
        options={"lr": 0.05, "momentum": 0.9, "dampening": 1.0},
    ),
    "heavy ball at 3": fault(PLAIN_SGD, "lr=3 with momentum 0.9", f"{LARGE} not_finite", options={"lr": 3.0, "momentum": 0.9}),
    "a thousand steps of memory": fault(
        GLYPHS,
        "betas=(0.9999, 0.9) under AdamW",
        f"long_momentum {LARGE}",
        optimizer=torch.optim.AdamW,
        options={"lr": 2e-2, "betas": (0.9999, 0.9)},
    ),
}
