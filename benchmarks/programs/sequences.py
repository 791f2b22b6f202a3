"""Series: recurrent nets that classify or continue them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, first_sign, walks, waves
from programs.program import LARGE_STEPS, SMALL_STEPS, Program, accuracy, but, class_score, ending, explained, fault


class Classifier(nn.Module):
    """A recurrent layer, and the class from its last output."""

    def __init__(self, features: int, *, kind: type[nn.RNNBase] = nn.LSTM, batch_first: bool = True, reads: int = -1) -> None:
        super().__init__()
        self.recurrent = kind(features, 32, batch_first=batch_first)
        self.head = nn.Linear(32, 2)
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        """Series (n, t, features) to logits (n, 2)."""
        return self.head(self.recurrent(x)[0][:, self.reads])


class Forecast(nn.Module):
    """The next value from an LSTM's last output."""

    def __init__(self, *, placeholder: bool = False) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)
        self.placeholder = placeholder

    def forward(self, x: Tensor) -> Tensor:
        """Series (n, t, 1) to (n, 1)."""
        return self.head(self.recurrent(torch.zeros_like(x) if self.placeholder else x)[0][:, -1])


class Decoder(nn.Module):
    """Writes a series again, from a code, with the series shifted by one as the decoder's input, or zeros in its place."""

    def __init__(self, *, of_zeros: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(1, 16, batch_first=True), nn.GRU(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)
        self.of_zeros = of_zeros

    def forward(self, x: Tensor) -> Tensor:
        """Series (n, t, 1) to the same."""
        code = self.encoder(x[:, :1])[1]
        given = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        return self.head(self.decoder(torch.zeros_like(given) if self.of_zeros else given, code)[0])


def _series_itself(train: bool) -> Data:
    x, _ = waves(train)
    return x, x


def orthogonal(gain: float):
    """Recurrent weights of that gain."""

    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.RNN):
            nn.init.orthogonal_(module.weight_hh_l0, gain)

    return draw


def _loud(make, gain: float):
    return lambda: make().apply(orthogonal(gain))


def _kilowatts(train: bool) -> Data:
    x, y = waves(train)
    return 40_000 + 9_000 * x, 40_000 + 9_000 * y


def _targets_without_column(train: bool) -> Data:
    x, y = waves(train)
    return x, y[:, 0]


LSTM = Program(
    model=lambda: Classifier(4),
    train=lambda: walks(True),
    held_out=lambda: walks(False),
    score=class_score,
    loss=F.cross_entropy,
    options={"lr": 0.01},
    metric=accuracy,
    steps=200,
)
FORECAST = Program(
    model=Forecast,
    train=lambda: waves(True),
    held_out=lambda: waves(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 0.01},
)
MEMORY = but(
    LSTM,
    model=_loud(lambda: Classifier(2, kind=nn.RNN), 1.0),
    train=lambda: first_sign(True),
    held_out=lambda: first_sign(False),
    clip=1.0,
    options={"lr": 2e-3},
    steps=400,
)
COPY = but(
    FORECAST, model=lambda: Decoder(of_zeros=False), train=lambda: _series_itself(True), held_out=lambda: _series_itself(False)
)

SOUND = {
    "lstm": LSTM,
    "gru": but(LSTM, model=lambda: Classifier(4, kind=nn.GRU)),
    "lstm clipped": but(LSTM, clip=1.0),
    "forecast": FORECAST,
    "long memory": MEMORY,
    "decoder": COPY,
}

FAULTS = {
    "batch first forgotten": fault(
        LSTM, "batch_first is not given", "batch_leakage", model=lambda: Classifier(4, batch_first=False)
    ),
    "lstm into softmax": fault(
        LSTM,
        "softmax under cross_entropy",
        "softmax_twice capped_loss",
        model=ending(lambda: Classifier(4), nn.Softmax(dim=1)),
        optimizer=torch.optim.SGD,
        options={"lr": 0.1},
    ),
    "first output in place of the last": fault(
        LSTM, "output[:, 0] is read", "ignored_end", model=lambda: Classifier(4, reads=0)
    ),
    "recurrence of gain 3": fault(
        MEMORY,
        "recurrent weights three times too large, no clip, SGD",
        "exploding_gradient gain_budget_high saturation not_finite",
        model=_loud(lambda: Classifier(2, kind=nn.RNN), 3.0),
        clip=None,
        optimizer=torch.optim.SGD,
        options={"lr": 0.1},
    ),
    "memory that fades": fault(
        MEMORY,
        "a plain RNN with default weights over 60 steps",
        "vanishing_gradient",
        model=lambda: Classifier(2, kind=nn.RNN),
    ),
    "lstm at rate 3": fault(LSTM, "lr=3 under Adam", LARGE_STEPS, options={"lr": 3.0}),
    "lstm at rate 1e-4 under sgd": fault(
        LSTM,
        "lr=1e-4 under SGD",
        SMALL_STEPS,
        optimizer=torch.optim.SGD,
        options={"lr": 1e-4},
    ),
    "kilowatts as they are": fault(
        FORECAST,
        "series and targets around 40,000",
        "target_scale input_scale",
        train=lambda: _kilowatts(True),
        held_out=lambda: _kilowatts(False),
    ),
    "forecast of zeros": fault(
        FORECAST, "zeros_like(x) goes into the LSTM", "constant_input", model=lambda: Forecast(placeholder=True)
    ),
    "decoder of zeros": fault(
        COPY, "zeros in place of the shifted series", "constant_input", model=lambda: Decoder(of_zeros=True)
    ),
    "clip at 1e-4 in an lstm": fault(
        but(LSTM, optimizer=torch.optim.SGD, options={"lr": 0.3, "momentum": 0.9}, clip=1.0),
        "max_norm=1e-4",
        "plateau.clipped clipping",
        clip=1e-4,
    ),
}
