"""Transformers and decoders as forum threads have them: small GPTs, reversed strings, masked words, padded sentences."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from programs.forum.causes import LEAKS
from programs.held_out.causes import LARGE, LOUD, SMALL
from programs.program import Data, Program, accuracy, but, class_score, fault
from programs.unseen.causes import DIES, SAME, SATURATED, UNRELATED

WHO = ("the baker", "my uncle", "a tired nurse", "every child")
DOES = ("sells", "borrows", "repairs", "hides")
WHAT = ("warm bread", "two clocks", "an old piano", "the blue bicycle")
LETTERS = sorted(set("".join((*WHO, *DOES, *WHAT, " ."))))
BLANK, START, WORDS = 0, 1, 12


@functools.cache
def story(train: bool) -> Data:
    """Letters (n, 32) of made-up sentences, and the same one later."""
    rng = torch.Generator().manual_seed(320 if train else 321)
    n = 1600 if train else 200
    picks = torch.randint(4, (400 if train else 100, 3), generator=rng).tolist()
    text = ". ".join(f"{WHO[a]} {DOES[b]} {WHAT[c]}" for a, b, c in picks)
    codes = torch.tensor([LETTERS.index(letter) for letter in text])
    at = torch.randint(len(codes) - 33, (n, 1), generator=rng) + torch.arange(33)
    return codes[at[:, :-1]], codes[at[:, 1:]]


@functools.cache
def reversals(train: bool) -> Data:
    """Words (n, 6) from 2 to 11, and the same backwards."""
    x = torch.randint(2, WORDS, (2400 if train else 200, 6), generator=torch.Generator().manual_seed(322 if train else 323))
    return x, x.flip(1)


@functools.cache
def leaders(train: bool) -> Data:
    """Words (n, 20) below 40, and which quarter of the vocabulary the first of them is from."""
    x = torch.randint(40, (1600 if train else 400, 20), generator=torch.Generator().manual_seed(324 if train else 325))
    return x, x[:, 0] // 10


@functools.cache
def padded(train: bool) -> Data:
    """Words (n, 24) behind a start token, zeros behind the last, and which of three topics most words are of."""
    rng = torch.Generator().manual_seed(326 if train else 327)
    n = 1200 if train else 400
    label = torch.randint(3, (n,), generator=rng)
    words = torch.where(
        torch.rand(n, 24, generator=rng) < 0.5,
        torch.randint(2, 22, (n, 24), generator=rng) + 20 * label[:, None],
        torch.randint(62, 200, (n, 24), generator=rng),
    )
    words = words * (torch.arange(24) < torch.randint(6, 16, (n, 1), generator=rng))
    words[:, 0] = START
    return words, label


class Writer(nn.Module):
    """Two layers of a causal encoder over letters and a blank, with tied weights."""

    def __init__(self, *, mask: str = "causal", width: int = 40, post: bool = False) -> None:
        super().__init__()
        self.mask = mask
        self.tokens, self.places = nn.Embedding(len(LETTERS) + 1, width), nn.Embedding(64, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=not post)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(LETTERS) + 1, bias=False)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, letters)."""
        t = x.shape[1]
        square = torch.ones(t, t, dtype=torch.bool)
        blocked = {"causal": square.triu(1), "upside down": square.tril(-1), "none": torch.zeros_like(square)}[self.mask]
        return self.head(self.norm(self.body(self.tokens(x) + self.places(torch.arange(t)), mask=blocked)))


class Attention(nn.Module):
    """Causal self-attention by hand, of one head; `over` is the dimension of its softmax."""

    def __init__(self, width: int, over: int) -> None:
        super().__init__()
        self.over = over
        self.key, self.query, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, width) to the same."""
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[2] ** 0.5
        scores = scores.masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), -1e9)
        return self.out(scores.softmax(dim=self.over) @ self.value(x))


class Handmade(nn.Module):
    """A GPT from scratch as a video makes it: two blocks without dropout."""

    def __init__(self, *, over: int = 2, width: int = 40) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(len(LETTERS), width), nn.Embedding(64, width)
        self.attention = nn.ModuleList(Attention(width, over) for _ in range(2))
        self.think = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, letters)."""
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        for attention, norm, think in zip(self.attention, self.norms, self.think, strict=True):
            h = h + attention(norm(h))
            h = h + think(h)
        return self.head(h)


class Reverser(nn.Module):
    """nn.Transformer over (source, target so far)."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(8, width)
        self.net = nn.Transformer(width, 4, 1, 1, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(width, WORDS)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """(n, s), (n, t) to (n, t, words)."""
        a, b = (self.words(x) + self.places(torch.arange(x.shape[1])) for x in (source, target))
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        memory = self.net.encoder(a)
        return self.out(self.net.decoder(b, memory, tgt_mask=mask))


class Leader(nn.Module):
    """An encoder over words with the tutorial's sines, added by place or, as for (time, n), by number in the batch."""

    def __init__(self, *, by: int = 1, first: bool = True, width: int = 32) -> None:
        super().__init__()
        self.by = by
        self.words = nn.Embedding(40, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=first)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 4)
        angle = torch.arange(512)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("sines", torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20) to (n, 4)."""
        sines = self.get_buffer("sines")[: x.shape[self.by]]
        return self.out(self.body(self.words(x) + (sines if self.by else sines[:, None])).mean(dim=1))


class Topics(nn.Module):
    """An encoder whose first token answers, with a mask of the padding."""

    def __init__(self, *, keeps: bool = False, width: int = 32) -> None:
        super().__init__()
        self.keeps = keeps
        self.words = nn.Embedding(200, width, padding_idx=BLANK)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 24) to (n, 3)."""
        ignored = x != BLANK if self.keeps else x == BLANK
        return self.out(self.body(self.words(x), src_key_padding_mask=ignored)[:, 0])


class Speller(nn.Module):
    """A GRU language model with tied weights."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(LETTERS), width)
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t) to (n, t, letters)."""
        return self.gru(self.tokens(x))[0] @ self.tokens.weight.T


def letters_loss(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of all places."""
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def next_letter(model: Any, data: Data) -> float:
    """Accuracy for the letter behind beginnings of four lengths, which are all the model sees; 0 for the commonest."""
    right = torch.cat([model(data[0][:, :t])[:, -1].argmax(dim=1) == data[1][:, t - 1] for t in (8, 16, 24, 32)])
    commonest = float(data[1].flatten().bincount().max()) / data[1].numel()
    return (float(right.float().mean()) - commonest) / (1 - commonest)


def reverses(model: Any, batch: Any, *, shifts: bool = True) -> Tensor:
    """Teacher forcing: the decoder is fed the start and the target but for its last word."""
    source, target = batch
    shifted = F.pad(target[:, :-1], (1, 0), value=START)
    return letters_loss(model(source, shifted if shifts else target), target)


def decoded(model: Any, data: Data) -> float:
    """Share of right words where each is decoded after the model's own, from a tenth for a constant."""
    so_far = torch.full((len(data[0]), 1), START)
    for _ in range(data[1].shape[1]):
        so_far = torch.cat([so_far, model(data[0], so_far)[:, -1:].argmax(dim=2)], dim=1)
    return (float((so_far[:, 1:] == data[1]).float().mean()) - 0.1) / 0.9


def masked_words(model: Any, batch: Any) -> Tensor:
    """A quarter of the letters is blanked by noise, and only those count."""
    x = batch[0]
    hidden = torch.rand(x.shape) < 0.25
    return F.cross_entropy(
        model(torch.where(hidden, len(LETTERS), x)).transpose(1, 2), torch.where(hidden, x, torch.full_like(x, -100))
    )


def restored(model: Any, data: Data) -> float:
    """Accuracy for the seventeenth letter when it is blanked, 0 for the commonest."""
    x = data[0].clone()
    x[:, 16] = len(LETTERS)
    commonest = float(data[0].flatten().bincount().max()) / data[0].numel()
    return (float((model(x)[:, 16].argmax(dim=1) == data[0][:, 16]).float().mean()) - commonest) / (1 - commonest)


def _shifted_twice(train: bool) -> Data:
    x, y = story(train)
    return x[:, :-1], y[:, 1:]


def _columns(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.t().flatten())


def _wide() -> Writer:
    model = Writer()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter)
    return model


def _warm(optimizer: Any, steps: int) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / steps))


STORY = Program(
    model=Writer,
    train=lambda: story(True),
    held_out=lambda: story(False),
    score=next_letter,
    loss=letters_loss,
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3},
    clip=1.0,
    steps=200,
)
HANDMADE = but(STORY, model=Handmade, clip=None)
REVERSED = Program(
    model=Reverser,
    train=lambda: reversals(True),
    held_out=lambda: reversals(False),
    score=decoded,
    training_step=reverses,
    options={"lr": 3e-3},
    batch=64,
    steps=300,
)
LEADER = Program(
    model=Leader,
    train=lambda: leaders(True),
    held_out=lambda: leaders(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    steps=250,
)
TOPICS = but(LEADER, model=Topics, train=lambda: padded(True), held_out=lambda: padded(False))

SOUND = {
    "gpt of letters": STORY,
    "gpt by hand": HANDMADE,
    "gpt of letters with post-norm and warmup": but(
        STORY, model=lambda: Writer(post=True), scheduler=lambda o: _warm(o, 50), steps=250
    ),
    "spelling gru with tied weights": but(STORY, model=Speller, options={"lr": 5e-3}),
    "reversed words": REVERSED,
    "first word decides": LEADER,
    "topics of padded sentences": TOPICS,
    "blanked letters": but(
        STORY, model=lambda: Writer(mask="none"), loss=None, training_step=masked_words, score=restored, steps=300
    ),
}

FAULTS = {
    "letters unshifted": fault(
        STORY,
        "inputs are their own targets",
        "sees_future loss_below_floor",
        train=lambda: (story(True)[0], story(True)[0]),
        validation=lambda: (story(False)[0], story(False)[0]),
    ),
    "letters shifted twice": fault(
        STORY,
        "the data set shifts the targets, and the collate function shifts them again",
        f"sees_future.twice {UNRELATED}",
        train=lambda: _shifted_twice(True),
        validation=lambda: _shifted_twice(False),
    ),
    "causal mask upside down": fault(
        STORY, "tril in place of triu: what came before is blocked", "sees_future", model=lambda: Writer(mask="upside down")
    ),
    "targets transposed before flatten": fault(
        STORY, "target.t().flatten() against logits of the batch first", f"misread_logits {UNRELATED}", loss=_columns
    ),
    "gpt drawn from N(0, 1)": fault(
        STORY, "normal_ without a std over all matrices, with tied weights", f"{LOUD} {SATURATED}", model=_wide
    ),
    "warmup of a million steps": fault(
        STORY, "warmup for a run of a million steps", f"{SMALL} {DIES}", scheduler=lambda o: _warm(o, 1_000_000)
    ),
    "softmax of scores over the batch": fault(
        HANDMADE, "softmax(dim=0) in the attention by hand", LEAKS, model=lambda: Handmade(over=0)
    ),
    "softmax of scores over the queries": fault(
        HANDMADE, "softmax(dim=1) in the attention by hand", "sees_future misread_logits", model=lambda: Handmade(over=1)
    ),
    "gpt by hand at 0.3": fault(HANDMADE, "lr=0.3 for 3e-3", LARGE, options={"lr": 0.3}),
    "decoder fed its target": fault(
        REVERSED,
        "teacher forcing without the shift",
        "sees_future",
        training_step=lambda model, batch: reverses(model, batch, shifts=False),
    ),
    "sines by number in the batch": fault(
        LEADER,
        "the tutorial's encoding for (time, n) on a batch that comes first",
        LEAKS,
        model=lambda: Leader(by=0),
    ),
    "encoder layers without batch_first": fault(
        LEADER, "batch_first is forgotten, attention runs over the batch", LEAKS, model=lambda: Leader(first=False)
    ),
    "padding mask upside down": fault(
        TOPICS,
        "True for words, not for padding: words are ignored",
        f"blind {SAME}",
        model=lambda: Topics(keeps=True),
    ),
}
