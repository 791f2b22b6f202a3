"""Tokens: a small language model on a Markov chain, and a classifier of texts."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, chain, reviews
from programs.program import LARGE_STEPS, SMALL_STEPS, Program, accuracy, but, class_score, fault

SYMBOLS, LENGTH, WIDTH = 12, 20, 32


class Language(nn.Module):
    """A transformer of two layers that tells the next token."""

    def __init__(self, *, causal: bool = True, tied: bool = False, places: bool = True, scale: float = 0.02) -> None:
        super().__init__()
        self.tokens = nn.Embedding(SYMBOLS, WIDTH)
        nn.init.normal_(self.tokens.weight, 0.0, scale)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, SYMBOLS, bias=not tied)
        if tied:
            self.head.weight = self.tokens.weight
        self.causal, self.uses_places = causal, places

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t) to logits (n, t, symbols)."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        h = self.tokens(x) + (self.places[: x.shape[1]] if self.uses_places else 0.0)
        return self.head(self.norm(self.blocks(h, mask=mask, is_causal=self.causal)))


class Recurrent(nn.Module):
    """A GRU that tells the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.gru, self.head = (
            nn.Embedding(SYMBOLS, WIDTH),
            nn.GRU(WIDTH, 32, batch_first=True),
            nn.Linear(32, SYMBOLS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t) to logits (n, t, symbols)."""
        return self.head(self.gru(self.tokens(x))[0])


class Reader(nn.Module):
    """Words to a class: looked up and averaged, or with attention."""

    def __init__(self, *, masks_all: bool = False, attends: bool = False, looked_up: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(2000, 24) if looked_up else None
        self.lift = nn.Linear(24, 24)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True) if attends else None
        self.head = nn.Linear(24, 2)
        self.masks_all = masks_all

    def forward(self, x: Tensor) -> Tensor:
        """Words (n, 24) to logits (n, 2)."""
        if self.words is None:
            return self.head(torch.tanh(self.lift(x.float())))
        h = self.words(x)
        if self.attention is not None:
            ignored = (x >= 0) if self.masks_all else (x < 0)
            h = h + self.attention(h, h, h, key_padding_mask=ignored, need_weights=False)[0]
        return self.head(torch.tanh(self.lift(h.mean(dim=1))))


def next_token(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over all positions."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def _viewed(output: Tensor, target: Tensor) -> Tensor:
    """(n, t, c) made (n, c, t) by view in place of a transpose."""
    return F.cross_entropy(output.reshape(len(output), SYMBOLS, -1), target)


def foresight(model: nn.Module, data: Data) -> float:
    """How far the true loss of the next token, from the tokens before alone, is from chance to the entropy of the chain."""
    x, y = data
    share = torch.bincount(y.flatten()).double() / y.numel()
    chance = float(-(share * share.log()).sum())
    loss = sum(float(F.cross_entropy(model(x[:, : t + 1])[:, -1], y[:, t])) for t in (4, 9, 19)) / 3
    return (chance - loss) / (chance - 1.16)


def _unshifted(train: bool) -> Data:
    x, _ = chain(train)
    return x, x


GPT = Program(
    model=Language,
    train=lambda: chain(True),
    held_out=lambda: chain(False),
    score=foresight,
    loss=next_token,
    options={"lr": 3e-3},
    steps=250,
)
READER = Program(
    model=Reader,
    train=lambda: reviews(True),
    held_out=lambda: reviews(False),
    score=class_score,
    loss=F.cross_entropy,
    options={"lr": 0.01},
    metric=accuracy,
)

SOUND = {
    "language model": GPT,
    "language model with tied weights": but(GPT, model=lambda: Language(tied=True)),
    "language model by gru": but(GPT, model=Recurrent, options={"lr": 0.01}),
    "language model clipped at 1": but(GPT, optimizer=torch.optim.AdamW, clip=1.0),
    "reader": READER,
    "reader with attention": but(READER, model=lambda: Reader(attends=True), options={"lr": 3e-3}, steps=400),
}

FAULTS = {
    "no causal mask": fault(GPT, "the mask is not given to the layers", "sees_future", model=lambda: Language(causal=False)),
    "targets not shifted": fault(GPT, "the targets are the inputs", "sees_future", train=lambda: _unshifted(True)),
    "logits viewed for a transpose": fault(
        GPT, "view(n, classes, length) in place of transpose(1, 2)", "misread_logits", loss=_viewed
    ),
    "language model at rate 0.5": fault(
        GPT,
        "lr=0.5 under Adam",
        LARGE_STEPS,
        options={"lr": 0.5},
    ),
    "language model at rate 1e-8": fault(GPT, "lr=1e-8 under Adam", SMALL_STEPS, options={"lr": 1e-8}),
    "tied weights of N(0, 8)": fault(
        but(GPT, model=lambda: Language(tied=True)),
        "the tied embedding starts eight times too large",
        "gain_budget_high loss_at_start activation_scale",
        model=lambda: Language(tied=True, scale=8.0),
    ),
    "every word masked": fault(
        but(READER, model=lambda: Reader(attends=True), options={"lr": 3e-3}, steps=400),
        # In train mode torch 2.13 makes zeros of a row without keys, which reach the projection; in eval mode NaN.
        "the padding mask is inverted: every key is ignored",
        "not_finite untrained_parameter.zero_input",
        model=lambda: Reader(attends=True, masks_all=True),
    ),
    "words as quantities": fault(
        READER, "word numbers go into a linear layer", "numbers_for_words", model=lambda: Reader(looked_up=False)
    ),
    "texts out of step": fault(
        READER,
        "texts shuffled, labels not",
        "shuffled_labels",
        train=lambda: (reviews(True)[0].roll(37, dims=0), reviews(True)[1]),
    ),
}
