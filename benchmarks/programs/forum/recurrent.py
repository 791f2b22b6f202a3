"""Recurrent nets as forum threads have them: forecasters, padded sentences, gestures, a state that is carried on."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import LEAKS, UNPAIRED
from programs.held_out.causes import CUT, DECAYED, LARGE, LOUD, OUTSIDE, SMALL
from programs.program import Data, Program, accuracy, but, class_score, drawn, explained, fault
from programs.unseen.causes import DETACHED, FAR_TARGETS, SAME, SATURATED, UNSCALED


@functools.cache
def sales(train: bool) -> Data:
    """Windows (n, 24, 1) of monthly sales with mean 0 and variance 1, and the month that follows, (n, 1)."""
    rng = torch.Generator().manual_seed(310 if train else 311)
    n, month = 800 if train else 300, torch.arange(25)
    level, slope = 0.6 * torch.randn(n, 1, generator=rng), 0.04 * torch.randn(n, 1, generator=rng)
    season = torch.sin((month + 12 * torch.rand(n, 1, generator=rng)) * 2 * math.pi / 12)
    series = level + slope * (month - 12) + season + 0.1 * torch.randn(n, 25, generator=rng)
    return series[:, :24, None], series[:, 24:]


@functools.cache
def sentences(train: bool) -> Data:
    """Words (n, 40) below 300 with zeros behind the last, and 1.0 where words up to 20 outnumber those up to 40, (n, 1)."""
    rng = torch.Generator().manual_seed(312 if train else 313)
    n = 1200 if train else 400
    label = torch.randint(2, (n,), generator=rng)
    length = torch.randint(6, 16, (n,), generator=rng)
    words = torch.randint(41, 300, (n, 40), generator=rng)
    own = torch.randint(1, 21, (n, 40), generator=rng) + 20 * (1 - label)[:, None]
    other = torch.randint(1, 21, (n, 40), generator=rng) + 20 * label[:, None]
    drawn_of = torch.rand(n, 40, generator=rng)
    words = torch.where(drawn_of < 0.35, own, torch.where(drawn_of < 0.42, other, words))
    return words * (torch.arange(40) < length[:, None]), label.float()[:, None]


@functools.cache
def gestures(train: bool) -> Data:
    """Accelerations (n, 30, 3) of four gestures: slow or fast, along the first or the second axis."""
    rng = torch.Generator().manual_seed(314 if train else 315)
    n = 1000 if train else 400
    label = torch.randint(4, (n,), generator=rng)
    pace = (0.35 + 0.35 * (label % 2)).float()[:, None]
    wave = 1.4 * torch.sin(pace * torch.arange(30) + 6.3 * torch.rand(n, 1, generator=rng))
    x = 0.7 * torch.randn(n, 30, 3, generator=rng)
    x[torch.arange(n), :, label // 2] += wave
    return x, label


@functools.cache
def streams(train: bool) -> Data:
    """Stretches (640, 10, 1) of sixteen series, one stretch of each in turn, and the same one step later."""
    rng = torch.Generator().manual_seed(316 if train else 317)
    at = torch.arange(401) * (0.2 + 0.3 * torch.rand(16, 1, generator=rng)) + 6.3 * torch.rand(16, 1, generator=rng)
    series = torch.sin(at) + 0.5 * torch.sin(0.37 * at) + 0.05 * torch.randn(16, 401, generator=rng)
    x, y = (s.reshape(16, 40, 10).transpose(0, 1).reshape(640, 10, 1) for s in (series[:, :-1], series[:, 1:]))
    return x.contiguous(), y.contiguous()


class Forecaster(nn.Module):
    """An LSTM over a window, and a linear layer on its last output."""

    def __init__(self, *last: nn.Module, hidden: int = 32, viewed: bool = False) -> None:
        super().__init__()
        self.viewed = viewed
        self.lstm = nn.LSTM(1, hidden)
        self.linear = nn.Sequential(nn.Linear(hidden, 1), *last)

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, 1) to (n, 1)."""
        n, t, width = x.shape
        steps = x.reshape(t, n, width) if self.viewed else x.permute(1, 0, 2)
        out, _ = self.lstm(steps)
        return self.linear(out[-1])


class Sentiment(nn.Module):
    """An embedding, an LSTM and one logit; `packed` stops at the end of each sentence."""

    def __init__(self, *, packed: bool = True, answer: str = "logit") -> None:
        super().__init__()
        self.packed, self.answer = packed, answer
        self.embedding = nn.Embedding(300, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 32, batch_first=True)
        self.fc = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 40) to (n, 1)."""
        words: Any = self.embedding(x)
        if self.packed:
            lengths = (x > 0).sum(dim=1)
            words = nn.utils.rnn.pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = self.lstm(words)
            logit = self.fc(h[-1])
        else:
            out, _ = self.lstm(words)
            logit = self.fc(out[:, -1])
        if self.answer == "rounded":
            rounded = torch.round(torch.sigmoid(logit))
            return rounded.detach().requires_grad_()
        return logit


class Gestures(nn.Module):
    """Two layers of a GRU in both directions, pooled over time."""

    def __init__(self, *, drop: float = 0.0, through_numpy: bool = False, first: bool = True) -> None:
        super().__init__()
        self.through_numpy = through_numpy
        self.gru = nn.GRU(3, 24, num_layers=2, batch_first=first, bidirectional=True)
        self.drop = nn.Dropout(drop)
        self.fc1, self.fc2 = nn.Linear(48, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 30, 3) to (n, 4)."""
        out, _ = self.gru(x)
        if self.through_numpy:
            out = torch.tensor(out.detach().numpy())
        pooled = self.drop(out).mean(dim=1)
        return self.fc2(self.drop(F.relu(self.fc1(pooled))))


class Stateful(nn.Module):
    """A GRU that starts each batch where the last one ended, with the state detached."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(n, 10, 1) to (n, 10, 1)."""
        if not self.training or self.state is None or self.state.shape[1] != len(x):
            self.state = torch.zeros(1, len(x), 32)
        out, state = self.gru(x, self.state)
        self.state = state.detach()
        return self.out(out)


def sign_score(model: Any, data: Data) -> float:
    """Accuracy of a logit's sign, mean over both classes: 0 for always the same answer."""
    right = ((model(data[0]) > 0) == (data[1] > 0.5)).float()
    return float(right[data[1] > 0.5].mean() + right[data[1] < 0.5].mean()) - 1


def _squeezed(train: bool) -> Data:
    x, y = sales(train)
    return x, y[:, 0]


def _bitcoin(train: bool) -> Data:
    x, y = sales(train)
    return 30_000 + 8_000 * x, 30_000 + 8_000 * y


def _targets_raw(train: bool) -> Data:
    x, y = sales(train)
    return x, 4_500 + 700 * y


def _resampled(train: bool) -> Data:
    x, y = sales(train)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(6))], y


def _standard_normal(module: nn.Module) -> None:
    if isinstance(module, nn.LSTM | nn.Linear):
        for parameter in module.parameters():
            nn.init.normal_(parameter)


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.GRU):
        for name, parameter in module.named_parameters():
            nn.init.orthogonal_(parameter) if "weight" in name else nn.init.zeros_(parameter)


SALES = Program(
    model=Forecaster,
    train=lambda: sales(True),
    held_out=lambda: sales(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 5e-3},
    steps=300,
)
SENTIMENT = Program(
    model=Sentiment,
    train=lambda: sentences(True),
    held_out=lambda: sentences(False),
    score=sign_score,
    loss=F.binary_cross_entropy_with_logits,
    options={"lr": 5e-3},
    steps=200,
)
GESTURES = Program(
    model=Gestures,
    train=lambda: gestures(True),
    held_out=lambda: gestures(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    options={"lr": 5e-3},
    steps=200,
)

SOUND = {
    "monthly sales": SALES,
    "monthly sales by their median": but(SALES, loss=lambda o, y: torch.maximum(0.5 * (y - o), 0.5 * (o - y)).mean()),
    "sentiment of packed sentences": SENTIMENT,
    "gestures": GESTURES,
    "gestures with orthogonal weights": but(GESTURES, model=drawn(Gestures, _orthogonal), clip=1.0),
    "state carried from batch to batch": Program(
        model=Stateful,
        train=lambda: streams(True),
        held_out=lambda: streams(False),
        score=explained,
        loss=F.mse_loss,
        shuffle=False,
        batch=16,
        steps=240,
        options={"lr": 5e-3},
    ),
}

FAULTS = {
    "sales of one dimension less": fault(
        SALES,
        "targets (n,) against outputs (n, 1)",
        "target_broadcast confirmed_change.target_shape",
        train=lambda: _squeezed(True),
        held_out=lambda: _squeezed(False),
    ),
    "time first by reshape": fault(
        SALES, "(n, t, 1) reshaped to (t, n, 1) in place of permuted", LEAKS, model=lambda: Forecaster(viewed=True)
    ),
    "bitcoin in dollars": fault(
        SALES,
        "prices around 30,000 as inputs and targets",
        f"{UNSCALED} {FAR_TARGETS} {SATURATED}",
        train=lambda: _bitcoin(True),
        held_out=lambda: _bitcoin(False),
    ),
    "sales as targets unscaled": fault(
        SALES,
        "the scaler is fitted to the inputs alone, targets are about 4,500",
        FAR_TARGETS,
        train=lambda: _targets_raw(True),
        held_out=lambda: _targets_raw(False),
    ),
    "sigmoid behind a forecast": fault(
        SALES,
        "outputs from 0 to 1 for targets of either sign",
        "unreachable_target clamped_logits capped_loss confirmed_change.last_activation_off",
        model=lambda: Forecaster(nn.Sigmoid()),
    ),
    "sales shuffled without their targets": fault(
        SALES,
        "windows are shuffled before the targets are attached",
        UNPAIRED,
        train=lambda: _resampled(True),
    ),
    "lstm drawn from N(0, 1)": fault(
        SALES,
        "nn.init.normal_ over all parameters",
        f"{LOUD} {SATURATED}",
        model=drawn(lambda: Forecaster(hidden=96), _standard_normal),
    ),
    "forecaster under sgd at 1e-4": fault(
        SALES, "SGD with Adam's rate", SMALL, optimizer=torch.optim.SGD, options={"lr": 1e-4}
    ),
    "last output behind the padding": fault(
        SENTIMENT,
        "out[:, -1] is read after some thirty padding words",
        f"vanishing_gradient blind {SAME}",
        model=lambda: Sentiment(packed=False),
    ),
    "rounded answers in the loss": fault(
        SENTIMENT,
        "the loss is of rounded predictions, with requires_grad set to make backward run",
        f"{CUT} {DETACHED} flat_derivative",
        model=lambda: Sentiment(answer="rounded"),
        loss=F.mse_loss,
    ),
    "sentiment with a decay of 0.5": fault(
        SENTIMENT, "weight_decay=0.5 in Adam", DECAYED, options={"lr": 5e-3, "weight_decay": 0.5}
    ),
    "gestures under dropout 0.95": fault(
        GESTURES,
        "p is taken for the share that is kept",
        "heavy_dropout confirmed_change.dropout_off",
        model=lambda: Gestures(drop=0.95),
    ),
    "gru output through numpy": fault(
        GESTURES,
        "the GRU's output makes a round trip through numpy",
        f"{CUT} {DETACHED} {OUTSIDE}",
        model=lambda: Gestures(through_numpy=True),
    ),
    "bidirectional gru over the batch": fault(GESTURES, "batch_first is forgotten", LEAKS, model=lambda: Gestures(first=False)),
    "gestures by nll of logits": fault(
        GESTURES, "nll_loss without log_softmax", "loss_below_floor misread_logits wrong_sign", loss=F.nll_loss
    ),
    "gru at a rate of 1": fault(GESTURES, "RMSprop at lr=1", LARGE, optimizer=torch.optim.RMSprop, options={"lr": 1.0}),
}
