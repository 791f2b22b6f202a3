"""Short texts with negation into two classes: packed recurrent nets, convolutions over words, attention over padding."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from programs.held_out.causes import CLIPPED, SMALL
from programs.program import Data, Loop, Program, but, class_score, fault, usual

WORDS, LENGTH, WIDTH = 60, 14, 24


@functools.cache
def texts(train: bool) -> Data:
    """Words (n, 14) below 60, padded with 0; lengths (n,); and the class, which a "not" (3) before 1 or 2 turns round."""
    rng = torch.Generator().manual_seed(140 if train else 141)
    n = 1600 if train else 400
    words = torch.randint(4, WORDS, (n, LENGTH), generator=rng)
    length = torch.randint(6, LENGTH + 1, (n,), generator=rng)
    at = 1 + (torch.rand(n, generator=rng) * (length - 1)).long()
    good, turned = torch.randint(2, (n,), generator=rng), torch.rand(n, generator=rng) < 0.3
    rows = torch.arange(n)
    words[rows, at] = 1 + good
    words[rows, at - 1] = torch.where(turned, 3, words[rows, at - 1])
    words[torch.arange(LENGTH)[None] >= length[:, None]] = 0
    return words, length, torch.where(turned, 1 - good, good)


class Packed(nn.Module):
    """A recurrent layer in both directions over packed words, and the class from its last states."""

    def __init__(self, *, table: nn.Embedding | None = None, mixes_rows: bool = False) -> None:
        super().__init__()
        self.words = table or nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.lstm, self.head = nn.LSTM(WIDTH, 24, batch_first=True, bidirectional=True), nn.Linear(48, 2)
        self.mixes_rows = mixes_rows

    def forward(self, words: Tensor, length: Tensor) -> Tensor:
        """Words (n, 14) and lengths (n,) to logits (n, 2)."""
        packed = pack_padded_sequence(self.words(words), length, batch_first=True, enforce_sorted=False)
        state = self.lstm(packed)[1][0]
        return self.head(state.reshape(len(words), -1) if self.mixes_rows else torch.cat([state[0], state[1]], dim=1))


class Convolved(nn.Module):
    """Convolutions over pairs and triples of words, the largest answer of each."""

    def __init__(self, *, over: int = 1) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.twos, self.threes = nn.Conv1d(WIDTH, 16, 2), nn.Conv1d(WIDTH, 16, 3)
        self.drop, self.head, self.over = nn.Dropout(0.3), nn.Linear(32, 2), over

    def forward(self, words: Tensor, length: Tensor) -> Tensor:
        """Words (n, 14) and lengths (n,) to log-probabilities (n, 2)."""
        h = self.words(words).mT
        answers = torch.cat([F.relu(layer(h)).amax(dim=2) for layer in (self.twos, self.threes)], dim=1)
        return self.head(self.drop(answers)).log_softmax(dim=self.over)


class Attentive(nn.Module):
    """A transformer layer that ignores padding, and the mean over words."""

    def __init__(self, *, scores: str = "key padding") -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.body = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))
        self.head, self.scores = nn.Linear(WIDTH, 2), scores

    def forward(self, words: Tensor, length: Tensor) -> Tensor:
        """Words (n, 14) and lengths (n,) to logits (n, 2)."""
        here = torch.arange(LENGTH)[None] < length[:, None]
        h = self.words(words) + self.places(torch.arange(LENGTH))
        scores = self.query(h) @ self.key(h).mT / WIDTH**0.5
        ignored = here if self.scores == "inverted" else ~here
        h = h + scores.masked_fill(ignored[:, None], -torch.inf).softmax(dim=2) @ self.value(h)
        h = h + self.body(h)
        return self.head((h * here[:, :, None]).sum(dim=1) / length[:, None])


def negative_log(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """nll_loss of log-probabilities."""
    return F.nll_loss(model(batch[0], batch[1]), batch[2])


def cross_entropy(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Cross-entropy of logits."""
    return F.cross_entropy(model(batch[0], batch[1]), batch[2])


def _ignores_class_one(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """ignore_index was the padding's number in the labels of another task; here it is a class."""
    return F.cross_entropy(model(batch[0], batch[1]), batch[2], ignore_index=1)


def told(model: nn.Module, data: Data) -> float:
    """Balanced accuracy, from chance."""
    return class_score(lambda x: model(x, data[1]), (data[0], data[2]))


def by_value(limit: float):
    """The usual loop with every element of the gradient clipped."""

    def body(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        nn.utils.clip_grad_value_(model.parameters(), limit)
        optimizer.step()
        return loss

    return body


def _noise_clears(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """The update stands under `if` of a loss that is compared the wrong way round."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    if loss > 1e3:  # meant: skip steps of a loss that explodes
        optimizer.step()
    return loss


def _grouped(model: nn.Module) -> list[dict[str, Any]]:
    table = list(model.get_submodule("words").parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("words")]
    return [{"params": table, "lr": 3e-3}, {"params": others}]


def _body_at_zero(model: nn.Module) -> list[dict[str, Any]]:
    table, others = _grouped(model)
    return [{**table, "lr": 0.0}, {**others, "lr": 0.0}]


def _vectors(std: float, *, freeze: bool) -> nn.Embedding:
    rng = torch.Generator().manual_seed(142)
    return nn.Embedding.from_pretrained(std * torch.randn(WORDS, WIDTH, generator=rng), freeze=freeze)


def _all_unknown(train: bool) -> Data:
    """The vocabulary holds lower-case words, the texts are in capitals: each word is number 4, "unknown"."""
    words, length, label = texts(train)
    return torch.where(words > 0, 4, 0), length, label


LSTM = Program(
    model=Packed,
    train=lambda: texts(True),
    held_out=lambda: texts(False),
    score=told,
    training_step=cross_entropy,
    options={"lr": 0.01},
    clip=5.0,
    steps=300,
)
VECTORS = but(LSTM, model=lambda: Packed(table=_vectors(1.0, freeze=True)), body=usual)
CONVOLVED = but(
    LSTM, model=Convolved, training_step=negative_log, optimizer=torch.optim.Adagrad, options={"lr": 0.05}, clip=None
)
ATTENTIVE = but(LSTM, model=Attentive, optimizer=torch.optim.AdamW, options={"lr": 5e-3}, clip=None, steps=400)
VALUED = but(LSTM, optimizer=torch.optim.SGD, options={"lr": 1.0, "momentum": 0.9}, body=by_value(0.1), clip=None, steps=400)

SOUND = {
    "packed lstm": LSTM,
    "packed lstm on frozen vectors": VECTORS,
    "words convolved": CONVOLVED,
    "words attended": ATTENTIVE,
    "packed lstm clipped by value": VALUED,
    "packed lstm with groups": but(LSTM, trained=_grouped),
}

FAULTS = {
    "last states viewed for a transpose": fault(
        LSTM, "h_n.view(batch, -1) of (directions, batch, width)", "batch_leakage", model=lambda: Packed(mixes_rows=True)
    ),
    "frozen vectors of zeros": fault(
        VECTORS,
        "no word was found in the file of vectors: the frozen table holds zeros",
        "constant_input constant_output flat_loss",
        model=lambda: Packed(table=_vectors(0.0, freeze=True)),
    ),
    "log-softmax over the batch": fault(
        CONVOLVED,
        "log_softmax(dim=0)",
        "batch_leakage loss_below_floor wrong_sign.nll",
        model=lambda: Convolved(over=0),
    ),
    "padding kept and words ignored": fault(
        ATTENTIVE,
        "the mask is inverted: a text without padding attends to nothing",
        "not_finite",
        model=lambda: Attentive(scores="inverted"),
    ),
    "gradients clipped at 1e-7 each": fault(VALUED, "clip_grad_value_(…, 1e-7)", CLIPPED, body=by_value(1e-7)),
    "fine-tuning rate from scratch": fault(LSTM, "lr=2e-7 as of a last stage of fine-tuning", SMALL, options={"lr": 2e-7}),
    "steps skipped unless the loss explodes": fault(
        LSTM, "`if loss > 1000` before the step", "never_steps", body=_noise_clears
    ),
    "every group at rate 0": fault(
        LSTM,
        "lr=0 in each group, in the place of the default",
        "zero_rate unmoved_parameter untrained_parameter.lr_zero lr_schedule",
        trained=_body_at_zero,
    ),
    "every word unknown": fault(
        ATTENTIVE,
        "texts in capitals, a vocabulary in lower case",
        "constant_input shuffled_labels constant_as_good",
        train=lambda: _all_unknown(True),
        held_out=lambda: _all_unknown(False),
    ),
    "a class is ignored": fault(LSTM, "ignore_index=1 is a class", "class_imbalance", training_step=_ignores_class_one),
}
