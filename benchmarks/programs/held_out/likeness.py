"""Embeddings of shapes: contrast between two noisy views, hard triplets, proxies, and a slow copy as a teacher."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.pictures import CLASSES, shapes
from programs.program import Data, Loop, Program, but, fault


def embedder(*, last: nn.Module | None = None) -> nn.Sequential:
    """Shapes (n, 3, 12, 12) to points (n, 12)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(216, 12), *([last] if last else [])),
    )


class Proxied(nn.Module):
    """The embedding, and a point for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.proxies = embedder(), nn.Parameter(torch.randn(CLASSES, 12))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (n, 3, 12, 12) to cosines (n, 5)."""
        return F.normalize(self.body(x), dim=1) @ F.normalize(self.proxies, dim=1).T


def likes(points: Callable[[Any], Callable[[Tensor], Tensor]]):
    """How surely shapes of one class are nearer than others: 1 always, 0 by chance."""

    def score(model: nn.Module, data: Data) -> float:
        p = F.normalize(points(model)(data[0]), dim=1)
        near, same = (p @ p.T).flatten(), (data[1][:, None] == data[1][None]).flatten()
        other = ~torch.eye(len(p), dtype=torch.bool).flatten()
        a, b = near[same & other][::7], near[~same][::23]
        return 2 * float((a[:, None] > b[None]).float().mean()) - 1

    return score


def views(
    *, temperature: float = 0.2, over: int = 1, itself: bool = False, other: bool = True
) -> Callable[[nn.Module, list[Tensor]], Tensor]:
    """Supervised contrast: other shapes of the class in the batch are positive."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        p = F.normalize(model(batch[0] + 0.2 * torch.randn_like(batch[0])), dim=over)
        alike = (p @ p.T) / temperature
        eye = torch.eye(len(p), dtype=torch.bool)
        same = (batch[1][:, None] == batch[1][None]) & ~eye if other else eye
        log_share = alike - torch.logsumexp(alike if itself else alike.masked_fill(eye, -torch.inf), dim=1, keepdim=True)
        return -(log_share * same).sum(dim=1).div(same.sum(dim=1).clamp(min=1)).mean()

    return step


def hard(*, margin: float = 0.5, turned: bool = False, rooted: bool = False):
    """The farthest of the class and the nearest of another, for each of the batch."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        p = F.normalize(model(batch[0]), dim=1)
        squares = (p[:, None] - p[None]).square().sum(dim=2)
        gap = squares.sqrt() if rooted else squares.add(1e-8).sqrt()
        same = batch[1][:, None] == batch[1][None]
        far = torch.where(same, gap, -1.0).amax(dim=1)
        near = torch.where(same, 9.0, gap).amin(dim=1)
        return F.relu((near - far if turned else far - near) + margin).mean()

    return step


def proxied(scale: float = 10.0):
    """Cross-entropy of scaled cosines with each class's point."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(scale * model(batch[0]), batch[1])

    return step


class Taught(nn.Module):
    """An embedding with a predictor, and a slow copy that takes no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.predictor = embedder(), nn.Linear(12, CLASSES)
        self.slow = copy.deepcopy(self.fast).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes (n, 3, 12, 12) to points (n, 12)."""
        return self.slow(x)


def _taught(model: Any, batch: list[Tensor]) -> Tensor:
    """Labels for the fast one, and the slow one's points as a pull."""
    fast = model.fast(batch[0])
    with torch.no_grad():
        slow = model.slow(batch[0])
    return F.cross_entropy(model.predictor(fast), batch[1]) + 0.05 * F.mse_loss(fast, slow)


def averages(*, share: float = 0.95, turned: bool = False):
    """The usual loop, then the slow copy moves towards the fast; or the fast towards the slow, by mistake."""

    def body(model: Any, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        optimizer.step()
        with torch.no_grad():
            for fast, slow in zip(model.fast.parameters(), model.slow.parameters(), strict=True):
                if turned:
                    fast.mul_(1 - share).add_(slow, alpha=share)
                else:
                    slow.mul_(share).add_(fast, alpha=1 - share)
        return loss

    return body


def _in_pairs(train: bool) -> Data:
    """Shapes of one class follow each other."""
    x, y = shapes(train)
    order = y.argsort(stable=True)
    return x[order], y[order]


def _other_labels(train: bool) -> Data:
    x, y = shapes(train)
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(211))]


def _cosines(model: nn.Module, batch: list[Tensor]) -> Tensor:
    p = F.normalize(model(batch[0]), dim=1)
    return F.mse_loss(p @ p.T, (batch[1][:, None] == batch[1][None]).float())


def _itself(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return model


CONTRAST = Program(
    model=embedder,
    train=lambda: shapes(True),
    held_out=lambda: shapes(False),
    score=likes(_itself),
    training_step=views(),
    optimizer=torch.optim.Adam,
    options={"lr": 3e-3},
    batch=48,
    steps=300,
)
HARD = but(CONTRAST, training_step=hard(), options={"lr": 2e-3}, batch=40)
PROXIES = but(
    CONTRAST,
    model=Proxied,
    training_step=proxied(),
    score=likes(lambda model: model.body),
    optimizer=torch.optim.SGD,
    options={"lr": 0.1, "momentum": 0.9},
)
TAUGHT = but(
    CONTRAST,
    model=Taught,
    training_step=_taught,
    trained=lambda model: [p for p in model.parameters() if p.requires_grad],
    body=averages(),
    options={"lr": 5e-3},
)
COSINES = but(CONTRAST, training_step=_cosines)

SOUND = {
    "supervised contrast": CONTRAST,
    "hard triplets": HARD,
    "proxies": PROXIES,
    "slow copy": TAUGHT,
    "cosines": COSINES,
}

FAULTS = {
    "points normalised over the batch": fault(CONTRAST, "normalize(dim=0)", "batch_leakage", training_step=views(over=0)),
    "every shape is its own positive": fault(
        CONTRAST,
        "the mask of positives is the diagonal, which is not left out below the fraction bar",
        "wrong_sign.no_positives",
        training_step=views(itself=True, other=False),
    ),
    "temperature of 2,000": fault(
        but(CONTRAST, optimizer=torch.optim.SGD, options={"lr": 0.3, "momentum": 0.9}),
        "alike * temperature was meant to be divided: 2,000 in the place of 0.2",
        "vanishing_gradient update_ratio.small plateau.small_steps slow_start",
        training_step=views(temperature=2000.0),
    ),
    "hard triplets turned": fault(HARD, "nearest and farthest are exchanged", "wrong_sign", training_step=hard(turned=True)),
    "root of its own distance": fault(HARD, "sqrt of the zero on the diagonal", "not_finite", training_step=hard(rooted=True)),
    "shapes beside other labels": fault(PROXIES, "labels are shuffled", "shuffled_labels", train=lambda: _other_labels(True)),
    "one class per batch": fault(
        HARD,
        "sorted by class and not shuffled",
        "class_order confirmed_change.shuffled",
        train=lambda: _in_pairs(True),
        shuffle=False,
    ),
    "fast copy follows the slow": fault(
        TAUGHT,
        "the average is written to the net that learns",
        "unmoved_parameter.with_gradient",
        body=averages(turned=True, share=0.999),
    ),
}
