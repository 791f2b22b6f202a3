"""Tables with words in them: shops and days, users and films, baskets of tags, and a house's many small facts."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED, UNREACHABLE
from programs.held_out.causes import CUT, DECAYED, SMALL
from programs.program import Data, Program, but, explained, fault
from programs.unseen.causes import ALIKE, FROZEN, UNSCALED

SHOPS, DAYS, GOODS, USERS, FILMS, TAGS = 30, 7, 60, 80, 60, 50


@functools.cache
def sales(train: bool) -> Data:
    """Shop, weekday and good (n, 3), price and weather (n, 2), and sales (n, 1), of mean 0."""
    rng = torch.Generator().manual_seed(7600)
    shop, day, good = (torch.randn(k, 3, generator=rng) for k in (SHOPS, DAYS, GOODS))
    rng.manual_seed(7601 if train else 7602)
    n = 3000 if train else 600
    words = torch.stack([torch.randint(k, (n,), generator=rng) for k in (SHOPS, DAYS, GOODS)], dim=1)
    x = torch.randn(n, 2, generator=rng)
    y = shop[words[:, 0], 0] + day[words[:, 1], 0] * x[:, 1] + good[words[:, 2], 0] - 0.6 * x[:, 0]
    return words, x, (y / 1.9 + 0.1 * torch.randn(n, generator=rng))[:, None]


@functools.cache
def ratings(train: bool) -> Data:
    """User and film (n, 2), and stars (n,) from 1 to 5, which are two tastes' product."""
    rng = torch.Generator().manual_seed(7603)
    user, film = torch.randn(USERS, 2, generator=rng), torch.randn(FILMS, 2, generator=rng)
    liked = 0.5 * torch.randn(FILMS, generator=rng)
    rng.manual_seed(7604 if train else 7605)
    n = 4000 if train else 600
    who, what = torch.randint(USERS, (n,), generator=rng), torch.randint(FILMS, (n,), generator=rng)
    score = (user[who] * film[what]).sum(dim=1) + liked[what] + 0.2 * torch.randn(n, generator=rng)
    return torch.stack([who, what], dim=1), (3.4 + 0.9 * score).round().clamp(1, 5)


@functools.cache
def clicks(train: bool) -> Data:
    """Tags of a page (n, 8), 0 for none, hour and age (n, 2), and whether there was a click, (n, 1): a sixth."""
    rng = torch.Generator().manual_seed(7606)
    worth = 1.2 * torch.randn(TAGS, generator=rng)
    worth[0] = 0
    rng.manual_seed(7607 if train else 7608)
    n = 3000 if train else 800
    tags = torch.randint(TAGS, (n, 8), generator=rng) * (torch.arange(8) < torch.randint(2, 9, (n, 1), generator=rng))
    x = torch.randn(n, 2, generator=rng)
    return tags, x, (worth[tags].sum(dim=1) + x[:, 0] - x[:, 1].abs() > 1.8).float()[:, None]


class Signs(torch.optim.Optimizer):
    """The sign of a mean of gradients, a small step whatever their size."""

    def __init__(self, params: Any, lr: float, beta: float = 0.9, decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["decay"]).sub_(group["lr"] * (0.5 * mean + 0.5 * p.grad).sign())
                mean.lerp_(p.grad, 1 - group["beta"])


class Ledger(nn.Module):
    """Embeddings of words beside numbers, and a net on both."""

    def __init__(self, *, sparse: bool = False, numbers: bool = False) -> None:
        super().__init__()
        self.words = nn.ModuleList(nn.Embedding(k, 6, sparse=sparse) for k in (SHOPS, DAYS, GOODS))
        self.numbers = numbers
        self.net = nn.Sequential(nn.Linear(5 if numbers else 20, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, words: Tensor, x: Tensor) -> Tensor:
        """(n, 3) and (n, 2) to (n, 1)."""
        if self.numbers:
            return self.net(torch.cat([words.float(), x], dim=1))
        return self.net(torch.cat([*(word(words[:, i]) for i, word in enumerate(self.words)), x], dim=1))


class Attending(nn.Module):
    """Every column is a token; each sees the others once, with the norm behind."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(SHOPS + DAYS + GOODS, 16)
        self.numbers = nn.Linear(2, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.last = nn.Linear(64, 1)

    def forward(self, words: Tensor, x: Tensor) -> Tensor:
        """(n, 3) and (n, 2) to (n, 1)."""
        tokens = self.words(words + torch.tensor([0, SHOPS, SHOPS + DAYS]))
        return self.last(self.block(torch.cat([tokens, self.numbers(x)[:, None]], dim=1)).flatten(1))


class Tastes(nn.Module):
    """The product of a user's and a film's vector, and a bias of each."""

    def __init__(self, std: float | None = 0.3, bounded: bool = False) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, 5), nn.Embedding(FILMS, 5)
        self.harsh, self.liked, self.mean = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1), nn.Parameter(torch.tensor(3.0))
        for one in (self.user, self.film):
            nn.init.zeros_(one.weight) if std is None else nn.init.normal_(one.weight, 0.0, std)
        for one in (self.harsh, self.liked):
            nn.init.zeros_(one.weight)
        self.bounded = bounded

    def forward(self, both: Tensor) -> Tensor:
        """(n, 2) to (n,)."""
        who, what = both[:, 0], both[:, 1]
        made = (self.user(who) * self.film(what)).sum(dim=1) + self.harsh(who)[:, 0] + self.liked(what)[:, 0] + self.mean
        return torch.sigmoid(made) if self.bounded else made


class Bag(nn.Module):
    """The sum of a page's tags, wide and deep."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.EmbeddingBag(TAGS, 12, mode="sum", padding_idx=0)
        self.wide = nn.EmbeddingBag(TAGS, 1, mode="sum", padding_idx=0)
        self.net = nn.Sequential(nn.Linear(14, 32), nn.PReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, tags: Tensor, x: Tensor) -> Tensor:
        """(n, 8) and (n, 2) to logits (n, 1)."""
        deep, wide = self.deep(tags), self.wide(tags)
        return self.net(torch.cat([deep, x], dim=1)) + wide


def squares(model: Any, batch: Any) -> Tensor:
    """The mean square of sales."""
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


def clicked(model: Any, batch: Any) -> Tensor:
    """Cross-entropy of clicks."""
    return F.binary_cross_entropy_with_logits(model(batch[0], batch[1]), batch[2])


def sold(model: Any, data: Data) -> float:
    """Share of the variance of sales that is explained."""
    return explained(lambda _: model(data[0], data[1]), (data[0], data[2]))


def told_apart(model: Any, data: Data) -> float:
    """How much more often than not a page with a click is above one without."""
    made, there = model(data[0], data[1])[:, 0], data[2][:, 0] > 0
    return float(torch.sign(made[there][:, None] - made[~there][None]).mean())


def _unknown_weather(train: bool) -> Data:
    words, x, y = sales(train)
    gone = torch.rand(len(x), generator=torch.Generator().manual_seed(7609)) < 0.1
    return words, torch.stack([x[:, 0], torch.where(gone, -9999.0, x[:, 1])], dim=1), y


def _sorted_keys(train: bool) -> Data:
    words, x, y = sales(train)
    return words[words[:, 0].argsort(stable=True)], x[words[:, 0].argsort(stable=True)], y


SALES = Program(
    model=Ledger,
    train=lambda: sales(True),
    held_out=lambda: sales(False),
    score=sold,
    training_step=squares,
    optimizer=torch.optim.Adam,
    options={"lr": 5e-3},
    batch=64,
    steps=400,
)
SPARSE = but(SALES, model=lambda: Ledger(sparse=True), optimizer=torch.optim.SGD, options={"lr": 0.2}, steps=600)
TASTES = Program(
    model=Tastes,
    train=lambda: ratings(True),
    held_out=lambda: ratings(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 1e-2, "weight_decay": 1e-4},
    batch=128,
    steps=500,
)
BAG = but(
    SALES,
    model=Bag,
    train=lambda: clicks(True),
    held_out=lambda: clicks(False),
    training_step=clicked,
    score=told_apart,
    optimizer=torch.optim.AdamW,
    options={"lr": 1e-2, "weight_decay": 0.01},
)

SOUND = {
    "sales with embeddings": SALES,
    "sales with sparse gradients": SPARSE,
    "sales through attention over columns": but(SALES, model=Attending, options={"lr": 3e-3}, batch=32),
    "sales by signs of the gradient": but(SALES, optimizer=Signs, options={"lr": 2e-3, "decay": 0.1}),
    "stars of films by tastes": TASTES,
    "clicks of tagged pages": BAG,
}

FAULTS = {
    "shops as numbers": fault(
        SALES,
        "the numbers of shop, day and good are cast to float",
        f"numbers_for_words {UNSCALED}",
        model=lambda: Ledger(numbers=True),
    ),
    "unknown weather is -9999": fault(
        SALES,
        "a missing value is coded as -9999 and not taken out",
        UNSCALED,
        train=lambda: _unknown_weather(True),
        held_out=lambda: _unknown_weather(False),
    ),
    "keys sorted, sales not": fault(
        SALES, "the keys are sorted by shop, the sales are not", UNPAIRED, train=lambda: _sorted_keys(True)
    ),
    "rate of adam for rare rows": fault(SPARSE, "SGD at 1e-4 for rows that are seen now and then", SMALL, options={"lr": 1e-4}),
    "tastes from zero": fault(
        TASTES, "both vectors of a product start at zero", f"{ALIKE} {CUT} {FROZEN}", model=lambda: Tastes(None)
    ),
    "tastes under decay": fault(TASTES, "weight_decay=0.3 of embeddings", DECAYED, options={"lr": 1e-2, "weight_decay": 0.3}),
    "stars behind sigmoid": fault(
        TASTES,
        "outputs from 0 to 1 for 1 to 5 stars",
        f"{UNREACHABLE} target_scale saturation",
        model=lambda: Tastes(bounded=True),
    ),
}
