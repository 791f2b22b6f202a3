"""Letters: a decoder-only transformer on batches that are dicts, and an LSTM that carries its state from window to window."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, LOUD, SMALL
from programs.program import Data, Loop, Program, but, fault

SYMBOLS, LENGTH, WIDTH = 27, 32, 32
SENTENCE = "the cat sat on a mat and saw two small red birds eat old bread near our gate while rain fell"
WORDS = SENTENCE.split()


@functools.cache
def lines(train: bool) -> Data:
    """Letters (n, 33), 0 for a blank, of words that follow each other by chance, each of three."""
    rng = torch.Generator().manual_seed(150 if train else 151)
    text, word = [], 0
    while len(text) < (500 if train else 120) * (LENGTH + 1):
        text += [0, *(ord(letter) - 96 for letter in WORDS[word])]
        word = (word * 3 + 1 + int(torch.randint(3, (1,), generator=rng))) % len(WORDS)
    return (torch.tensor(text)[: len(text) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1),)


class Block(nn.Module):
    """Attention to what came before, and a layer of its own."""

    def __init__(self, *, mask: str) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.heads, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.body = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, 32) to the same."""
        n, t, _ = x.shape
        q, k, v = (part.view(n, t, 4, 8).transpose(1, 2) for part in self.heads(self.first(x)).chunk(3, dim=2))
        scores = q @ k.mT / 8**0.5
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        # Zeros and ones that are added hide nothing; -inf does.
        scores = scores + (~later).float() if self.mask == "added" else scores.masked_fill(later, -torch.inf)
        x = x + self.out((scores.softmax(dim=3) @ v).transpose(1, 2).reshape(n, t, WIDTH))
        return x + self.body(self.second(x))


class Decoder(nn.Module):
    """Two blocks; the head is the table of letters, or its own."""

    def __init__(self, *, mask: str = "hidden", tied: bool = True, scale: float = 0.1) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(SYMBOLS, WIDTH), nn.Embedding(LENGTH + 1, WIDTH)
        nn.init.normal_(self.letters.weight, 0.0, scale)
        nn.init.normal_(self.places.weight, 0.0, 0.1)
        self.blocks, self.norm = nn.Sequential(Block(mask=mask), Block(mask=mask)), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, SYMBOLS, bias=False)
        if tied:
            self.head.weight = self.letters.weight

    def forward(self, letters: Tensor) -> Tensor:
        """Letters (n, t) to logits (n, t, 27)."""
        h = self.letters(letters) + self.places(torch.arange(letters.shape[1]))
        return self.head(self.norm(self.blocks(h)))


class Carried(nn.Module):
    """An LSTM of two layers whose state the loop hands on."""

    def __init__(self, *, scale: float | None = None) -> None:
        super().__init__()
        self.letters, self.lstm = nn.Embedding(SYMBOLS, 24), nn.LSTM(24, 48, 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(48, SYMBOLS)
        if scale is not None:
            for parameter in self.lstm.parameters():
                nn.init.normal_(parameter, 0.0, scale)

    def forward(self, letters: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Letters (n, t) and a state to logits (n, t, 27) and the next state."""
        h, state = self.lstm(self.letters(letters), state)
        return self.head(h), state


def named(examples: list[Data]) -> dict[str, Tensor]:
    """A batch as a dict: the letters, and the same as labels."""
    letters = torch.stack([example[0] for example in examples])
    return {"input_ids": letters, "labels": letters.clone()}


def of_dict(*, shift: int = 1, ignored: bool = False):
    """Cross-entropy of the labels, which are shifted here."""

    def step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits, labels = model(batch["input_ids"]), batch["labels"]
        labels = torch.full_like(labels, -100) if ignored else labels
        kept = logits[:, : logits.shape[1] - shift]
        return F.cross_entropy(kept.flatten(0, 1), labels[:, shift:].flatten())

    return step


def windows(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """Truncated backpropagation through time: windows of eight letters, a step for each, the state is carried."""
    return _carries(model, optimizer, batch, loop)


def _carries(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop, *, resets: bool = False) -> Tensor:
    model.train()
    state, losses = None, []
    for start in range(0, LENGTH, 8):
        part = batch[0][:, start : start + 9]
        optimizer.zero_grad()
        logits, state = model(part[:, :-1], state)
        loss = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten())
        loss.backward()
        loop.seen(loss)
        if loop.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
        optimizer.step()
        state = tuple(part.detach() for part in state)
        losses.append(loss.detach())
        if resets:
            for name, parameter in model.named_parameters():
                if name.startswith("lstm.weight"):
                    nn.init.xavier_uniform_(parameter)
    return torch.stack(losses).mean()


def _draws_again(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """reset_parameters is called where the state was to be reset."""
    return _carries(model, optimizer, batch, loop, resets=True)


def foresight(model: nn.Module, data: Data) -> float:
    """How far the loss of the next letter, from those before alone, is from that of frequencies to a quarter of a nat."""
    letters = data[0]
    share = torch.bincount(letters.flatten()).double() / letters.numel()
    chance = float(-torch.special.xlogy(share, share).sum())
    costs = []
    for t in (9, 17, 25):
        output = model(letters[:, :t])
        logits = output[0] if isinstance(output, tuple) else output
        costs.append(float(F.cross_entropy(logits[:, -1], letters[:, t])))
    return (chance - sum(costs) / 3) / (chance - 0.25)


def _smooth(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    logits, labels = model(batch["input_ids"][:, :-1]), batch["labels"][:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.05)


def _no_decay_on_norms(model: nn.Module) -> list[dict[str, Any]]:
    thick = [p for p in model.parameters() if p.dim() >= 2]
    return [{"params": thick, "weight_decay": 0.1}, {"params": [p for p in model.parameters() if p.dim() < 2]}]


def _one_cycle(o: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(o, 6e-3, total_steps=320, pct_start=0.2)


DECODER = Program(
    model=Decoder,
    train=lambda: lines(True),
    held_out=lambda: lines(False),
    score=foresight,
    training_step=of_dict(),
    collate=named,
    optimizer=torch.optim.AdamW,
    options={"lr": 6e-3, "weight_decay": 0.0, "betas": (0.9, 0.95)},
    trained=_no_decay_on_norms,
    scheduler=_one_cycle,
    clip=1.0,
    batch=16,
    steps=300,
)
CARRIED = Program(
    model=Carried,
    train=lambda: lines(True),
    held_out=lambda: lines(False),
    score=foresight,
    training_step=lambda model, batch: F.cross_entropy(model(batch[0][:, :-1])[0].flatten(0, 1), batch[0][:, 1:].flatten()),
    body=windows,
    options={"lr": 0.01},
    clip=1.0,
    batch=24,
    steps=100,
)
TIED = but(DECODER, scheduler=None, options={"lr": 1e-3, "weight_decay": 0.0})
UNTIED = but(DECODER, model=lambda: Decoder(tied=False), trained=lambda model: model.parameters(), options={"lr": 4e-3})
STEADY = but(UNTIED, scheduler=None, options={"lr": 1e-3}, steps=400, clip=None)

SOUND = {
    "letters from dicts": DECODER,
    "letters untied": UNTIED,
    "letters smoothed": but(DECODER, training_step=_smooth),
    "letters with carried state": CARRIED,
    "letters in small steps": STEADY,
}

FAULTS = {
    "mask added as zeros and ones": fault(
        DECODER, "a mask of 0 and 1 is added to the scores", "sees_future", model=lambda: Decoder(mask="added")
    ),
    "labels not shifted inside": fault(
        DECODER, "the labels are the inputs, and the loss does not shift them", "sees_future", training_step=of_dict(shift=0)
    ),
    "every label ignored": fault(
        DECODER,
        "the collator marks each label with -100: the mean over nothing",
        "not_finite",
        training_step=of_dict(ignored=True),
    ),
    "tied table of N(0, 6)": fault(TIED, "a tied table drawn with std 6", LOUD, model=lambda: Decoder(scale=6.0)),
    "letters at rate 3e-8": fault(STEADY, "lr=3e-8 under AdamW", SMALL, options={"lr": 3e-8}),
    "carried state at rate 1.5": fault(CARRIED, "lr=1.5 under Adam", LARGE, options={"lr": 1.5}),
    "lstm drawn with N(0, 3)": fault(
        CARRIED,
        "every parameter of the LSTM is drawn from N(0, 3)",
        f"{LOUD} saturation exploding_gradient",
        model=lambda: Carried(scale=3.0),
    ),
    "weights drawn again in the loop": fault(
        CARRIED, "reset_parameters() in the place of a reset of the state", "weights_redrawn", body=_draws_again
    ),
    "schedule ends in the first batches": fault(
        DECODER,
        "OneCycleLR over 6 epochs, stepped 6 batches, then held at its end",
        "rate_dies lr_schedule",
        scheduler=lambda o: torch.optim.lr_scheduler.PolynomialLR(o, total_iters=6),
    ),
}
