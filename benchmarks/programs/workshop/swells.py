"""Recurrent nets over measured series: tides, a value to be kept in mind, temperatures with gaps."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import CUT, LARGE, LOUD, QUIET
from programs.program import Data, Program, but, drawn, explained, fault
from programs.unseen.causes import DETACHED, SAME, SATURATED, UNSCALED, UPSIDE_DOWN


def rng_of(seed: int) -> torch.Generator:
    """A generator with a seed."""
    return torch.Generator().manual_seed(seed)


@functools.cache
def tides(train: bool) -> Data:
    """Windows (n, 24, 2) of sea level and wind, and the next four levels, (n, 4); the wind acts four hours later."""
    rng = rng_of(5100 if train else 5101)
    n, t = 800 if train else 300, torch.arange(28)
    wind = torch.randn(n, 28, generator=rng)
    level = torch.sin(0.5 * t + 6.3 * torch.rand(n, 1, generator=rng)) + 0.5 * torch.sin(
        0.9 * t + 6.3 * torch.rand(n, 1, generator=rng)
    )
    level[:, 4:] += 0.4 * wind[:, :-4]
    return torch.stack((level, wind), dim=2)[:, :24].contiguous(), level[:, 24:]


@functools.cache
def marked(train: bool) -> Data:
    """Values (n, 16, 2), one of the first six of them marked in the second channel, and that value, (n, 1)."""
    rng = rng_of(5102 if train else 5103)
    n = 1600 if train else 400
    value = torch.rand(n, 16, generator=rng) * 2 - 1
    place = torch.randint(6, (n,), generator=rng)
    mark = F.one_hot(place, 16).float()
    return torch.stack((value, mark), dim=2), value.gather(1, place[:, None])


@functools.cache
def gappy(train: bool) -> Data:
    """Temperatures (n, 20, 2), zero and flagged where missing, and those one step later, (n, 20, 1), NaN where missing."""
    rng = rng_of(5104 if train else 5105)
    n = 600 if train else 300
    t = torch.arange(21) * (0.3 + 0.4 * torch.rand(n, 1, generator=rng)) + 6.3 * torch.rand(n, 1, generator=rng)
    series = 1.4 * torch.sin(t) + 0.1 * torch.randn(n, 21, generator=rng)
    missing = torch.rand(n, 21, generator=rng) < 0.2
    x = torch.stack((series.masked_fill(missing, 0.0), missing.float()), dim=2)[:, :-1]
    return x.contiguous(), series.masked_fill(missing, torch.nan)[:, 1:, None]


class Tides(nn.Module):
    """Two layers of an LSTM; a linear layer on the last output gives `ahead` numbers."""

    def __init__(self, *last: nn.Module, ahead: int = 4, scale: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 24, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(24, ahead), *last)
        self.shift, self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(n, 24, 2) to (n, ahead)."""
        out, _ = self.lstm(x)
        return self.shift + self.scale * self.head(out[:, -1])


class Keeper(nn.Module):
    """An LSTM cell stepped by hand; `habit` says what becomes of the state between the steps."""

    def __init__(self, *, habit: str = "kept", bias: float | None = None) -> None:
        super().__init__()
        self.habit = habit
        self.cell, self.read = nn.LSTMCell(2, 24), nn.Linear(24, 1)
        if bias is not None:
            with torch.no_grad():
                self.cell.bias_ih[24:48] = bias

    def forward(self, x: Tensor) -> Tensor:
        """(n, 16, 2) to (n, 1)."""
        h = c = x.new_zeros(len(x), 24)
        for t in range(x.shape[1]):
            if self.habit == "new":
                h = c = x.new_zeros(len(x), 24)
            elif self.habit == "detached":
                h, c = h.detach(), c.detach()
            h, c = self.cell(x[:, t], (h, c))
        return self.read(h)


class Plain(nn.Module):
    """nn.RNN over a window with a head on the last state."""

    def __init__(self, *, relu: bool = False, hidden: int = 48) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, hidden, batch_first=True, nonlinearity="relu" if relu else "tanh")
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 16, 2) to (n, 1)."""
        return self.out(self.rnn(x)[1][0])


class Reservoir(nn.Module):
    """A leaky random net that is never trained; only the readout learns."""

    def __init__(self, size: int = 150) -> None:
        super().__init__()
        weight = torch.randn(size, size) / size**0.5
        self.inner = nn.Parameter(0.9 * weight, requires_grad=False)
        self.inlet = nn.Parameter(0.5 * torch.randn(2, size), requires_grad=False)
        self.readout = nn.Linear(size, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 24, 2) to (n, 4)."""
        state = x.new_zeros(len(x), self.inner.shape[0])
        for t in range(x.shape[1]):
            state = 0.3 * state + 0.7 * torch.tanh(state @ self.inner + x[:, t] @ self.inlet)
        return self.readout(state)


class Gaps(nn.Module):
    """A GRU with a normalised output that forecasts each next step."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.norm, self.out = nn.GRU(2, 32, batch_first=True), nn.LayerNorm(32), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 20, 2) to (n, 20, 1)."""
        return self.out(self.norm(self.gru(x)[0]))


def likelihood(output: Tensor, target: Tensor, *, sign: float = 1.0) -> Tensor:
    """Minus the log-likelihood of a normal distribution, without the constant."""
    mean, log_variance = output.chunk(2, dim=1)
    return (sign * 0.5 * log_variance + 0.5 * (target - mean) ** 2 * torch.exp(-log_variance)).mean()


def pinball(output: Tensor, target: Tensor) -> Tensor:
    """Loss of the quantiles 0.1, 0.5 and 0.9, outputs (n, 12)."""
    level = torch.tensor([0.1, 0.5, 0.9])
    error = target[:, :, None] - output.view(-1, 4, 3)
    return torch.maximum(level * error, (level - 1) * error).mean()


def masked(output: Tensor, target: Tensor) -> Tensor:
    """Squared error where a target is known."""
    known = ~target.isnan()
    return F.mse_loss(output[known], target[known])


def multiplied(output: Tensor, target: Tensor) -> Tensor:
    """Squared error times a mask."""
    known = (~target.isnan()).float()
    return ((output - target) ** 2 * known).sum() / known.sum()


def known_score(model: Any, data: Data) -> float:
    """Variance explained where a target is known."""
    output, known = model(data[0]), ~data[1].isnan()
    return 1 - float(F.mse_loss(output[known], data[1][known]) / data[1][known].var(correction=0))


def _pascals(train: bool) -> Data:
    x, y = tides(train)
    return torch.stack((x[..., 0], 101_325 + 900 * x[..., 1]), dim=2), y


def _dropped(train: bool) -> Data:
    x, y = tides(train)
    return x, y.roll(5, dims=0)


def _missing_code(train: bool) -> Data:
    x, y = gappy(train)
    return x - 999.0 * x[..., 1:] * torch.tensor([1.0, 0.0]), y.nan_to_num(-999.0)


def _tiny(module: nn.Module) -> None:
    if isinstance(module, nn.RNN):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.01)


def _identity(module: nn.Module) -> None:
    if isinstance(module, nn.RNN):
        nn.init.eye_(module.get_parameter("weight_hh_l0"))
        nn.init.normal_(module.get_parameter("weight_ih_l0"), std=0.1)
        nn.init.zeros_(module.get_parameter("bias_ih_l0"))
        nn.init.zeros_(module.get_parameter("bias_hh_l0"))


def _orthogonal_twice(module: nn.Module) -> None:
    if isinstance(module, nn.RNN):
        nn.init.orthogonal_(module.get_parameter("weight_hh_l0"), gain=4.0)


TIDES = Program(
    model=Tides,
    train=lambda: tides(True),
    held_out=lambda: tides(False),
    score=explained,
    loss=F.smooth_l1_loss,
    options={"lr": 8e-3},
    steps=250,
)
LIKELY = but(
    TIDES,
    model=lambda: Tides(ahead=8),
    loss=likelihood,
    score=lambda m, d: explained(lambda x: m(x)[:, :4], d),
    clip=1.0,
)
KEEPER = Program(
    model=lambda: Keeper(bias=1.0),
    train=lambda: marked(True),
    held_out=lambda: marked(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 1e-2},
    clip=1.0,
    batch=64,
    steps=300,
)
PLAIN = but(
    KEEPER, model=drawn(lambda: Plain(relu=True), _identity), options={"lr": 3e-3, "alpha": 0.9}, optimizer=torch.optim.RMSprop
)
GAPS = Program(
    model=Gaps,
    train=lambda: gappy(True),
    held_out=lambda: gappy(False),
    score=known_score,
    loss=masked,
    optimizer=torch.optim.NAdam,
    options={"lr": 5e-3},
    steps=200,
)
SOUND = {
    "tides": TIDES,
    "tides in quantiles": but(
        TIDES,
        model=lambda: Tides(ahead=12),
        loss=pinball,
        score=lambda m, d: explained(lambda x: m(x).view(-1, 4, 3)[..., 1], d),
    ),
    "tides with their likelihood": LIKELY,
    "tides in millimetres": but(
        TIDES,
        model=lambda: Tides(scale=(4500.0, 700.0)),
        train=lambda: (tides(True)[0], 4500 + 700 * tides(True)[1]),
        held_out=lambda: (tides(False)[0], 4500 + 700 * tides(False)[1]),
        loss=lambda o, y: F.mse_loss(o / 700, y / 700),
    ),
    "tides from a reservoir": but(TIDES, model=Reservoir, trained=lambda model: model.readout.parameters(), steps=400),
    "value kept by an lstm cell": KEEPER,
    "value kept by an identity rnn": PLAIN,
    "gappy temperatures": GAPS,
}

FAULTS = {
    "tides without dropped rows": fault(
        TIDES, "rows are dropped from the inputs and not from the targets", UNPAIRED, train=lambda: _dropped(True)
    ),
    "tides beside raw pressure": fault(
        TIDES,
        "the second input is a pressure of 101,325 ± 900 Pa",
        f"{UNSCALED} {SATURATED}",
        train=lambda: _pascals(True),
        held_out=lambda: _pascals(False),
    ),
    "likelihood without its brake": fault(
        LIKELY,
        "the log of the variance enters with a minus",
        UPSIDE_DOWN,
        loss=lambda o, y: likelihood(o, y, sign=-1.0),
    ),
    "new state at every step": fault(
        KEEPER,
        "the state is set to zeros inside of the loop over time",
        f"{CUT} {SAME} blind ignored_end vanishing_gradient",
        model=lambda: Keeper(habit="new", bias=1.0),
    ),
    "state detached at every step": fault(
        KEEPER,
        "h and c are detached in the loop over time, against an error of backward",
        f"{DETACHED} {SAME} blind vanishing_gradient",
        model=lambda: Keeper(habit="detached", bias=1.0),
    ),
    "forget gate closed": fault(
        KEEPER,
        "the bias of the forget gate is set to -8 in place of 1",
        f"vanishing_gradient blind saturation {SAME} {QUIET}",
        model=lambda: Keeper(bias=-8.0),
    ),
    "rnn from small numbers": fault(
        PLAIN,
        "all weights of the RNN are drawn with std 0.01",
        f"vanishing_gradient recurrent_gain blind {SAME} {QUIET}",
        model=drawn(lambda: Plain(relu=True), _tiny),
    ),
    "rnn with gain 4": fault(
        PLAIN,
        "orthogonal recurrent weights are multiplied by 4 under ReLU",
        f"{LOUD} exploding_gradient not_finite {LARGE}",
        model=drawn(lambda: Plain(relu=True), _orthogonal_twice),
    ),
    "nan times a mask": fault(
        GAPS, "targets that are missing are NaN and multiplied by zero", "not_finite not_finite_data", loss=multiplied
    ),
    "missing as -999": fault(
        GAPS,
        "the code of a missing value is taken for a temperature, in inputs and targets",
        f"{UNSCALED} {SATURATED} target_scale loss_at_start constant_as_good",
        train=lambda: _missing_code(True),
    ),
}
