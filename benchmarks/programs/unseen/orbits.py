"""The law of a swinging pendulum from its trajectories: a net for the derivative, integrated step by step."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from programs.held_out.causes import CLIPPED, CUT, LOUD, SMALL, STALE
from programs.program import Data, Loop, Program, but, fault, in_bf16, in_closure
from programs.unseen.causes import CLAMPED, FROZEN, SATURATED, UNRELATED

STEPS, LAPSE = 8, 0.25


@functools.cache
def swings(train: bool) -> Data:
    """First states (n, 2), angle and velocity, and the eight states after them (n, 8, 2), a quarter of a second apart."""
    rng = torch.Generator().manual_seed(290 if train else 291)
    state = torch.randn(600 if train else 200, 2, generator=rng) * torch.tensor([1.4, 1.2])
    states, inner = [state], 50
    for _ in range(STEPS):
        for _ in range(inner):
            velocity = state[:, 1] + LAPSE / inner * (-3 * torch.sin(state[:, 0]) - 0.3 * state[:, 1])
            state = torch.stack([state[:, 0] + LAPSE / inner * velocity, velocity], dim=1)
        states.append(state)
    after = torch.stack(states[1:], dim=1)
    return states[0], after + 0.02 * torch.randn(after.shape, generator=rng)


class Law(nn.Module):
    """A net for the derivative, and the midpoint rule."""

    def __init__(
        self,
        *,
        active: type[nn.Module] = nn.Tanh,
        width: int = 32,
        depth: int = 2,
        lapse: float = LAPSE,
        frozen: bool = False,
        last: nn.Module | None = None,
        std: float | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(width if i else 2, width), active()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 2), *([last] if last else []))
        self.lapse, self.frozen = lapse, frozen
        for module in self.net.modules():
            if isinstance(module, nn.Linear) and std is not None:
                nn.init.normal_(module.weight, 0.0, std)

    def forward(self, state: Tensor) -> Tensor:
        """(n, 2) to (n, 8, 2)."""
        states = []
        for _ in range(STEPS):
            middle = state + 0.5 * self.lapse * self.net(state)
            change = self.lapse * self.net(middle)
            state = state + (change.detach() if self.frozen else change)
            states.append(state)
        return torch.stack(states, dim=1)


class Stack(nn.Module):
    """A block of its own for each step, whose last layer begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 24), nn.SiLU(), nn.Linear(24, 2)) for _ in range(STEPS))
        for block in self.blocks:
            nn.init.zeros_(block.get_submodule("2").get_parameter("weight"))
            nn.init.zeros_(block.get_submodule("2").get_parameter("bias"))

    def forward(self, state: Tensor) -> Tensor:
        """(n, 2) to (n, 8, 2)."""
        states = []
        for block in self.blocks:
            state = state + block(state)
            states.append(state)
        return torch.stack(states, dim=1)


class Shift(nn.Module):
    """A constant beside each state."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that ends in 2."""
        return x + self.by


def followed(model: nn.Module, data: Data) -> float:
    """Share of the squares of what moves that the trajectory follows; 0 for what stands still."""
    still = data[0][:, None].expand_as(data[1])
    return 1 - float(F.mse_loss(model(data[0]), data[1]) / F.mse_loss(still, data[1]))


def nearer_first(output: Tensor, target: Tensor) -> Tensor:
    """Squared errors, of which later ones count less."""
    return ((output - target).square() * 0.8 ** torch.arange(STEPS)[:, None]).mean()


def _others(train: bool) -> Data:
    """States are sorted by angle, trajectories are not."""
    state, after = swings(train)
    return state[state[:, 0].argsort()], after


def _climbs(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """A closure without zero_grad."""
    model.train()

    def closure() -> Tensor:
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        return loss

    return torch.as_tensor(optimizer.step(closure))


ORBIT = Program(
    model=Law,
    train=lambda: swings(True),
    held_out=lambda: swings(False),
    score=followed,
    loss=F.mse_loss,
    options={"lr": 0.01},
    scheduler=lambda optimizer: CosineAnnealingLR(optimizer, 300),
    batch=64,
    steps=300,
)
FULL = but(
    ORBIT,
    optimizer=torch.optim.LBFGS,
    options={"lr": 1.0, "max_iter": 10, "line_search_fn": "strong_wolfe"},
    scheduler=None,
    body=in_closure,
    batch=600,
    steps=25,
)
SHIFTED = but(ORBIT, model=lambda: nn.Sequential(Law(), Shift()))
STEPWISE = but(FULL, options={"lr": 0.5, "max_iter": 4}, steps=40)
PLAIN = but(ORBIT, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, scheduler=None, clip=1.0, steps=400)
SLOW = but(ORBIT, options={"lr": 3e-4}, scheduler=None, batch=16, steps=700)

SOUND = {
    "orbits at a small rate": SLOW,
    "orbits": ORBIT,
    "orbits by lbfgs": FULL,
    "orbits by lbfgs without a line search": STEPWISE,
    "orbits with a shift": SHIFTED,
    "orbits under sgd": PLAIN,
    "orbits by blocks from zero": but(ORBIT, model=Stack, loss=nearer_first),
    "orbits in double precision": but(ORBIT, dtype=torch.float64),
    "orbits under autocast": but(ORBIT, body=in_bf16, model=lambda: Law(active=nn.SiLU)),
}

FAULTS = {
    "trajectories of other states": fault(ORBIT, "one of two files is sorted", UNRELATED, train=lambda: _others(True)),
    "closure without zero_grad": fault(STEPWISE, "LBFGS's closure does not clear gradients", STALE, body=_climbs),
    "changes without a gradient": fault(
        SHIFTED,
        "the change of each step is detached",
        f"{CUT} {FROZEN}",
        model=lambda: nn.Sequential(Law(frozen=True), Shift()),
    ),
    "velocities of one sign": fault(PLAIN, "the derivative ends in ReLU", CLAMPED, model=lambda: Law(last=nn.ReLU())),
    "a law without curves": fault(
        ORBIT, "nn.Identity for the function of each layer", "linear_stack", model=lambda: Law(active=nn.Identity)
    ),
    "a law drawn from N(0, 4)": fault(
        PLAIN, "N(0, 4) in each layer: tanh is saturated and steps are wild", f"{SATURATED} {LOUD}", model=lambda: Law(std=2.0)
    ),
    "bfloat16 at a small rate": fault(
        SLOW,
        "model and data in bfloat16: small updates round to nothing",
        f"{SMALL} unmoved_parameter underflow",
        dtype=torch.bfloat16,
    ),
    "eps of one": fault(
        ORBIT,
        "Adam's eps is 1, not 1e-8",
        f"{SMALL} update_ratio.eps confirmed_change.eps_usual",
        options={"lr": 0.01, "eps": 1.0},
    ),
    "swings clipped": fault(PLAIN, "the norm is clipped at 0.005", CLIPPED, clip=0.005),
}
