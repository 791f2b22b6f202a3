"""What happens to pictures before and after the net: splits, turns, colours, names of classes, trunks from elsewhere, tests."""

import copy
import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import OUTSIDE
from programs.material import digits, flat_digits
from programs.program import Data, Loop, Program, accuracy, but, class_score, fault


@functools.cache
def arrows(train: bool) -> Data:
    """Pictures (n, 1, 12, 12) of an arrow, and where it points: right, up, left or down, as quarters of a turn."""
    rng = torch.Generator().manual_seed(8161 if train else 8162)
    n = 600 if train else 240
    label = torch.randint(4, (n,), generator=rng)
    ys, xs = torch.meshgrid(torch.arange(12.0) - 5.5, torch.arange(12.0) - 5.5, indexing="ij")
    at = 2 * torch.rand(n, 2, 1, 1, generator=rng) - 1
    dy, dx = ys - at[:, 0], xs - at[:, 1]
    shaft, tip = (dy.abs() < 0.9) & (dx > -4) & (dx < 2), (dx >= 0) & (dx < 3.5) & (dy.abs() < 3.5 - dx)
    straight = 1.5 * (shaft | tip).float()
    x = torch.stack([torch.rot90(one, int(k)) for one, k in zip(straight, label, strict=True)])
    return (x + 0.5 * torch.randn(n, 12, 12, generator=rng))[:, None], label


@functools.cache
def fruit(train: bool) -> Data:
    """Colour pictures (n, 3, 10, 10) of a round fruit: red, orange, green, blue or violet."""
    rng = torch.Generator().manual_seed(8163 if train else 8164)
    n = 500 if train else 250
    label = torch.randint(5, (n,), generator=rng)
    hues = torch.tensor([[1.0, 0.1, 0.1], [1.0, 0.6, 0.0], [0.2, 0.9, 0.2], [0.1, 0.2, 1.0], [0.7, 0.1, 0.8]])
    ys, xs = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
    at = 3 + 4 * torch.rand(n, 2, 1, 1, generator=rng)
    round_ = ((ys - at[:, 0]) ** 2 + (xs - at[:, 1]) ** 2 < 9)[:, None]
    light, table = 0.6 + 0.5 * torch.rand(n, 1, 1, 1, generator=rng), torch.rand(n, 1, 1, 1, generator=rng)
    x = torch.where(round_, light * hues[label][:, :, None, None], table) + 0.12 * torch.randn(n, 3, 10, 10, generator=rng)
    return (x - 0.45) / 0.3, label


def small(channels: int, side: int, classes: int, drop: float = 0.0) -> nn.Sequential:
    """Two convolutions and two linear layers with dropout."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(drop), nn.Linear(24 * math.ceil(side / 2) ** 2, 64), nn.ReLU(), nn.Dropout(drop), nn.Linear(64, classes)),
    )


@functools.cache
def elsewhere(question: str) -> dict[str, Tensor]:
    """The weights of a trunk trained on another question: is the ink more to the left, or which of five digits is it?"""
    x, y = digits(True)
    if question == "left":
        answer, outputs = (x[..., :4].mean(dim=(1, 2, 3)) > x[..., 4:].mean(dim=(1, 2, 3))).long(), 2
    else:
        x, answer, outputs = x[y < 5], y[y < 5], 5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8165)
        net = nn.Sequential(trunk(), nn.Linear(24, outputs))
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(200):
            part = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), answer[part]).backward()
            optimizer.step()
        return copy.deepcopy(net[0].state_dict())


def trunk() -> nn.Sequential:
    """Convolutions and a linear layer that end in 24 numbers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1), nn.Tanh(), nn.Conv2d(12, 16, 3, 2, 1), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(256, 24), nn.Tanh()),
    )


def tuned(question: str = "left", *, frozen: bool = True) -> nn.Sequential:
    """The trunk from elsewhere, frozen or not, and a new head."""
    body = trunk()
    body.load_state_dict(elsewhere(question))
    return nn.Sequential(body.requires_grad_(not frozen), nn.Linear(24, 10))


def thaws(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """The trunk is frozen for the first fifty steps."""
    model.train()
    model.steps = getattr(model, "steps", 0) + 1
    if model.steps == 50:
        model.requires_grad_(True)
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def by_depth(model: nn.Sequential) -> list[dict[str, Any]]:
    """A group for each layer: the nearer to the input, the smaller its rate."""
    layers = [layer for layer in [*model[0].children(), model[1]] if list(layer.parameters())]
    return [{"params": list(layer.parameters()), "lr": 0.01 * 0.5 ** (len(layers) - 1 - i)} for i, layer in enumerate(layers)]


def turned(examples: list[Data], *, renamed: bool = True) -> list[Tensor]:
    """A batch of arrows, each turned by a random number of quarters and called by what it is then, or was before."""
    made = []
    for x, label in examples:
        quarters = int(torch.randint(4, ()))
        made.append((torch.rot90(x, quarters, dims=(1, 2)), (label + quarters) % 4 if renamed else label))
    return default_collate(made)


def spoiled(examples: list[Data]) -> list[Tensor]:
    """A batch of digits shifted by up to one pixel, with a patch cut out and much noise."""
    x, y = default_collate(examples)
    dy, dx, top, left = torch.randint(-1, 2, (2,)).tolist() + torch.randint(6, (2,)).tolist()
    x = torch.roll(x, (dy, dx), dims=(2, 3)) + 0.6 * torch.randn(x.shape)
    x[:, :, top : top + 3, left : left + 3] = 0.0
    return [x, y]


def hits_over_batches(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Right answers divided by the number of batches times 256, though the last batch is smaller."""
    right = sum(int((output.argmax(dim=1) == target).sum()) for output, target in pairs)
    return right / (256 * len(pairs))


def _few(train: bool) -> Data:
    x, y = flat_digits(train)
    first = torch.cat([(y == c).nonzero()[:8, 0] for c in range(10)])
    return (x[first], y[first]) if train else (x, y)


def _first_folders(train: bool) -> Data:
    """The first half of a list that is sorted by class is for training, as of a split before any shuffling."""
    x, y = digits(train)
    return x[y < 5], y[y < 5]


def _other_names(train: bool) -> Data:
    """Classes are numbered in the order in which the folders of this split are listed."""
    x, y = fruit(train)
    return x, torch.tensor([2, 0, 3, 4, 1])[y]


def _blue_first(train: bool) -> Data:
    x, y = fruit(train)
    return x.flip(1), y


ARROWS = Program(
    model=lambda: small(1, 12, 4),
    train=lambda: arrows(True),
    held_out=lambda: arrows(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    collate=turned,
    steps=250,
)
FRUIT = but(
    ARROWS, model=lambda: small(3, 10, 5), train=lambda: fruit(True), held_out=lambda: fruit(False), collate=None, steps=150
)
SPOILED = but(
    ARROWS,
    model=lambda: small(1, 8, 10),
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    collate=spoiled,
    optimizer=torch.optim.NAdam,
    steps=300,
)
DROPPED = but(SPOILED, model=lambda: small(1, 8, 10, 0.7), collate=None, optimizer=torch.optim.AdamW)
THAWED = but(
    SPOILED,
    model=tuned,
    collate=None,
    body=thaws,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9},
)
GROUPED = but(
    THAWED,
    model=lambda: tuned(frozen=False),
    body=FRUIT.body,
    optimizer=torch.optim.Adam,
    trained=by_depth,
    options={"lr": 0.01},
)

SOUND = {
    "arrows turned and renamed": ARROWS,
    "fruit by colour": FRUIT,
    "digits spoiled on purpose": SPOILED,
    "digits under dropout of 0.7": DROPPED,
    "digits on a trunk that thaws": THAWED,
    "digits on a frozen trunk": but(THAWED, model=lambda: tuned("five"), body=FRUIT.body),
    "digits on a trunk with a rate for each layer": GROUPED,
    "eighty digits": but(
        ARROWS,
        model=lambda: nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)),
        train=lambda: _few(True),
        held_out=lambda: _few(False),
        collate=None,
        batch=80,
        options={"lr": 2e-3, "weight_decay": 1e-2},
        steps=120,
    ),
}

FAULTS = {
    "arrows turned, names kept": fault(
        ARROWS,
        "pictures are turned by quarters, and what tells the direction is not",
        f"{UNPAIRED} mirrored",
        collate=lambda examples: turned(examples, renamed=False),
    ),
    "other names at validation": fault(
        FRUIT,
        "classes are numbered by another listing of folders for validation",
        "validation_labels",
        validation=lambda: _other_names(False),
    ),
    "blue comes first in use": fault(
        FRUIT,
        "pictures are read as RGB for training and as BGR afterwards",
        "split_shift evaluation_path",
        held_out=lambda: _blue_first(False),
    ),
    "only the first folders": fault(
        DROPPED,
        "a list sorted by class is split before it is shuffled: five classes of ten",
        "split_shift class_imbalance class_order",
        train=lambda: _first_folders(True),
    ),
    "thawed beside the optimizer": fault(
        THAWED,
        "the optimizer was given what needed a gradient while the trunk was frozen",
        OUTSIDE,
        trained=lambda model: [p for p in model.parameters() if p.requires_grad],
    ),
    "tested under dropout": fault(
        DROPPED, "model.eval() is not called for validation", "wrong_mode random_evaluation", evaluates_in="train"
    ),
    "hits over full batches": fault(
        DROPPED,
        "right answers are divided by batches times their size, the last one is not full",
        "metric_wrong evaluation_told",
        metric=hits_over_batches,
    ),
}
