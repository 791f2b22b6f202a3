"""Small transformers that tell what comes next or what is hidden: digits put in order, and melodies with gaps."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import DECAYED, QUIET
from programs.program import Data, Program, but, drawn, fault
from programs.unseen.causes import UNRELATED

DIGITS, COUNT = 5, 5
TONES, BARS, GAP = 13, 14, 13


@functools.cache
def heaps(train: bool) -> Data:
    """Five digits below 5 and the same in order but for the last, (n, 9), and what comes next; -100 up to the fifth."""
    rng = torch.Generator().manual_seed(9600 if train else 9601)
    x = torch.randint(DIGITS, (3000 if train else 300, COUNT), generator=rng)
    whole = torch.cat([x, x.sort(dim=1).values], dim=1)
    return whole[:, :-1].contiguous(), whole[:, 1:].masked_fill(torch.arange(2 * COUNT - 1) < COUNT - 1, -100)


@functools.cache
def melodies(train: bool) -> Data:
    """Melodies (n, 14) of tones below 13 that climb by one step throughout, and whether the second half goes on, (n,)."""
    rng = torch.Generator().manual_seed(9602 if train else 9603)
    n = 1500 if train else 300
    start, step = (torch.randint(low, high, (n, 2, 1), generator=rng) for low, high in ((0, TONES), (1, 5)))
    goes_on = torch.randint(2, (n,), generator=rng)
    first, other = ((start[:, i] + step[:, i] * torch.arange(BARS)) % TONES for i in range(2))
    half = torch.arange(BARS) >= BARS // 2
    return torch.where(half & (goes_on == 0)[:, None], other, first), goes_on


class Teller(nn.Module):
    """A GPT with learned places; `norm_first` as GPT-2 has it."""

    def __init__(self, *, silent: bool = False, cap: float | None = None, std: float | None = None) -> None:
        super().__init__()
        self.digits, self.places = nn.Embedding(DIGITS, 48), nn.Embedding(2 * COUNT, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(48), enable_nested_tensor=False)
        self.out, self.cap = nn.Linear(48, DIGITS, bias=False), cap
        if silent:
            nn.init.zeros_(self.out.weight)
        if std is not None:
            nn.init.normal_(self.out.weight, 0.0, std)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 9) to (n, 5, 9)."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        h = self.body(self.digits(x) + self.places(torch.arange(x.shape[1])), mask=mask, is_causal=True)
        logits = self.out(h)
        return (logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)).mT


class Gaps(nn.Module):
    """A small BERT with two heads: the tones in gaps, and whether the second half goes on."""

    def __init__(self, *, placed: bool = True) -> None:
        super().__init__()
        self.tones, self.places, self.placed = nn.Embedding(TONES + 1, 48), nn.Embedding(BARS, 48), placed
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, activation="gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.tone, self.on = nn.Linear(48, TONES + 1), nn.Linear(48, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 14) to logits (n, 14, 14) of tones at each place, and (n, 2)."""
        at = torch.arange(BARS) if self.placed else torch.zeros(BARS, dtype=torch.long)
        h = self.body(self.tones(x) + self.places(at))
        return self.tone(h), self.on(h.mean(dim=1))


def gaps_of(x: Tensor, share: float = 0.2) -> Tensor:
    """Where tones are hidden, drawn anew each time."""
    return torch.rand(x.shape) < share


def filled_in(model: Any, batch: Any, *, share: float = 0.2, ignored: int = -100, cloned: bool = True) -> Tensor:
    """The tones in gaps, and whether the second half goes on."""
    gaps, x = gaps_of(batch[0], share), batch[0].clone()
    labels = x.clone() if cloned else x
    x[gaps] = GAP
    tones, on = model(x)
    criterion = nn.CrossEntropyLoss(ignore_index=ignored)
    told = criterion(tones[gaps], labels[gaps])
    return told + criterion(on, batch[1])


def only_told(model: Any, batch: Any) -> Tensor:
    """The tones in gaps alone."""
    gaps = gaps_of(batch[0])
    return F.cross_entropy(model(batch[0].masked_fill(gaps, GAP))[0][gaps], batch[0][gaps])


def sorted_score(model: Any, data: Data) -> float:
    """Share of right digits in the ordered half, from that of the most frequent one at each place."""
    right = (model(data[0]).argmax(dim=1) == data[1])[:, COUNT - 1 :].float().mean()
    least = F.one_hot(data[1][:, COUNT - 1 :], DIGITS).float().mean(dim=0).amax(dim=1).mean()
    return float((right - least) / (1 - least))


def gap_score(model: Any, data: Data) -> float:
    """Share of right tones where one tone is hidden at a time."""
    right = []
    for place in (2, 4, 9, 11):
        x = data[0].clone()
        x[:, place] = GAP
        right.append(model(x)[0][:, place].argmax(dim=1) == data[0][:, place])
    return (float(torch.cat(right).float().mean()) - 1 / TONES) / (1 - 1 / TONES)


def both_score(model: Any, data: Data) -> float:
    """The lesser of how well gaps are filled in and halves are told."""
    answers = model(data[0])[1].argmax(dim=1)
    told = sum(float((answers[data[1] == c] == c).float().mean()) for c in (0, 1)) - 1
    return min(gap_score(model, data), told)


def small(module: nn.Module) -> None:
    """Matrices and embeddings from N(0, 0.02), biases from zero, as BERT has it."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def small_throughout(module: nn.Module) -> None:
    """Each parameter from N(0, 0.02), the norms' weights too."""
    for parameter in module.parameters(recurse=False):
        nn.init.normal_(parameter, 0.0, 0.02)


def _mostly_one() -> Data:
    x, y = heaps(True)
    rows = torch.arange(len(x))
    rows[torch.rand(len(x), generator=torch.Generator().manual_seed(9604)) < 0.985] = 5
    return x[rows], y[rows]


HEAPS = Program(
    model=Teller,
    train=lambda: heaps(True),
    held_out=lambda: heaps(False),
    score=sorted_score,
    loss=F.cross_entropy,
    optimizer=torch.optim.AdamW,
    options={"lr": 2e-3, "weight_decay": 0.1},
    clip=1.0,
    steps=350,
)
CAPPED = but(HEAPS, model=lambda: Teller(silent=True, cap=15.0), options={"lr": 2e-3})
MELODIES = Program(
    model=Gaps,
    train=lambda: melodies(True),
    held_out=lambda: melodies(False),
    score=both_score,
    training_step=filled_in,
    options={"lr": 2e-3},
    steps=400,
)
TOLD = but(MELODIES, model=drawn(Gaps, small), training_step=only_told, score=gap_score)

SOUND = {
    "heaps put in order": HEAPS,
    "heaps with capped logits": CAPPED,
    "heaps from a loud head": but(HEAPS, model=lambda: Teller(std=3.0)),
    "melodies with gaps": MELODIES,
    "melodies from small weights": TOLD,
    "melodies by adafactor": but(TOLD, optimizer=torch.optim.Adafactor, options={"lr": 2e-2}),
}

FAULTS = {
    "l2 for decoupled decay": fault(
        HEAPS, "weight_decay=0.1 in Adam, where it is a part of the gradient", DECAYED, optimizer=torch.optim.Adam
    ),
    "one heap scraped again and again": fault(
        HEAPS,
        "most rows are copies of one",
        "class_imbalance repeated_batch repeated_draws split_size overfit",
        train=_mostly_one,
    ),
    "labels hidden with their inputs": fault(
        MELODIES,
        "labels = inputs without clone, then gaps are written into both",
        f"masked_targets class_imbalance constant_as_good {UNRELATED}",
        training_step=lambda model, batch: filled_in(model, batch, cloned=False),
    ),
    "one criterion that ignores zero": fault(
        MELODIES,
        "ignore_index=0 is meant for padding and ignores one class of the second head",
        "class_imbalance masked_targets",
        training_step=lambda model, batch: filled_in(model, batch, ignored=0),
    ),
    "batches without a gap": fault(
        MELODIES,
        "gaps are so rare that a batch has none: the mean over nothing",
        "not_finite masked_targets",
        training_step=lambda model, batch: filled_in(model, batch, share=0.01),
        batch=16,
    ),
    "norms drawn as weights": fault(
        TOLD,
        "all parameters from N(0, 0.02), the norms' among them",
        f"vanishing_gradient {QUIET}",
        model=drawn(Gaps, small_throughout),
    ),
    "every place is the first": fault(
        MELODIES, "position_ids are zeros", "blind constant_input unreached_parameter", model=lambda: Gaps(placed=False)
    ),
}
