"""Recurrent nets over letters: a language model, digits backwards, names of four languages, counts, depths of brackets."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import CUT, LARGE, LOUD, OUTSIDE
from programs.program import Data, Program, but, class_score, explained, fault
from programs.unseen.causes import FROZEN, MISALIGNED, SAME
from programs.workshop.rollouts import tag_score
from programs.workshop.swells import rng_of


@functools.cache
def prose(train: bool) -> Data:
    """Stretches (n, 28) of a text of fourteen made-up words, letters below 16, and the letter that follows each, (n, 28)."""
    rng = rng_of(5120)
    words = [
        [first, *torch.randint(1, 16, (int(size),), generator=rng).tolist(), 0] for first, size in enumerate([3, 4] * 7, 1)
    ]
    drawn = torch.randint(14, (8000,), generator=rng_of(5121 if train else 5122))
    text = torch.tensor([letter for word in drawn.tolist() for letter in words[word]])
    n = 800 if train else 200
    stretches = text[: n * 29].view(n, 29)
    return stretches[:, :-1].contiguous(), stretches[:, 1:].contiguous()


@functools.cache
def digits(train: bool) -> Data:
    """Strings (n, 5) of digits from 1 to 7, and the same backwards."""
    x = torch.randint(1, 8, (3000 if train else 300, 5), generator=rng_of(5123 if train else 5124))
    return x, x.flip(1)


@functools.cache
def names(train: bool) -> Data:
    """Names (n, 14) of letters from 1 to 26, zeros behind them, and the language that their last two tell, (n,)."""
    rng = rng_of(5125 if train else 5126)
    n = 1200 if train else 400
    label = torch.randint(4, (n,), generator=rng)
    length = torch.randint(4, 13, (n,), generator=rng)
    x = torch.randint(1, 27, (n, 14), generator=rng)
    ends = torch.tensor([[1, 15], [5, 15], [1, 14], [5, 14]])
    rows = torch.arange(n)
    x[rows, length - 2], x[rows, length - 1] = ends[label, 0], ends[label, 1]
    return x * (torch.arange(14) < length[:, None]), label


@functools.cache
def vowels(train: bool) -> Data:
    """Strings (n, 20) of ten letters and how many of them are 2 or 7, (n,)."""
    rng = rng_of(5127 if train else 5128)
    n = 800 if train else 300
    share = torch.rand(n, 1, generator=rng) * 0.5
    vowel = torch.rand(n, 20, generator=rng) < share
    other = torch.tensor([0, 1, 3, 4, 5, 6, 8, 9])[torch.randint(8, (n, 20), generator=rng)]
    either = torch.tensor([2, 7])[torch.randint(2, (n, 20), generator=rng)]
    return torch.where(vowel, either, other), vowel.sum(dim=1).float()


@functools.cache
def brackets(train: bool) -> Data:
    """Strings (n, 18) of three brackets, three closings and 0 as padding, and the depth after each, -100 at padding."""
    rng = rng_of(5129 if train else 5130)
    n = 800 if train else 300
    depth, x, y = torch.zeros(n, dtype=torch.long), [], []
    for _ in range(18):
        opens = ((torch.rand(n, generator=rng) < 0.55) | (depth == 0)) & (depth < 4)
        depth = depth + 2 * opens.long() - 1
        x.append(torch.randint(1, 4, (n,), generator=rng) + 3 * (~opens).long())
        y.append(depth)
    pad = torch.arange(18) >= torch.randint(9, 19, (n, 1), generator=rng)
    return torch.stack(x, dim=1).masked_fill(pad, 0), torch.stack(y, dim=1).masked_fill(pad, -100)


class Speller(nn.Module):
    """A character model whose last layer shares its weights with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(16, 32)
        nn.init.normal_(self.letters.weight, std=0.1)
        self.lstm, self.out = nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 16)
        self.out.weight = self.letters.weight

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, 16)."""
        return self.out(self.lstm(self.letters(x))[0])


class Backwards(nn.Module):
    """A GRU reads, another writes; in training it is fed the right letters, later its own."""

    def __init__(self, *, handed: bool = True) -> None:
        super().__init__()
        self.handed = handed
        self.reads, self.writes = nn.Embedding(8, 24), nn.Embedding(8, 24)
        self.encoder, self.decoder = nn.GRU(24, 64, batch_first=True), nn.GRU(24, 64, batch_first=True)
        self.out = nn.Linear(64, 8)

    def forward(self, x: Tensor, right: Tensor | None = None) -> Tensor:
        """(n, 5) to (n, 5, 8)."""
        h = self.encoder(self.reads(x))[1]
        if not self.handed:
            h = torch.zeros_like(h)
        letter = torch.zeros_like(x[:, :1])
        if right is not None:
            return self.out(self.decoder(self.writes(torch.cat((letter, right[:, :-1]), dim=1)), h)[0])
        outputs = []
        for _ in range(x.shape[1]):
            out, h = self.decoder(self.writes(letter), h)
            outputs.append(self.out(out))
            letter = outputs[-1].argmax(dim=2)
        return torch.cat(outputs, dim=1)


class Names(nn.Module):
    """An embedding, a packed GRU and a head on its last state."""

    def __init__(self, embedding: nn.Embedding | None = None) -> None:
        super().__init__()
        self.embedding = embedding if embedding is not None else nn.Embedding(28, 16, padding_idx=0)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 4))

    def forward(self, letters: Tensor, lengths: Tensor) -> Tensor:
        """(n, 14) and (n,) to (n, 4)."""
        packed: Any = pack_padded_sequence(self.embedding(letters), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.gru(packed)[1][0])


class Exp(nn.Module):
    """The exponential."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.exp()


class Counter(nn.Module):
    """One-hot letters, an RNN and the log of a count."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.rnn = nn.GRU(10, 16, batch_first=True)
        self.out = nn.Sequential(nn.Linear(16, 1), nn.Flatten(0), *last)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20) to (n,)."""
        return self.out(self.rnn(F.one_hot(x, 10).float())[1][0])


class Depths(nn.Module):
    """A minimal gated unit of one's own, stepped over the letters."""

    def __init__(self, *, drop: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 16)
        self.gate_of, self.new_of = nn.Linear(48, 32), nn.Linear(48, 32)
        self.drop, self.out = nn.Dropout(drop), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 18) to (n, 18, 5)."""
        letters, h, outputs = self.embedding(x), torch.zeros(len(x), 32), []
        for t in range(x.shape[1]):
            z = torch.sigmoid(self.gate_of(torch.cat((letters[:, t], h), dim=1)))
            new = torch.tanh(self.new_of(torch.cat((letters[:, t], z * h), dim=1)))
            h = self.drop((1 - z) * h + z * new)
            outputs.append(self.out(h))
        return torch.stack(outputs, dim=1)


def by_letter(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each letter."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def spelled(model: Any, data: Data) -> float:
    """Share of right letters above that of always the most common one."""
    right, most = float((model(data[0]).argmax(dim=2) == data[1]).float().mean()), float(data[1].flatten().bincount().max())
    most /= data[1].numel()
    return (right - most) / (1 - most)


def teaches(model: Any, batch: Any) -> Tensor:
    """The loss of a writer that is fed the right letters."""
    return by_letter(model(batch[0], batch[1]), batch[1])


def together(examples: list[Data], *, order: str = "kept", side: str = "behind", counts: str = "letters") -> dict[str, Tensor]:
    """Names of a batch, the longest first, with their lengths and languages."""
    letters, language = torch.stack([e[0] for e in examples]), torch.stack([e[1] for e in examples])
    lengths = (letters > 0).sum(dim=1)
    longest = lengths.argsort(descending=True)
    letters, lengths = letters[longest], lengths[longest]
    if order == "kept":
        language = language[longest]
    if side == "before":
        letters = torch.stack([name.roll(14 - int(size)) for name, size in zip(letters, lengths, strict=True)])
    if counts == "lists":
        lengths = torch.tensor([len([name]) for name in letters])
    return {"letters": letters, "lengths": lengths, "language": language}


def unknown(examples: list[Data]) -> dict[str, Tensor]:
    """Names whose letters are looked up as capitals, of which the vocabulary has none."""
    batch = together(examples)
    return batch | {"letters": (batch["letters"] > 0) * 27}


def named(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the language."""
    return F.cross_entropy(model(batch["letters"], batch["lengths"]), batch["language"])


def names_score(model: Any, data: Data) -> float:
    """Mean accuracy over languages."""
    return class_score(lambda x: model(x, (x > 0).sum(dim=1)), data)


PROSE = Program(
    model=Speller,
    train=lambda: prose(True),
    held_out=lambda: prose(False),
    score=spelled,
    loss=by_letter,
    optimizer=torch.optim.RMSprop,
    options={"lr": 4e-3},
    clip=0.5,
    steps=250,
)
DIGITS = Program(
    model=Backwards,
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    score=spelled,
    training_step=teaches,
    options={"lr": 5e-3},
    batch=64,
    steps=350,
)
NAMES = Program(
    model=Names,
    train=lambda: names(True),
    held_out=lambda: names(False),
    score=names_score,
    training_step=named,
    collate=together,
    optimizer=torch.optim.Adamax,
    options={"lr": 1e-2},
    steps=200,
)
COUNTER = Program(
    model=Counter,
    train=lambda: vowels(True),
    held_out=lambda: vowels(False),
    score=lambda model, data: explained(lambda x: model(x).exp(), data),
    loss=F.poisson_nll_loss,
    options={"lr": 1e-2},
    batch=16,
    steps=250,
)
DEPTHS = Program(
    model=Depths,
    train=lambda: brackets(True),
    held_out=lambda: brackets(False),
    score=tag_score,
    loss=lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), label_smoothing=0.1),
    optimizer=torch.optim.AdamW,
    options={"lr": 1e-2},
    steps=250,
)

SOUND = {
    "made-up words": PROSE,
    "digits backwards": DIGITS,
    "names in packs": NAMES,
    "names of random frozen letters": but(
        NAMES, model=lambda: Names(nn.Embedding.from_pretrained(torch.randn(28, 16), freeze=True)), options={"lr": 2e-2}
    ),
    "vowels by poisson": COUNTER,
    "depths of brackets": DEPTHS,
}

FAULTS = {
    "next letter not shifted": fault(
        PROSE, "inputs are also the targets", "sees_future", train=lambda: (prose(True)[0], prose(True)[0])
    ),
    "targets time first": fault(
        PROSE,
        "targets are flattened in the order (t, n), outputs in the order (n, t)",
        MISALIGNED,
        loss=lambda o, y: F.cross_entropy(o.flatten(0, 1), y.t().flatten()),
    ),
    "writer never told": fault(
        DIGITS,
        "the decoder starts from zeros, the encoder's state is lost",
        f"{CUT} {OUTSIDE} unreached_parameter blind {SAME}",
        model=lambda: Backwards(handed=False),
    ),
    "two optimizers' worth of encoder": fault(
        DIGITS,
        "encoder.parameters() is written where decoder.parameters() is meant, too",
        OUTSIDE,
        trained=lambda model: [*model.reads.parameters(), *model.encoder.parameters()],
    ),
    "sorted names, unsorted languages": fault(
        NAMES,
        "the collate function sorts letters and lengths by length, not the languages",
        UNPAIRED,
        collate=functools.partial(together, order="lost"),
    ),
    "padded before, packed behind": fault(
        NAMES,
        "zeros stand before the names, so that packing keeps the zeros and cuts the ends of names",
        f"blind ignored_end constant_input {SAME}",
        collate=functools.partial(together, side="before"),
    ),
    "names one letter long": fault(
        NAMES,
        "len() of a list with the name in it: all lengths are 1",
        f"blind ignored_end {SAME}",
        collate=functools.partial(together, counts="lists"),
    ),
    "letters all unknown": fault(
        NAMES, "capitals are looked up in a vocabulary of small letters", f"constant_input blind {SAME}", collate=unknown
    ),
    "letters all zeros": fault(
        NAMES,
        "no pretrained vector is found, all stay zero, and they are frozen",
        f"constant_input blind constant_output {SAME} {FROZEN}",
        model=lambda: Names(nn.Embedding.from_pretrained(torch.zeros(28, 16), freeze=True)),
    ),
    "exp of exp": fault(
        COUNTER,
        "the net ends in exp and the loss takes it for a logarithm",
        f"{LOUD} {LARGE} not_finite softmax_twice",
        model=lambda: Counter(Exp()),
        score=lambda model, data: explained(model, data),
    ),
    "state dropped at every step": fault(
        DEPTHS,
        "dropout of 0.6 over the state in each step of the loop over time",
        "heavy_dropout confirmed_change.dropout_off",
        model=lambda: Depths(drop=0.6),
    ),
}
