"""What a customer takes next, from what was taken: factors of implicit feedback, two towers, sparse gradients."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import DECAYED, LARGE, LOUD, SMALL, STALE
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import ALIKE, SAME, SATURATED, UNRELATED, UPSIDE_DOWN

USERS, ITEMS, TASTES = 240, 120, 5


@functools.cache
def taken() -> tuple[Tensor, Tensor]:
    """Which of 120 items each of 240 users took (240, 120), and which one of them is kept back (240,)."""
    rng = torch.Generator().manual_seed(260)
    user, item = torch.randint(0, TASTES, (USERS,), generator=rng), torch.arange(ITEMS) % TASTES
    liked = 5.0 * (user[:, None] == item[None]) + 0.4 * torch.randn(ITEMS, generator=rng)[None]
    took = torch.zeros(USERS, ITEMS, dtype=torch.bool)
    took.scatter_(1, torch.multinomial(liked.exp(), 16, generator=rng), True)
    kept = torch.multinomial(took.float(), 1, generator=rng)[:, 0]
    return took, kept


@functools.cache
def triples(train: bool) -> Data:
    """Users (n,), an item that each took (n,), and one not taken (n,); held out: users and the item kept back."""
    took, kept = taken()
    if not train:
        return torch.arange(USERS), kept
    seen = took.clone()
    seen[torch.arange(USERS), kept] = False
    pairs = seen.nonzero()
    never = torch.multinomial((~took[pairs[:, 0]]).float(), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    return pairs[:, 0], pairs[:, 1], never


class Factors(nn.Module):
    """A vector per user and item, and a bias per item."""

    def __init__(self, width: int = 12, *, std: float = 0.1, sparse: bool = False) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, width, sparse=sparse), nn.Embedding(ITEMS, width, sparse=sparse)
        self.bias = nn.Embedding(ITEMS, 1, sparse=sparse)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, 0.0, std)
        nn.init.zeros_(self.bias.weight)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores of pairs, (n,)."""
        return (self.user(user) * self.item(item)).sum(dim=-1) + self.bias(item).squeeze(-1)

    def all(self, user: Tensor) -> Tensor:
        """Scores (n, 120)."""
        return self.user(user) @ self.item.weight.T + self.bias.weight[:, 0]


class Towers(nn.Module):
    """A tower of two layers over either table, unit vectors, and a learned temperature."""

    def __init__(self, *, scale: float = 8.0) -> None:
        super().__init__()
        self.user = nn.Sequential(nn.Embedding(USERS, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.item = nn.Sequential(nn.Embedding(ITEMS, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    def both(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores of every user beside every item, (n, m)."""
        a, b = F.normalize(self.user(user), dim=1), F.normalize(self.item(item), dim=1)
        return self.log_scale.exp() * a @ b.T

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores (n, n)."""
        return self.both(user, item)

    def all(self, user: Tensor) -> Tensor:
        """Scores (n, 120)."""
        return self.both(user, torch.arange(ITEMS))


def ranked(model: Any, batch: list[Tensor], *, sign: float = 1.0) -> Tensor:
    """Bayesian personalised ranking: what was taken above what was not."""
    user, item, other = batch
    return -F.logsigmoid(sign * (model(user, item) - model(user, other))).mean()


def told_apart(model: Any, batch: list[Tensor]) -> Tensor:
    """Cross-entropy of taken and not taken."""
    user, item, other = batch
    scores = torch.cat([model(user, item), model(user, other)])
    return F.binary_cross_entropy_with_logits(scores, torch.cat([torch.ones(len(user)), torch.zeros(len(user))]))


def squared(model: Any, batch: list[Tensor], *, lost_axis: bool = False) -> Tensor:
    """Squared error of scores: 1 for taken, 0 for not taken."""
    user, item, other = batch
    scores = torch.cat([model(user, item), model(user, other)])
    target = torch.cat([torch.ones(len(user)), torch.zeros(len(user))])
    return F.mse_loss(scores[:, None] if lost_axis else scores, target)


def in_batch(model: Any, batch: list[Tensor]) -> Tensor:
    """Softmax over the items of the batch."""
    scores = model(batch[0], batch[1])
    return F.cross_entropy(scores, torch.arange(len(scores)))


def place(model: Any, data: Data) -> float:
    """Where the item kept back stands among those not taken: 1 first, 0 in the middle."""
    scores, (took, _) = model.all(data[0]), taken()
    own = scores.gather(1, data[1][:, None])
    below = ((own > scores).float() + 0.5 * (own == scores).float())[~took].mean()
    return 2 * float(below) - 1 if bool(scores.isfinite().all()) else float("nan")


def _any_item() -> Data:
    """Users and items are shuffled apart."""
    user, item, other = triples(True)
    return user, item[torch.randperm(len(item), generator=torch.Generator().manual_seed(2))], other


def _both_optimizers(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Step before backward, in a loop written anew."""
    model.train()
    loss = loop.loss_of(model, batch)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    loop.seen(loss)
    return loss


FACTORS = Program(
    model=Factors,
    train=lambda: triples(True),
    held_out=lambda: triples(False),
    score=place,
    training_step=ranked,
    optimizer=torch.optim.Adam,
    options={"lr": 0.02},
    batch=128,
    steps=400,
)
SPARSE = but(FACTORS, model=lambda: Factors(sparse=True), optimizer=torch.optim.SparseAdam, training_step=told_apart)
GRADUAL = but(FACTORS, optimizer=torch.optim.SGD, options={"lr": 8.0, "momentum": 0.0}, training_step=ranked, steps=600)
SQUARES = but(FACTORS, training_step=squared, options={"lr": 0.01})
TOWERS = but(FACTORS, model=Towers, training_step=in_batch, optimizer=torch.optim.AdamW, options={"lr": 5e-3})

SOUND = {
    "baskets": FACTORS,
    "baskets with sparse gradients": SPARSE,
    "baskets at a rate of eight": GRADUAL,
    "baskets by squares": SQUARES,
    "baskets by two towers": TOWERS,
}

FAULTS = {
    "tables of zeros": fault(
        FACTORS,
        "both tables begin at 0, so that neither moves",
        f"{ALIKE} zero_gradient untrained_parameter.zero_gradient",
        model=lambda: Factors(std=0.0),
    ),
    "taken below not taken": fault(
        FACTORS,
        "the difference is the wrong way round",
        UPSIDE_DOWN,
        training_step=lambda model, batch: ranked(model, batch, sign=-1.0),
    ),
    "customers shuffled apart from items": fault(FACTORS, "one column is shuffled alone", UNRELATED, train=_any_item),
    "taken for certain": fault(FACTORS, "tables are drawn from N(0, 9)", f"{SATURATED} {LOUD}", model=lambda: Factors(std=3.0)),
    "a temperature of a thousandth": fault(
        TOWERS, "similarities are divided by 0.0005", f"{SATURATED} {LARGE} loss_at_start", model=lambda: Towers(scale=2000.0)
    ),
    "rate for a mean over pairs": fault(
        GRADUAL, "the usual rate, 0.01, where each vector is met rarely", SMALL, options={"lr": 0.01}
    ),
    "decay in every step for every vector": fault(
        FACTORS,
        "Adam's decay of 0.1 goes on for vectors that no batch meets",
        DECAYED,
        options={"lr": 0.02, "weight_decay": 0.1},
    ),
    "step before backward": fault(
        FACTORS,
        "zero_grad and step stand before backward",
        f"zero_gradient untrained_parameter unmoved_parameter never_steps confirmed_change.step_in_order {STALE}",
        body=_both_optimizers,
    ),
    "scores beside every target": fault(
        SQUARES,
        "scores (n, 1) beside targets (n,)",
        f"target_broadcast {SAME} confirmed_change.target_shape",
        training_step=lambda model, batch: squared(model, batch, lost_axis=True),
    ),
}
