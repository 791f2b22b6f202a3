"""Topics of headlines: packed recurrent nets, averages of words, and small encoders in the manner of BERT."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import LARGE, SMALL
from programs.program import Data, Loop, Program, accuracy, but, class_score, fault
from programs.unseen.causes import DIES, SAME, SORTED

WORDS, LONGEST = 400, 20


@functools.cache
def headlines(train: bool) -> Data:
    """Words (n, 20) below 400, zeros behind the last, and one of four topics, (n,).

    Words up to 40 belong to a topic each, ten to one; they stand in the second half, and one in four of them misleads.
    """
    rng = torch.Generator().manual_seed(9300 if train else 9301)
    n = 1200 if train else 400
    topic, length = torch.randint(4, (n, 1), generator=rng), torch.randint(11, LONGEST + 1, (n, 1), generator=rng)
    words = torch.randint(41, WORDS, (n, LONGEST), generator=rng)
    of = torch.where(torch.rand(n, LONGEST, generator=rng) < 0.75, topic, torch.randint(4, (n, LONGEST), generator=rng))
    telling = 1 + 10 * of + torch.randint(10, (n, LONGEST), generator=rng)
    at = torch.arange(LONGEST)
    late = (at >= length // 2) & (torch.rand(n, LONGEST, generator=rng) < 0.6)
    return torch.where(late, telling, words) * (at < length), topic[:, 0]


@functools.cache
def order(train: bool) -> Data:
    """Words (n, 10) below 40 and whether the second of the two words below 6 is larger than the first."""
    rng = torch.Generator().manual_seed(9302 if train else 9303)
    n = 5000 if train else 400
    words = torch.randint(6, 40, (n, 10), generator=rng)
    places = torch.rand(n, 10, generator=rng).argsort(dim=1)[:, :2].sort(dim=1).values
    pair = torch.rand(n, 6, generator=rng).argsort(dim=1)[:, :2]
    return words.scatter(1, places, pair), (pair[:, 1] > pair[:, 0]).long()


class Packed(nn.Module):
    """An embedding, a packed LSTM, and a linear layer on what it ends with."""

    def __init__(self, ends: str = "state") -> None:
        super().__init__()
        self.words, self.ends = nn.Embedding(WORDS, 24, padding_idx=0), ends
        self.lstm, self.drop, self.out = nn.LSTM(24, 32, batch_first=True), nn.Dropout(0.3), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20) to (n, 4)."""
        lengths = (x > 0).sum(dim=1)
        if self.ends == "sorted":
            lengths, rows = lengths.sort(descending=True)
            x = x[rows]
        packed: Any = pack_padded_sequence(self.words(x), lengths, batch_first=True, enforce_sorted=False)
        out, (h, _) = self.lstm(packed)
        end = pad_packed_sequence(out, batch_first=True)[0][:, -1] if self.ends == "column" else h[-1]
        return self.out(self.drop(end))


class Bag(nn.Module):
    """The average of the words' vectors, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.EmbeddingBag(WORDS, 32, mode="mean", padding_idx=0), nn.Linear(32, 4)
        nn.init.uniform_(self.words.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20) to (n, 4)."""
        return self.out(self.words(x))


class Encoder(nn.Module):
    """Post-norm layers over words and their places; a first vector is read at the end. `shared` uses one layer throughout."""

    def __init__(self, layers: int = 2, *, shared: bool = False, drop: float = 0.1) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(40, 32), nn.Embedding(11, 32)
        self.first, self.times = nn.Parameter(torch.zeros(1, 1, 32)), layers if shared else 1
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=drop, activation="gelu", batch_first=True)
        self.body = layer if shared else nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 10) to (n, 2)."""
        h = torch.cat([self.first.expand(len(x), 1, 32), self.words(x)], dim=1) + self.places(torch.arange(11))
        for _ in range(self.times):
            h = self.body(h)
        return self.out(h[:, 0])


def up_and_down(steps: int, warm: int) -> Any:
    """A linear warm-up and a linear way down to zero."""

    def made(optimizer: Any) -> Any:
        def factor(step: int) -> float:
            return (step + 1) / warm if step < warm else max(0.0, (steps - step) / (steps - warm))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    return made


def schedules_only(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """`if scheduler: scheduler.step()`, `else: optimizer.step()`: there is one."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    return loss


def _cut(train: bool) -> Data:
    x, y = headlines(train)
    return x[:, :5].contiguous(), y


def _numbered_anew() -> Data:
    x, y = headlines(False)
    numbers = torch.cat([torch.zeros(1), 1 + torch.randperm(WORDS - 1, generator=torch.Generator().manual_seed(9304))]).long()
    return numbers[x], y


def _one_topic_after_the_other() -> Data:
    x, y = headlines(True)
    rows = y.argsort(stable=True)
    return x[rows], y[rows]


PACKED = Program(
    model=Packed,
    train=lambda: headlines(True),
    held_out=lambda: headlines(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    options={"lr": 5e-3},
    steps=240,
)
BAG = but(PACKED, model=Bag, optimizer=torch.optim.SGD, options={"lr": 5.0}, batch=16, steps=400)
ENCODER = but(
    PACKED,
    model=Encoder,
    train=lambda: order(True),
    held_out=lambda: order(False),
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3},
    scheduler=up_and_down(400, 40),
    steps=400,
)
SHARED = but(ENCODER, model=lambda: Encoder(4, shared=True, drop=0.0), options={"lr": 2e-3}, clip=1.0)
DEEP = but(ENCODER, model=lambda: Encoder(6, drop=0.0), options={"lr": 2e-3}, scheduler=up_and_down(400, 100))

SOUND = {
    "headlines in packs": PACKED,
    "headlines by their average, sgd at 5": BAG,
    "order of two words": ENCODER,
    "order by one layer four times": SHARED,
    "order by six layers and a warm-up": DEEP,
}

FAULTS = {
    "last column of what was packed": fault(
        PACKED,
        "out[:, -1] of a padded output: zeros but for the longest",
        f"blind ignored_end {SAME}",
        model=lambda: Packed("column"),
    ),
    "headlines left sorted by length": fault(
        PACKED, "forward sorts by length and does not undo it", f"batch_leakage {UNPAIRED}", model=lambda: Packed("sorted")
    ),
    "headlines cut to five words": fault(
        PACKED,
        "max_length is five words, what tells comes later",
        f"constant_input {UNPAIRED}",
        train=lambda: _cut(True),
        held_out=lambda: _cut(False),
    ),
    "words numbered anew for the test": fault(
        PACKED, "the test set has a vocabulary of its own", "split_shift evaluation_path", held_out=_numbered_anew
    ),
    "one topic after the other": fault(
        BAG, "rows are sorted by topic and the loader does not shuffle", SORTED, train=_one_topic_after_the_other, shuffle=False
    ),
    "rate of adam for an average of words": fault(BAG, "SGD at 1e-3", SMALL, options={"lr": 1e-3}),
    "encoder under sgd": fault(ENCODER, "SGD at 1e-3", SMALL, optimizer=torch.optim.SGD, options={"lr": 1e-3}),
    "schedule of eight steps": fault(ENCODER, "num_training_steps is the number of epochs", DIES, scheduler=up_and_down(8, 1)),
    "scheduler in the place of the optimizer": fault(
        ENCODER, "scheduler.step() stands where optimizer.step() did", "never_steps", body=schedules_only
    ),
    "six layers at 0.01 at once": fault(
        DEEP, "six post-norm layers, lr=0.01 and no warm-up", LARGE, options={"lr": 1e-2}, scheduler=None
    ),
}
