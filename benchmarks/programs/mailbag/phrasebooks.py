"""Attention that looks things up: numbers in a directory, and phrases of one language in another."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LARGE
from programs.program import Data, Program, but, class_score, fault
from programs.unseen.causes import MISALIGNED

NAMES, ENTRIES = 24, 6
SYMBOLS, LENGTH = 16, 6


@functools.cache
def directory(train: bool, least: int = 2) -> Data:
    """Directories (n, 14): up to six pairs of a name from 1 to 24 and a number from 25 to 32, a zero, the name asked for.

    Empty entries are zeros; at least `least` are not. The answer (n,) is the number from 0 to 7 beside the name.
    """
    rng = torch.Generator().manual_seed(9500 if train else 9501)
    n = 2000 if train else 400
    names = 1 + torch.rand(n, NAMES, generator=rng).argsort(dim=1)[:, :ENTRIES]
    numbers = torch.randint(8, (n, ENTRIES), generator=rng)
    filled = torch.randint(least, ENTRIES + 1, (n,), generator=rng)
    asked = (torch.rand(n, generator=rng) * filled).long()
    pairs = torch.stack([names, 25 + numbers], dim=2) * (torch.arange(ENTRIES) < filled[:, None])[:, :, None]
    rows = torch.arange(n)
    question = torch.stack([torch.zeros(n, dtype=torch.long), names[rows, asked]], dim=1)
    return torch.cat([pairs.flatten(1), question], dim=1), numbers[rows, asked]


@functools.cache
def phrases(train: bool) -> Data:
    """Phrases (n, 6) of symbols from 1 to 15, and the same in a language with other symbols and each pair exchanged."""
    rng = torch.Generator().manual_seed(9502 if train else 9503)
    x = torch.randint(1, SYMBOLS, (1600 if train else 300, LENGTH), generator=rng)
    other = torch.cat([torch.zeros(1), 1 + torch.randperm(SYMBOLS - 1, generator=torch.Generator().manual_seed(9504))]).long()
    return x, other[x.view(-1, LENGTH // 2, 2).flip(2).flatten(1)]


class LooksUp(nn.Module):
    """A question, the entries by name, and attention over them.

    Attributes:
        of: "entries", "questions" or "nothing": what the mask of empty ones hides.
        dim: of the softmax over scores (n, 1, entries).
    """

    def __init__(self, *, of: str = "entries", dim: int = 2, half: bool = False) -> None:
        super().__init__()
        self.names, self.numbers = nn.Embedding(NAMES + 1, 32), nn.Embedding(33, 32)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.out = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 8))
        self.of, self.dim, self.halved = of, dim, half

    def forward(self, x: Tensor) -> Tensor:
        """(n, 14) to (n, 8)."""
        pairs = x[:, :-2].view(len(x), -1, 2)
        question, named = self.names(x[:, -1:]), self.names(pairs[:, :, 0])
        scores = self.query(question) @ self.key(named).mT / 32**0.5
        empty = pairs[:, None, :, 0] == 0
        if self.halved:
            scores = (scores.half() + empty * torch.tensor(-1e10).half()).float()
        elif self.of == "entries":
            scores = scores.masked_fill(empty, -torch.inf)
        elif self.of == "questions":
            scores = scores.masked_fill(empty.any(dim=2, keepdim=True), -torch.inf)
        found = scores.softmax(dim=self.dim) @ self.value(self.numbers(pairs[:, :, 1]))
        return self.out(found[:, 0])


class Phrasebook(nn.Module):
    """nn.Transformer of one layer on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(SYMBOLS, 32), nn.Embedding(SYMBOLS, 32)
        self.places = nn.Parameter(0.5 * torch.randn(LENGTH, 32))
        self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(32, SYMBOLS)

    def forward(self, x: Tensor, written: Tensor) -> Tensor:
        """(n, 6) and (n, t) to (n, t, 16)."""
        mask = nn.Transformer.generate_square_subsequent_mask(written.shape[1])
        h = self.target(written) + self.places[: written.shape[1]]
        return self.out(self.body(self.source(x) + self.places, h, tgt_mask=mask))


def begun(y: Tensor) -> Tensor:
    """Symbol 0, and what is written but for the last."""
    return F.pad(y[:, :-1], (1, 0))


def translated(model: Any, batch: Any, *, smooth: float = 0.0, shift: int = 0) -> Tensor:
    """Cross-entropy of each symbol by those before it."""
    logits = model(batch[0], begun(batch[1]))[:, : LENGTH - shift]
    return F.cross_entropy(logits.flatten(0, 1), batch[1][:, shift:].flatten(), label_smoothing=smooth)


def translation_score(model: Any, data: Data) -> float:
    """Share of right symbols where the model writes by itself."""
    written = torch.zeros(len(data[0]), 1, dtype=torch.long)
    for _ in range(LENGTH):
        written = torch.cat([written, model(data[0], written)[:, -1].argmax(dim=1, keepdim=True)], dim=1)
    right = float((written[:, 1:] == data[1]).float().mean())
    return (right - 1 / (SYMBOLS - 1)) / (1 - 1 / (SYMBOLS - 1))


def noam(warm: int) -> Any:
    """The schedule whose factor is the rate: it grows with the step, and falls with the root."""

    def made(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 32**-0.5 * min((step + 1) ** -0.5, (step + 1) * warm**-1.5)
        )

    return made


def _one_is_empty() -> Data:
    x, y = directory(True)
    rows = torch.rand(len(x), generator=torch.Generator().manual_seed(9505)) < 0.01
    return x.masked_fill(rows[:, None] & (torch.arange(x.shape[1]) < x.shape[1] - 2), 0), y


DIRECTORY = Program(
    model=LooksUp,
    train=lambda: directory(True),
    held_out=lambda: directory(False),
    score=class_score,
    loss=F.cross_entropy,
    options={"lr": 5e-3},
    steps=400,
)
FULL = but(
    DIRECTORY,
    model=lambda: LooksUp(of="nothing"),
    train=lambda: directory(True, ENTRIES),
    held_out=lambda: directory(False, ENTRIES),
    optimizer=torch.optim.Adamax,
    options={"lr": 2e-2},
)
PHRASES = Program(
    model=Phrasebook,
    train=lambda: phrases(True),
    held_out=lambda: phrases(False),
    score=translation_score,
    training_step=translated,
    options={"lr": 3e-3},
    steps=300,
)
NOAM = but(
    PHRASES,
    options={"lr": 1.0, "betas": (0.9, 0.98), "eps": 1e-9},
    scheduler=noam(400),
    steps=400,
)

SOUND = {
    "numbers in a directory": DIRECTORY,
    "numbers in a full directory by adamax": FULL,
    "phrasebook": PHRASES,
    "phrasebook by noam, a rate of one": NOAM,
    "phrasebook smoothed by a third": but(
        PHRASES, training_step=lambda model, batch: translated(model, batch, smooth=0.33), optimizer=torch.optim.RAdam
    ),
}

FAULTS = {
    "softmax over one question": fault(
        FULL,
        "softmax over the dimension of the question, which is one: each weight is 1",
        f"blind flat_derivative {CUT}",
        model=lambda: LooksUp(of="nothing", dim=1),
    ),
    "questions hidden for empty entries": fault(
        DIRECTORY,
        "the mask hides all keys of a question whose directory has an empty entry",
        "not_finite",
        model=lambda: LooksUp(of="questions"),
    ),
    "directory without an entry": fault(
        DIRECTORY, "in one directory of a hundred all entries are empty and all are hidden", "not_finite", train=_one_is_empty
    ),
    "ten thousand million in half precision": fault(
        DIRECTORY, "-1e10 times a mask of zeros and ones, in half precision", "not_finite", model=lambda: LooksUp(half=True)
    ),
    "noam's rate without its schedule": fault(NOAM, "the rate of a Noam recipe, 1, and no schedule", LARGE, scheduler=None),
    "phrasebook shifted twice": fault(
        PHRASES,
        "the decoder's input is shifted, and the loss shifts logits and labels again",
        f"sees_future.twice {MISALIGNED}",
        training_step=lambda model, batch: translated(model, batch, shift=1),
    ),
}
