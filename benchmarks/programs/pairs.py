"""Likeness: Siamese, triplet and contrastive nets on the digits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, flat_digits
from programs.nets import mlp
from programs.program import LARGE_STEPS, Program, but, fault


def embedder() -> nn.Module:
    """Rows (n, 64) to points (n, 10)."""
    return mlp(2)


def couples(train: bool) -> Data:
    """Two digits each, and whether they are of one class, half and half."""
    x, labels = flat_digits(train)
    rng = torch.Generator().manual_seed(40 if train else 41)
    n = 1500 if train else 500
    first = torch.randint(len(x), (n,), generator=rng)
    second = torch.randint(len(x), (n,), generator=rng)
    for i in range(0, n, 2):
        mates = (labels == labels[first[i]]).nonzero()[:, 0]
        second[i] = mates[torch.randint(len(mates), (1,), generator=rng)]
    return x[first], x[second], (labels[first] == labels[second]).float()


def triplets(train: bool) -> Data:
    """An anchor, one of its class, one of another."""
    x, labels = flat_digits(train)
    rng = torch.Generator().manual_seed(42 if train else 43)
    anchor = torch.randint(len(x), (1200,), generator=rng)
    like, other = torch.empty_like(anchor), torch.empty_like(anchor)
    for i, a in enumerate(anchor.tolist()):
        for held, mask in ((like, labels == labels[a]), (other, labels != labels[a])):
            mates = mask.nonzero()[:, 0]
            held[i] = mates[torch.randint(len(mates), (1,), generator=rng)]
    return x[anchor], x[like], x[other]


def ranking(model: nn.Module, data: Data) -> float:
    """How surely couples of one class are nearer than others: 1 always, 0 by chance."""
    first, second = model(data[0]), model(data[1])
    gap = (first - second).norm(dim=1)
    same = data[2] > 0.5
    return 2 * float((gap[same][:, None] < gap[~same][None]).float().mean()) - 1


def contrastive(margin: float = 2.0, same: float = 1.0):
    """Contrastive loss of couples; with `same` 0 the two kinds are taken for each other."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        gap = (model(batch[0]) - model(batch[1])).square().sum(dim=1).add(1e-6).sqrt()
        alike = batch[2] if same else 1 - batch[2]
        return (alike * gap.square() + (1 - alike) * F.relu(margin - gap).square()).mean()

    return step


def _root_of_zero(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The same without the small number under the root; an image is now and then compared with itself."""
    gap = (model(batch[0]) - model(batch[1])).square().sum(dim=1).sqrt()
    return (batch[2] * gap.square() + (1 - batch[2]) * F.relu(2.0 - gap).square()).mean()


def _with_itself(train: bool) -> Data:
    first, second, same = couples(train)
    second = second.clone()
    second[::40] = first[::40]
    return first, second, same


def triplet(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Triplet loss with margin 1."""
    return F.triplet_margin_loss(*(model(x) for x in batch), margin=1.0)


def _triplet_turned(model: nn.Module, batch: list[Tensor]) -> Tensor:
    anchor, like, other = (model(x) for x in batch)
    return F.triplet_margin_loss(anchor, other, like, margin=1.0)


def views(temperature: float):
    """InfoNCE between two digits of one class, over the batch."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        first, second = (F.normalize(model(x), dim=1) for x in batch[:2])
        return F.cross_entropy(first @ second.T / temperature, torch.arange(len(first)))

    return step


def _second_detached(model: nn.Sequential, batch: list[Tensor]) -> Tensor:
    """Both towers under no_grad by mistake, with a learned scale alone left."""
    with torch.no_grad():
        first, second = model[0](batch[0]), model[0](batch[1])
    gap = (first - second).square().sum(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(model[1](gap)[:, 0], batch[2])


def _learned_distance(model: nn.Sequential, batch: list[Tensor]) -> Tensor:
    gap = (model[0](batch[0]) - model[0](batch[1])).square().sum(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(model[1](gap)[:, 0], batch[2])


def _like_only(train: bool) -> Data:
    return triplets(train)[:2]


COUPLES = Program(
    model=embedder,
    train=lambda: couples(True),
    held_out=lambda: couples(False),
    score=ranking,
    training_step=contrastive(),
    steps=300,
)
TRIPLETS = but(COUPLES, train=lambda: triplets(True), training_step=triplet)
VIEWS = but(COUPLES, train=lambda: _like_only(True), training_step=views(0.2), batch=64)
DISTANCE = but(
    COUPLES,
    model=lambda: nn.Sequential(mlp(2), nn.Linear(1, 1)),
    training_step=_learned_distance,
    score=lambda model, data: ranking(model[0], data),
    options={"lr": 5e-3},
)

SOUND = {"couples": COUPLES, "triplets": TRIPLETS, "views": VIEWS, "learned distance": DISTANCE}

FAULTS = {
    "kinds taken for each other": fault(
        COUPLES,
        "1 means different in the loss and alike in the data",
        "wrong_sign",
        training_step=contrastive(same=0.0),
    ),
    "root of zero": fault(
        but(COUPLES, train=lambda: _with_itself(True)),
        "sqrt of a distance that is zero",
        "not_finite",
        training_step=_root_of_zero,
    ),
    "triplet turned": fault(TRIPLETS, "positive and negative are exchanged", "wrong_sign", training_step=_triplet_turned),
    "temperature 500": fault(
        VIEWS,
        "temperature 500 in place of 0.2",
        "vanishing_gradient plateau.small_steps capped_loss.temperature",
        training_step=views(500.0),
    ),
    "towers under no_grad": fault(
        DISTANCE,
        "the embedding runs under no_grad",
        "unreached_parameter.detached unmoved_parameter.without_gradient",
        training_step=_second_detached,
    ),
    "couples at rate 2": fault(
        COUPLES,
        "lr=2 under Adam",
        LARGE_STEPS,
        options={"lr": 2.0},
    ),
}
