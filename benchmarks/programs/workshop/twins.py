"""What is alike lies near: triplets, pairs, a batch against itself, and names for directions."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE
from programs.program import Data, Program, but, fault
from programs.unseen.causes import SAME, UNRELATED, UPSIDE_DOWN

KINDS = 10


@functools.cache
def creatures(train: bool) -> Data:
    """Measures (n, 24) of creatures of ten kinds, most of whose variance has nothing to do with the kind, and the kind."""
    rng = torch.Generator().manual_seed(7400)
    middle, mix = 1.3 * torch.randn(KINDS, 5, generator=rng), torch.randn(24, 24, generator=rng) / 24**0.5
    rng.manual_seed(7401 if train else 7402)
    kind = torch.randint(KINDS, (1200 if train else 300,), generator=rng)
    told = middle[kind] + 0.3 * torch.randn(len(kind), 5, generator=rng)
    told = torch.cat([told[:, :3], told[:, 3:] * told[:, :1].sign()], dim=1)
    return torch.cat([told, 2 * torch.randn(len(kind), 19, generator=rng)], dim=1) @ mix, kind


@functools.cache
def couples(train: bool) -> Data:
    """Two creatures, (n, 24) each, and whether they are of one kind, (n,): half of them are."""
    x, kind = creatures(train)
    rng = torch.Generator().manual_seed(7403)
    first = torch.randint(len(x), (2000 if train else 600,), generator=rng)
    chance, same = torch.rand(len(first), len(x), generator=rng), kind[first][:, None] == kind[None]
    wanted = torch.rand(len(first), generator=rng) < 0.5
    second = torch.where(same == wanted[:, None], chance, -1.0).argmax(dim=1)
    return x[first], x[second], wanted.float()


@functools.cache
def threes(train: bool) -> Data:
    """A creature, another of its kind, and one of another kind."""
    x, kind = creatures(train)
    rng = torch.Generator().manual_seed(7404)
    first = torch.randint(len(x), (2000,), generator=rng)
    chance, same = torch.rand(len(first), len(x), generator=rng), kind[first][:, None] == kind[None]
    return x[first], x[torch.where(same, chance, -1.0).argmax(dim=1)], x[torch.where(same, -1.0, chance).argmax(dim=1)]


def reader(width: int = 64, *, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A net from measures to 8 coordinates."""
    return nn.Sequential(nn.Linear(24, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 8))


class Named(nn.Module):
    """Coordinates and a direction for each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.names = reader(), nn.Parameter(torch.randn(KINDS, 8))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 24) to (n, 8)."""
        return self.body(x)


class Comparer(nn.Module):
    """One logit of two creatures."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = reader(act=nn.GELU), nn.Linear(16, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Twice (n, 24) to (n,)."""
        a, b = self.body(a), self.body(b)
        return self.last(torch.cat([(a - b).abs(), a * b], dim=1))[:, 0]


def hardest(model: Any, batch: Any, *, root: bool = False) -> Tensor:
    """The farthest of the kind against the nearest of another, within a batch."""
    made, kind = model(batch[0]), batch[1]
    if root:
        far = ((made[:, None] - made[None]) ** 2).sum(dim=2).sqrt()
    else:
        far = ((made[:, None] - made[None]) ** 2).sum(dim=2).clamp_min(1e-9).sqrt()
    same = kind[:, None] == kind[None]
    return F.softplus((far * same).amax(dim=1) - torch.where(same, 1e6, far).amin(dim=1)).mean()


def contrast(model: Any, batch: Any, *, swapped: bool = False, column: bool = False) -> Tensor:
    """Pairs of a kind are drawn together, others are pushed beyond a margin."""
    a, b, same = batch
    far = F.pairwise_distance(model(a), model(b))
    same = same[:, None] if column else 1 - same if swapped else same
    return (same * far**2 + (1 - same) * F.relu(2 - far) ** 2).mean()


def triplets(model: Any, batch: Any, margin: float = 1.0) -> Tensor:
    """The usual triplet loss."""
    return F.triplet_margin_loss(*(model(x) for x in batch), margin=margin)


def against_all(model: Any, batch: Any, *, heat: float = 0.1, turned: bool = False) -> Tensor:
    """Each creature finds its mate among those of the batch."""
    a, b = F.normalize(model(batch[0]), dim=1), F.normalize(model(batch[1]), dim=1)
    wanted = torch.arange(len(a))
    return F.cross_entropy(a @ b.T / heat, wanted.flip(0) if turned else wanted)


def directions(model: Any, batch: Any, scale: float = 12.0) -> Tensor:
    """Cross-entropy of scaled cosines with the kinds' directions, with a margin for the true one."""
    cosines = F.normalize(model(batch[0]), dim=1) @ F.normalize(model.names, dim=1).T
    return F.cross_entropy(scale * (cosines - 0.2 * F.one_hot(batch[1], KINDS)), batch[1])


def ranked(far: Tensor, same: Tensor) -> float:
    """How much more often than not a pair of a kind is nearer than another pair, -1 to 1."""
    return float(torch.sign(far[same == 0][None] - far[same == 1][:, None]).mean())


def near(model: Any, data: Data) -> float:
    """`ranked` by distances."""
    return ranked((model(data[0]) - model(data[1])).norm(dim=1), data[2])


def near_by_angle(model: Any, data: Data) -> float:
    """`ranked` by cosines."""
    return ranked(-F.cosine_similarity(model(data[0]), model(data[1]), dim=1), data[2])


def near_by_logit(model: Any, data: Data) -> float:
    """`ranked` by logits."""
    return ranked(-model(data[0], data[1]), data[2])


TRIPLETS = Program(
    model=reader,
    train=lambda: threes(True),
    held_out=lambda: couples(False),
    score=near,
    training_step=triplets,
    optimizer=torch.optim.Adam,
    options={"lr": 1e-3},
    batch=64,
    steps=300,
)
HARDEST = but(TRIPLETS, train=lambda: creatures(True), training_step=hardest, batch=16, steps=1000)
PAIRS = but(
    TRIPLETS,
    model=lambda: reader(act=nn.Tanh),
    train=lambda: couples(True),
    training_step=contrast,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9},
)
ALL = but(TRIPLETS, training_step=against_all, score=near_by_angle)
NAMES = but(TRIPLETS, model=Named, train=lambda: creatures(True), training_step=directions, score=near_by_angle)

SOUND = {
    "creatures by triplets": TRIPLETS,
    "creatures by the hardest of a batch": HARDEST,
    "couples by contrast": PAIRS,
    "creatures against a batch": ALL,
    "creatures by directions": NAMES,
    "couples by one logit": but(
        TRIPLETS,
        model=Comparer,
        train=lambda: couples(True),
        training_step=lambda model, batch: F.binary_cross_entropy_with_logits(model(batch[0], batch[1]), batch[2]),
        score=near_by_logit,
    ),
}

FAULTS = {
    "couples called the other way": fault(
        PAIRS,
        "1 means another kind in the data, and the same kind in the loss",
        f"{UPSIDE_DOWN} swapped_arguments",
        training_step=lambda model, batch: contrast(model, batch, swapped=True),
    ),
    "couples in a column": fault(
        PAIRS,
        "labels (n, 1) against distances (n,)",
        f"target_broadcast {SAME}",
        training_step=lambda model, batch: contrast(model, batch, column=True),
    ),
    "root of a distance to itself": fault(
        HARDEST,
        "sqrt of zero on the diagonal: its gradient is infinite",
        "not_finite",
        training_step=lambda model, batch: hardest(model, batch, root=True),
    ),
    "triplets that fall to a point": fault(HARDEST, "Adam at 0.3 on the hardest pairs", f"{LARGE} {SAME}", options={"lr": 0.3}),
    "mates in reverse": fault(
        ALL,
        "the numbers of the mates are in reverse",
        f"{UNRELATED} misread_logits wrong_sign.views",
        training_step=lambda model, batch: against_all(model, batch, turned=True),
    ),
}
