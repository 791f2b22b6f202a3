"""Transformers that write: a small GPT, sums, a translation with cross-attention, gaps to be filled in."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, DECAYED, LOUD, OUTSIDE, SMALL
from programs.program import Data, Program, but, fault
from programs.unseen.causes import MISALIGNED, SAME, SUMMED
from programs.workshop.readers import Attention, Block, tags
from programs.workshop.spelling import spelled
from programs.workshop.swells import rng_of


@functools.cache
def refrains(train: bool) -> Data:
    """Songs (n, 18) of four notes below 8 that are repeated, and the note after each, (n, 18)."""
    rng = rng_of(5160 if train else 5161)
    n = 1000 if train else 300
    songs = torch.randint(8, (n, 4), generator=rng).repeat(1, 5)[:, :19]
    return songs[:, :-1].contiguous(), songs[:, 1:].contiguous()


@functools.cache
def sums(train: bool) -> Data:
    """Tokens (n, 5) of a + b = c, digits and 10 for +, 11 for =, and the two digits of the sum, (n, 5), -100 before them."""
    rng = rng_of(5162 if train else 5163)
    n = 1500 if train else 300
    a, b = torch.randint(10, (2, n), generator=rng)
    ten, one = (a + b) // 10, (a + b) % 10
    plus, equals, none = (torch.full((n,), value) for value in (10, 11, -100))
    return torch.stack((a, plus, b, equals, ten), dim=1), torch.stack((none, none, none, ten, one), dim=1)


@functools.cache
def phrases(train: bool) -> Data:
    """Phrases (n, 6) of words from 1 to 12, and their translation, (n, 6): another word for each, neighbours exchanged."""
    rng = rng_of(5164 if train else 5165)
    n = 1500 if train else 300
    x = torch.randint(1, 13, (n, 6), generator=rng)
    book = torch.cat((torch.zeros(1, dtype=torch.long), 1 + torch.randperm(12, generator=rng_of(5166))))
    return x, book[x][:, [1, 0, 3, 2, 5, 4]]


class Gpt(nn.Module):
    """Blocks under a mask; `tied` is the standard deviation of an embedding that is the head, too."""

    def __init__(self, *, words: int = 8, sees: str = "past", tied: float | None = None, **block: Any) -> None:
        super().__init__()
        self.sees = sees
        self.words = nn.Embedding(words, 32)
        self.positions = nn.Parameter(0.1 * torch.randn(20, 32))
        self.blocks = nn.ModuleList(Block(32, **block) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, words, bias=False)
        if tied is not None:
            nn.init.normal_(self.words.weight, std=tied)
            self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, words)."""
        t = x.shape[1]
        every = torch.ones(t, t, dtype=torch.bool)
        mask = {"past": every.tril(), "all": every}[self.sees]
        h = self.words(x) + self.positions[:t]
        for block in self.blocks:
            h = block(h, mask)
        return self.head(self.norm(h))


class Translator(nn.Module):
    """A block reads, a causal block with cross-attention writes."""

    def __init__(self, *, crossed: bool = True) -> None:
        super().__init__()
        self.crossed = crossed
        self.source, self.target = nn.Embedding(13, 32), nn.Embedding(13, 32)
        self.places = nn.Parameter(0.3 * torch.randn(6, 32))
        self.reads, self.writes = Block(32), Block(32)
        self.norm, self.cross = nn.LayerNorm(32), Attention(32)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 13))

    def forward(self, x: Tensor, right: Tensor) -> Tensor:
        """(n, 6) and (n, 6) to (n, 6, 13)."""
        memory = self.reads(self.source(x) + self.places)
        begun = torch.cat((torch.zeros_like(right[:, :1]), right[:, :-1]), dim=1)
        mask = torch.ones(6, 6, dtype=torch.bool).tril()
        h = self.writes(self.target(begun) + self.places, mask)
        normal = self.norm(h)
        return self.head(h + self.cross(normal, memory if self.crossed else normal))


def continues(model: Any, data: Data) -> float:
    """Share of right notes above chance, each told from what is before it alone."""
    right = [(model(data[0][:, :t])[:, -1].argmax(dim=1) == data[1][:, t - 1]).float().mean() for t in (6, 10, 14, 17)]
    return (float(sum(right)) / len(right) - 1 / 8) / (1 - 1 / 8)


def adds(model: Any, data: Data) -> float:
    """Share of right digits of the sum above chance."""
    return spelled(lambda x: model(x)[:, 3:], (data[0], data[1][:, 3:]))


def filled_in(model: Any, data: Data) -> float:
    """Share of right notes at every fifth place, which is a gap, above chance."""
    x = data[0].clone()
    x[:, 2::5] = 8
    return spelled(lambda _: model(x)[:, 2::5], (data[0], data[0][:, 2::5]))


def translated(model: Any, data: Data) -> float:
    """Share of right words above chance, each told after what was told before it."""
    told = torch.zeros_like(data[1])
    for t in range(told.shape[1]):
        told[:, t] = model(data[0], told)[:, t].argmax(dim=1)
    return spelled(lambda _: F.one_hot(told, 13), data)


def translates(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of a batch of named tensors."""
    return F.cross_entropy(model(batch["source"], batch["target"]).flatten(0, 1), batch["target"].flatten())


def gaps(model: Any, batch: Any, *, hidden: bool = True) -> Tensor:
    """Every fourth note or so is hidden, and told."""
    x = batch[0]
    gap = torch.rand(x.shape) < 0.25
    output = model(x.masked_fill(gap, 8) if hidden else x)
    return F.cross_entropy(output[gap], x[gap])


def as_dict(examples: list[Data]) -> dict[str, Tensor]:
    """Phrases of a batch by name."""
    return {"source": torch.stack([e[0] for e in examples]), "target": torch.stack([e[1] for e in examples])}


def noam(optimizer: Any, *, warm: int = 60, factor: float = 1.0) -> Any:
    """Rises for `warm` steps, then falls with the root of the step; the rate is this times that of the optimizer."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: factor * 32**-0.5 * min((step + 1) ** -0.5, (step + 1) * warm**-1.5)
    )


def _skewed(train: bool) -> Data:
    x, y = refrains(train)
    return x[:, :-1].contiguous(), y[:, 1:].contiguous()


def _prompts(train: bool) -> Data:
    x, y = sums(train)
    shifted = torch.cat((x[:, 1:], x[:, :1]), dim=1)
    return x, shifted.where(y == -100, torch.tensor(-100))


GPT = Program(
    model=Gpt,
    train=lambda: refrains(True),
    held_out=lambda: refrains(False),
    score=continues,
    loss=tags,
    optimizer=torch.optim.AdamW,
    options={"lr": 4e-3, "betas": (0.9, 0.95), "weight_decay": 0.1},
    clip=1.0,
    steps=300,
)
TIED = but(GPT, model=lambda: Gpt(tied=0.1))
BY_SGD = but(GPT, optimizer=torch.optim.SGD, options={"lr": 0.3, "momentum": 0.9}, clip=0.5, steps=400)
SUMS = Program(
    model=lambda: Gpt(words=12),
    train=lambda: sums(True),
    held_out=lambda: sums(False),
    score=adds,
    loss=tags,
    options={"lr": 4e-3},
    batch=64,
    steps=300,
)
PHRASES = Program(
    model=Translator,
    train=lambda: phrases(True),
    held_out=lambda: phrases(False),
    score=translated,
    training_step=translates,
    collate=as_dict,
    options={"lr": 0.15, "betas": (0.9, 0.98), "eps": 1e-9},
    scheduler=noam,
    steps=300,
)
FILLED = Program(
    model=lambda: Gpt(words=9, sees="all"),
    train=lambda: refrains(True),
    held_out=lambda: refrains(False),
    score=filled_in,
    training_step=gaps,
    optimizer=torch.optim.NAdam,
    options={"lr": 4e-3},
    clip=1.0,
    batch=64,
    steps=600,
)

SOUND = {
    "refrains": GPT,
    "refrains with tied weights": TIED,
    "refrains with sgd": BY_SGD,
    "sums of two digits": SUMS,
    "phrases in another language": PHRASES,
    "notes filled in": FILLED,
}

FAULTS = {
    "heads merged as they lie": fault(
        GPT,
        "(n, heads, t, d) is reshaped to (n, t, heads * d) without a transpose, which mixes times",
        "sees_future",
        model=lambda: Gpt(merged="reshaped"),
    ),
    "shifted twice": fault(
        GPT, "targets that are shifted already are shifted once more", f"{MISALIGNED} sees_future", train=lambda: _skewed(True)
    ),
    "tied to a loud embedding": fault(
        TIED,
        "the head shares an embedding from N(0, 10²)",
        LOUD,
        model=lambda: Gpt(tied=10.0),
    ),
    "gpt with a decay of 30": fault(
        GPT, "weight_decay=30 under AdamW", DECAYED, options={"lr": 4e-3, "betas": (0.9, 0.95), "weight_decay": 30.0}
    ),
    "summed over tokens": fault(
        BY_SGD,
        "cross-entropy is summed over 576 tokens under SGD, and not clipped",
        f"{SUMMED} not_finite",
        loss=lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), reduction="sum"),
        clip=None,
    ),
    "prompts in place of answers": fault(
        SUMS,
        "-100 stands at the answers, the prompts are told",
        f"{MISALIGNED} {SAME} masked_targets",
        train=lambda: _prompts(True),
    ),
    "writer attends to itself": fault(
        PHRASES,
        "the cross-attention is given the writer's own states as its memory",
        f"{CUT} {OUTSIDE} unreached_parameter blind sees_future",
        model=lambda: Translator(crossed=False),
    ),
    "noam times a rate": fault(
        PHRASES,
        "Noam's schedule, which is a rate itself, on top of lr=1e-4",
        f"{SMALL} lr_schedule",
        options={"lr": 1e-4, "betas": (0.9, 0.98), "eps": 1e-9},
    ),
    "gaps not hidden": fault(
        FILLED,
        "the notes with gaps are made and the whole ones given to the net",
        "sees_future",
        training_step=functools.partial(gaps, hidden=False),
    ),
}
