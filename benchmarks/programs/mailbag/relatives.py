"""What belongs together: portraits by pairs, by triplets and by angles, and voices to portraits."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED
from programs.program import Data, Program, but, fault
from programs.unseen.causes import UNRELATED
from programs.workshop.forgers import dense

PEOPLE = 12


@functools.cache
def portraits(train: bool) -> Data:
    """Portraits (n, 24) of twelve people, mostly made of light and pose, and whose they are (n,)."""
    rng = torch.Generator().manual_seed(8231)
    looks = torch.randn(PEOPLE, 5, generator=rng)
    mixed = torch.linalg.qr(torch.randn(24, 24, generator=rng))[0][:11]
    rng.manual_seed(8232 if train else 8233)
    n = 1200 if train else 360
    who = torch.randint(PEOPLE, (n,), generator=rng)
    own, light = looks[who] + 0.15 * torch.randn(n, 5, generator=rng), 3 * torch.randn(n, 6, generator=rng)
    return torch.cat([own, light], dim=1) @ mixed + 0.05 * torch.randn(n, 24, generator=rng), who


@functools.cache
def couples(train: bool) -> Data:
    """Pairs of portraits (n, 24) and whether both are of one person, 1.0 or 0.0, half and half."""
    x, who = portraits(train)
    rng = torch.Generator().manual_seed(8234)
    first = torch.randint(len(x), (2000,), generator=rng)
    same = torch.rand(2000, generator=rng) < 0.5
    pools = [(who == k).nonzero()[:, 0] for k in range(PEOPLE)]
    near = torch.stack([pools[k][torch.randint(len(pools[k]), (), generator=rng)] for k in who[first].tolist()])
    far = torch.randint(len(x), (2000,), generator=rng)
    second = torch.where(same, near, far)
    return x[first], x[second], (who[first] == who[second]).float()


def only_near(train: bool) -> Data:
    """The pairs of one person."""
    a, b, same = couples(train)
    return a[same > 0], b[same > 0], same[same > 0]


@functools.cache
def triples(train: bool) -> Data:
    """Portraits (n, 24), others of the same person, and of someone else."""
    a, b, same = couples(train)
    near, far = same > 0, same == 0
    rng = torch.Generator().manual_seed(8235)
    return a[near], b[near], b[far][torch.randint(int(far.sum()), (int(near.sum()),), generator=rng)]


@functools.cache
def speakers(train: bool) -> Data:
    """Voices (n, 16) and portraits (n, 24) of as many people, row by row."""
    rng = torch.Generator().manual_seed(8236)
    heard, seen = torch.randn(6, 16, generator=rng), torch.randn(6, 24, generator=rng)
    rng.manual_seed(8237 if train else 8238)
    n = 1500 if train else 100
    person = torch.randn(n, 6, generator=rng)
    voice = torch.tanh(person @ heard / 2) + 0.05 * torch.randn(n, 16, generator=rng)
    return voice, person @ seen / 2 + 0.05 * torch.randn(n, 24, generator=rng)


class Angles(nn.Module):
    """Directions of portraits, and one for each person, with a margin in the angle.

    Attributes:
        scale: of the cosines.
        floor: of one minus the squared cosine; 0 for none.
    """

    def __init__(self, scale: float = 12.0, floor: float = 1e-6, width: int = 8) -> None:
        super().__init__()
        self.scale, self.floor = scale, floor
        self.body = dense(24, 64, 64, width)
        self.people = nn.Parameter(torch.randn(PEOPLE, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 24) to cosines with the people (n, 12)."""
        return F.normalize(self.body(x), dim=1) @ F.normalize(self.people, dim=1).T

    def loss(self, x: Tensor, who: Tensor) -> Tensor:
        """Cross-entropy with 0.2 added to the angle of the right person."""
        cosine = self(x)
        left = 1 - cosine**2
        sine = (left.clamp_min(self.floor) if self.floor else left).sqrt()
        turned = cosine * 0.9801 - sine * 0.1987
        own = F.one_hot(who, PEOPLE) > 0
        return F.cross_entropy(self.scale * torch.where(own, turned, cosine), who)


class Met(nn.Module):
    """Directions of voices and of portraits, and a scale that is learned as a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.voice, self.portrait = dense(16, 64, 64, 12), dense(24, 64, 64, 12)
        self.scale = nn.Parameter(torch.tensor(1.6))

    def forward(self, voice: Tensor, portrait: Tensor) -> Tensor:
        """(n, 16) and (n, 24) to scaled cosines (n, n)."""
        a, b = F.normalize(self.voice(voice), dim=1), F.normalize(self.portrait(portrait), dim=1)
        return self.scale.exp() * a @ b.T


def contrast(model: Any, batch: Any) -> Tensor:
    """Squared distances of the same, and what others lack to a distance of one."""
    a, b, same = batch
    apart = F.pairwise_distance(model(a), model(b))
    return (same * apart**2 + (1 - same) * F.relu(1 - apart) ** 2).mean()


def thirds(model: Any, batch: Any) -> Tensor:
    """Triplets, by squared distances, with a margin of one half."""
    a, near, far = (model(x) for x in batch)
    return F.relu(((a - near) ** 2).sum(dim=1) - ((a - far) ** 2).sum(dim=1) + 0.5).mean()


def mates(model: Any, batch: Any, *, first: bool = False) -> Tensor:
    """Each voice against all portraits, and the other way round."""
    alike = model(*batch)
    right = torch.zeros(len(alike), dtype=torch.long) if first else torch.arange(len(alike))
    return (F.cross_entropy(alike, right) + F.cross_entropy(alike.T, right)) / 2


def nearest(embed: Any, data: Data) -> float:
    """How often the nearest other portrait is of the same person: 1 for always, 0 for as often as by chance."""
    points, who = embed(data[0]), data[1]
    apart = torch.cdist(points, points) + 1e9 * torch.eye(len(points))
    found = float((who[apart.argmin(dim=1)] == who).float().mean()) if bool(apart.isfinite().all()) else 0.0
    return (found - 1 / PEOPLE) / (1 - 1 / PEOPLE)


def matched(model: Any, data: Data) -> float:
    """How often the right portrait is nearest to a voice, of a hundred."""
    return float((model(*data).argmax(dim=1) == torch.arange(len(data[0]))).float().mean())


def _sorted_voices(train: bool) -> Data:
    voice, portrait = speakers(train)
    return voice[voice[:, 0].argsort()], portrait


COUPLES = Program(
    model=lambda: dense(24, 64, 64, 6),
    train=lambda: couples(True),
    held_out=lambda: portraits(False),
    score=nearest,
    training_step=contrast,
    options={"lr": 2e-3},
    batch=64,
    steps=400,
)
TRIPLES = but(
    COUPLES,
    train=lambda: triples(True),
    training_step=thirds,
    optimizer=torch.optim.RMSprop,
    options={"lr": 1e-3},
)
ANGLES = but(
    COUPLES,
    model=Angles,
    train=lambda: portraits(True),
    training_step=lambda model, batch: model.loss(*batch),
    score=lambda model, data: nearest(lambda x: F.normalize(model.body(x), dim=1), data),
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9},
)
MET = but(
    COUPLES,
    model=Met,
    train=lambda: speakers(True),
    held_out=lambda: speakers(False),
    training_step=mates,
    score=matched,
    optimizer=torch.optim.AdamW,
    options={"lr": 2e-3, "betas": (0.9, 0.98)},
)

SOUND = {
    "portraits by couples": COUPLES,
    "portraits by threes": TRIPLES,
    "portraits by angles": ANGLES,
    "voices and portraits": MET,
}

FAULTS = {
    "couples of one person only": fault(
        COUPLES, "the sampler never draws two people", "class_imbalance constant_as_good", train=lambda: only_near(True)
    ),
    "sine of a full match": fault(
        ANGLES,
        "sqrt(1 - cosine^2) without a floor, two numbers for a portrait",
        "not_finite",
        model=lambda: Angles(floor=0.0, width=2),
    ),
    "every mate is the first": fault(
        MET,
        "labels are zeros in place of arange",
        f"{UNRELATED} misread_logits wrong_sign.views constant_as_good",
        training_step=lambda model, batch: mates(model, batch, first=True),
    ),
    "voices sorted, portraits not": fault(MET, "one of two files was sorted", UNPAIRED, train=lambda: _sorted_voices(True)),
}
