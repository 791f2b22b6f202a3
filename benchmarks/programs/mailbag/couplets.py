"""Character models: verses letter by letter, and a book in cipher, read stretch after stretch with its state kept."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, OUTSIDE
from programs.program import Data, Loop, Program, but, ending, fault
from programs.unseen.causes import SUMMED, TWICE

LETTERS, LINE = 12, 24


@functools.cache
def verses(train: bool) -> Data:
    """Lines (n, 24) of letters below 12, nine tenths of which follow from the two before, and the letter after each."""
    table = torch.randint(LETTERS, (LETTERS, LETTERS), generator=torch.Generator().manual_seed(9100))
    rng = torch.Generator().manual_seed(9101 if train else 9102)
    n = 1000 if train else 200
    text = [torch.randint(LETTERS, (n,), generator=rng) for _ in range(2)]
    for _ in range(LINE - 1):
        slip = torch.rand(n, generator=rng) < 0.1
        text.append(torch.where(slip, torch.randint(LETTERS, (n,), generator=rng), table[text[-2], text[-1]]))
    lines = torch.stack(text, dim=1)
    return lines[:, :-1].contiguous(), lines[:, 1:].contiguous()


@functools.cache
def book(train: bool) -> Data:
    """Stretches (640, 8) of sixteen enciphered texts in turn, letters below 6, and the same in clear.

    Letters from 6 to 8 are rare; each is a key that holds until the next one, often over several stretches.
    """
    rng = torch.Generator().manual_seed(9103 if train else 9104)
    keys = torch.tensor([[0, 1, 2, 3, 4, 5], [2, 4, 5, 1, 0, 3], [5, 0, 1, 2, 3, 4]])
    said, meant, key = [], [], torch.randint(3, (16,), generator=rng)
    for at in range(320):
        turns = (torch.rand(16, generator=rng) < 0.06) | (at == 0)
        key = torch.where(turns, torch.randint(3, (16,), generator=rng), key)
        letter = torch.randint(6, (16,), generator=rng)
        said.append(torch.where(turns, 6 + key, letter))
        meant.append(torch.where(turns, 6 + key, keys[key, letter]))
    x, y = (torch.stack(part, dim=1).reshape(16, 40, 8).transpose(0, 1).reshape(640, 8) for part in (said, meant))
    return x.contiguous(), y.contiguous()


class Verse(nn.Module):
    """An embedding, a recurrent net and a head."""

    def __init__(self, kind: Callable[..., nn.Module] = nn.LSTM, *, width: int = 48, silent: bool = False) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, 16)
        self.net = kind(16, width, batch_first=True)
        self.head = nn.Linear(width, LETTERS)
        if silent:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, 12)."""
        return self.head(self.net(self.letters(x))[0])


class ByHand(nn.Module):
    """The recurrence of a tutorial: what comes in and the state, side by side into a linear layer."""

    def __init__(self, *, bend: nn.Module, last: nn.Module | None = None) -> None:
        super().__init__()
        self.letters, self.bend = nn.Embedding(LETTERS, 16), bend
        self.state, self.head = nn.Linear(16 + 64, 64), nn.Linear(64, LETTERS)
        self.last = last if last is not None else nn.LogSoftmax(dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to log-probabilities (n, t, 12)."""
        h, said = torch.zeros(len(x), 64), []
        for letter in self.letters(x).unbind(dim=1):
            h = self.bend(self.state(torch.cat([letter, h], dim=1)))
            said.append(self.head(h))
        return self.last(torch.stack(said, dim=1))


class Kept(nn.Module):
    """A GRU whose state, detached, begins the next stretch."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.net, self.head = nn.Embedding(LETTERS, 16), nn.GRU(16, 48, batch_first=True), nn.Linear(48, LETTERS)
        self.h: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(n, 8) to (n, 8, 12)."""
        if self.h is None or self.h.shape[1] != len(x):
            self.h = torch.zeros(1, len(x), 48)
        out, h = self.net(self.letters(x), self.h)
        self.h = h.detach()
        return self.head(out)


def spelled(model: Any, batch: Any) -> Tensor:
    """Cross-entropy, a mean over letters."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def spelled_in_all(model: Any, batch: Any) -> Tensor:
    """Cross-entropy, summed over letters and lines."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), reduction="sum")


def by_line(model: Any, batch: Any) -> Tensor:
    """Cross-entropy, summed over a line's letters: about fifty at first."""
    return spelled_in_all(model, batch) / len(batch[0])


def looked_up(model: Any, batch: Any) -> Tensor:
    """nll_loss of what the model puts out."""
    return F.nll_loss(model(batch[0]).flatten(0, 1), batch[1].flatten())


def letter_score(model: Any, data: Data) -> float:
    """Share of right letters, from that of the most frequent letter to nine tenths."""
    right = float((model(data[0]).argmax(dim=2) == data[1]).float().mean())
    least = float(data[1].flatten().bincount().max()) / data[1].numel()
    return (right - least) / (0.91 - least)


def book_score(model: Any, data: Data) -> float:
    """Share of right letters from that of the most frequent one, read in order."""
    model.h = None
    pages = zip(data[0].split(16), data[1].split(16), strict=True)
    right = torch.cat([(model(x).argmax(dim=2) == y).flatten() for x, y in pages])
    least = float(data[1].flatten().bincount().max()) / data[1].numel()
    return (float(right.float().mean()) - least) / (1 - least)


def clips_behind_the_step(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """clip_grad_norm_ comes after optimizer.step."""
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    return loss


def _but_the_head(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if not name.startswith("head")]


VERSES = Program(
    model=Verse,
    train=lambda: verses(True),
    held_out=lambda: verses(False),
    score=letter_score,
    training_step=spelled,
    options={"lr": 1e-2},
    steps=250,
)
SILENT = but(VERSES, model=lambda: Verse(nn.GRU, silent=True))
SGD = but(VERSES, optimizer=torch.optim.SGD, options={"lr": 8.0}, steps=400)
CLIPPED = but(SGD, model=lambda: Verse(nn.GRU), training_step=spelled_in_all, options={"lr": 4.0}, clip=0.5)
BY_HAND = but(VERSES, model=lambda: ByHand(bend=nn.Tanh()), training_step=looked_up, options={"lr": 5e-3}, steps=250)
BOOK = Program(
    model=Kept,
    train=lambda: book(True),
    held_out=lambda: book(False),
    score=book_score,
    training_step=spelled,
    options={"lr": 5e-3},
    shuffle=False,
    batch=16,
    steps=400,
)

SOUND = {
    "verses by lstm": VERSES,
    "verses by a gru with a silent head": SILENT,
    "verses by sgd at 8": SGD,
    "verses summed by the batch, always clipped": CLIPPED,
    "verses summed by the line": but(
        VERSES, training_step=by_line, optimizer=torch.optim.RMSprop, options={"lr": 3e-3, "momentum": 0.5}
    ),
    "verses by a recurrence of a tutorial": BY_HAND,
    "book read in order": BOOK,
}

FAULTS = {
    "verses summed under sgd": fault(
        SGD, "the loss is summed over 736 letters, at the rate for a mean", f"{SUMMED} {LARGE}", training_step=spelled_in_all
    ),
    "clip behind the step": fault(
        CLIPPED,
        "gradients are clipped after the step that used them",
        f"clip_dropped confirmed_change.step_in_order {LARGE}",
        body=clips_behind_the_step,
        clip=None,
    ),
    "verses behind a softmax": fault(SGD, "softmax in front of cross-entropy", TWICE, model=ending(Verse, nn.Softmax(dim=2))),
    "rate of sgd under adam": fault(SGD, "Adam at SGD's rate of 8", LARGE, optimizer=torch.optim.Adam),
    "silent head forgotten by the optimizer": fault(
        SILENT, "a head of zeros, whose parameters the optimizer does not get", OUTSIDE, trained=_but_the_head
    ),
    "recurrence without a bend": fault(
        BY_HAND, "the state goes from step to step with no tanh", "linear_stack", model=lambda: ByHand(bend=nn.Identity())
    ),
    "probabilities under nll_loss": fault(
        BY_HAND,
        "Softmax in the place of LogSoftmax before nll_loss",
        "loss_below_floor misread_logits wrong_sign capped_loss",
        model=lambda: ByHand(bend=nn.Tanh(), last=nn.Softmax(dim=2)),
    ),
    "book shuffled under a kept state": fault(
        BOOK, "the state is kept and the stretches are shuffled", "batch_leakage random_evaluation", shuffle=True
    ),
}
