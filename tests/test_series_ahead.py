"""Forecasters of series of numbers that see the value that they have to predict, and sound ones that look like them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainability.doctor import Monitor, diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look

LENGTH, WIDTH = 32, 8


def walks(*shape: int) -> Tensor:
    """Series that differ, along the last dimension."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).cumsum(dim=-1)


def ahead(by: int = 1, columns: int = 1) -> tuple[Tensor, Tensor]:
    """(examples, columns, steps) and the first column that many steps later."""
    series = walks(16, columns, LENGTH + by)
    return series[..., :LENGTH].contiguous(), series[:, :1, by:].contiguous()


class Convs(nn.Module):
    """Two dilated convolutions over (examples, columns, steps)."""

    def __init__(self, left: int = 1, *, columns: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(columns, WIDTH, 3), nn.Conv1d(WIDTH, 1, 3, dilation=2)
        self.left, self.norm = left, nn.BatchNorm1d(WIDTH) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.one(F.pad(x, (self.left, 2 - self.left)))).relu()
        return self.two(F.pad(hidden, (2 * self.left, 4 - 2 * self.left)))


class Normalised(Convs):
    """Each series is put on its own scale, and back."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(dim=-1, keepdim=True), x.std(dim=-1, keepdim=True)
        return super().forward((x - mean) / std) * std + mean


class OverTime(Convs):
    """Each series is normalised over all its steps between the layers."""

    def __init__(self, left: int, norm: nn.Module) -> None:
        super().__init__(left)
        self.norm = norm


class Recurrent(nn.Module):
    """Reads (examples, steps, columns), or (steps, examples, columns), in one direction or both."""

    def __init__(self, *, both: bool, batch_first: bool = True) -> None:
        super().__init__()
        self.body = nn.GRU(1, WIDTH, batch_first=batch_first, bidirectional=both)
        self.head = nn.Linear(WIDTH * (1 + both), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0])


class Decoder(nn.Module):
    """Reads what came before and the targets, moved one step back by itself or by the loader."""

    def __init__(self, *, moves: bool) -> None:
        super().__init__()
        self.encoder, self.moves = nn.GRU(1, WIDTH, batch_first=True), moves
        self.decoder, self.head = nn.GRU(1, WIDTH, batch_first=True), nn.Linear(WIDTH, 1)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        read = torch.cat([past[:, -1:], future[:, :-1]], dim=1) if self.moves else future
        return self.head(self.decoder(read, self.encoder(past)[1])[0])


class WithCode(nn.Module):
    """A variational autoencoder whose decoder predicts each next step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.code = nn.GRU(1, WIDTH, batch_first=True), nn.Linear(WIDTH, 4)
        self.decoder, self.head = nn.GRU(5, WIDTH, batch_first=True), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.code(self.encoder(x)[1][0])
        read = torch.cat([x, code[:, None].expand(-1, x.shape[1], -1)], dim=-1)
        return self.head(self.decoder(read)[0]), code


class Window(nn.Module):
    """Answers for a whole window at once."""

    def __init__(self, outputs: int = LENGTH) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(LENGTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).unsqueeze(1)


def loss_of(
    cut: slice = slice(None), function: Callable[[Tensor, Tensor], Tensor] = F.mse_loss
) -> Callable[[Any, Any], Tensor]:
    def loss(model: Any, batch: Any) -> Tensor:
        *inputs, target = batch
        output = model(*inputs)
        return function((output[0] if isinstance(output, tuple) else output)[..., cut], target[..., cut])

    return loss


def from_one(model: Any, batch: Any) -> Tensor:
    """The step makes inputs and targets of one series."""
    return (model(batch[0][..., :-3])[..., 4:-4] - batch[0][..., 3:][..., 4:-4]).abs().mean()


def inputs_alone(model: Any, batch: Any) -> Tensor:
    """The loss moves the targets by itself."""
    return ((model(batch[0])[..., :-1] - batch[0][..., 1:]) ** 2).mean()


def steps_last(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.transpose(1, 2).contiguous() for t in batch)


def steps_first(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.permute(2, 0, 1).contiguous() for t in batch)


X, Y = ahead()
INNER = slice(5, -5)
NOISY = X + 0.1 * torch.randn(X.shape, generator=torch.Generator().manual_seed(2))
HIDDEN = torch.where(torch.rand(X.shape, generator=torch.Generator().manual_seed(3)) < 0.3, 0.0, X)
DAYS = torch.sin(torch.arange(LENGTH + 8) * torch.pi / 4 + 0.0) * torch.randn(
    16, 1, 1, generator=torch.Generator().manual_seed(4)
)
DAYS[..., 8:] = DAYS[..., :LENGTH]  # the same numbers, not only nearly
LATER, PAST = X[..., 16:].transpose(1, 2).contiguous(), X[..., :16].transpose(1, 2).contiguous()
REREAD = torch.cat([PAST[:, -1:], LATER[:, :-1]], dim=1)

SEES = {
    "same padding": (Convs(), (X, Y), loss_of()),
    "same padding, edges cut off": (Convs(), (X, Y), loss_of(INNER)),
    "an absolute error": (Convs(), (X, Y), loss_of(INNER, F.smooth_l1_loss)),
    "written by hand": (Convs(), (X, Y), loss_of(INNER, lambda a, b: ((a - b) ** 2).mean())),
    "batch norm": (Convs(norm=True), (X, Y), loss_of()),
    "two steps ahead": (Convs(), ahead(2), loss_of()),
    "one of three columns": (Convs(columns=3), ahead(1, 3), loss_of()),
    "made by the step": (Convs(), (walks(16, 1, LENGTH),), from_one),
    "moved by the loss": (Convs(), (X,), inputs_alone),
    "group norm, same padding": (OverTime(1, nn.GroupNorm(1, WIDTH)), (X, Y), loss_of()),
    "both directions": (Recurrent(both=True), steps_last((X, Y)), loss_of()),
    "both directions, steps first": (Recurrent(both=True, batch_first=False), steps_first((X, Y)), loss_of()),
    "several steps ahead, both directions": (Recurrent(both=True), steps_last(ahead(4)), loss_of()),
    "normalised by itself": (Normalised(), (X, Y), loss_of()),
}
SOUND = {
    "causal": (Convs(2), (X, Y), loss_of()),
    "causal, edges cut off": (Convs(2), (X, Y), loss_of(INNER)),
    "causal, each series on its own scale": (Normalised(2), (X, Y), loss_of()),
    "sees three steps, asked for the fifth": (Convs(), ahead(5), loss_of()),
    "causal, of three columns": (Convs(2, columns=3), ahead(1, 3), loss_of()),
    "causal, made by the step": (Convs(2), (walks(16, 1, LENGTH),), from_one),
    "causal, moved by the loss": (Convs(2), (X,), inputs_alone),
    "causal, group norm": (OverTime(2, nn.GroupNorm(1, WIDTH)), (X, Y), loss_of()),
    "causal, instance norm": (OverTime(2, nn.InstanceNorm1d(WIDTH, affine=True)), (X, Y), loss_of()),
    "causal, layer norm over all": (OverTime(2, nn.LayerNorm([WIDTH, LENGTH])), (X, Y), loss_of()),
    "one direction": (Recurrent(both=False), steps_last((X, Y)), loss_of()),
    "one direction, steps first": (Recurrent(both=False, batch_first=False), steps_first((X, Y)), loss_of()),
    "autoencoder": (Convs(), (X, X.clone()), loss_of()),
    "imputation": (Convs(), (HIDDEN, X), loss_of()),
    "smoother": (Convs(), (NOISY, X), loss_of()),
    "a delay": (Convs(), (Y, X), loss_of()),
    "turned": (Convs(), (X, X.roll(-1, dims=-1)), loss_of()),
    "moved": (Convs(), (X, F.pad(X[..., 1:], (0, 1))), loss_of()),
    "tagger": (Recurrent(both=True), steps_last((X, (X.roll(1, -1) < X).float())), loss_of()),
    "the day before is the day after": (Convs(), (DAYS[..., :LENGTH], DAYS[..., 8:]), loss_of()),
    "the next window": (Window(), (X, walks(16, 1, 3 * LENGTH)[..., LENGTH : 2 * LENGTH]), loss_of()),
    "a few values beyond the window": (Window(4), (X, walks(16, 1, LENGTH + 4)[..., LENGTH:]), loss_of()),
    "reads the previous target": (Decoder(moves=True), (PAST, LATER, LATER.clone()), loss_of(slice(None))),
    "is given the previous target": (Decoder(moves=False), (PAST, REREAD, LATER), loss_of(slice(None))),
    "variational autoencoder": (WithCode(), steps_last((X, Y)), loss_of()),
}


@pytest.fixture(autouse=True)
def anew() -> None:
    """Each test draws the weights of its model again."""
    torch.manual_seed(0)
    for model, _, _ in (*SEES.values(), *SOUND.values()):
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.GRU):
                module.reset_parameters()


def found_in(model: nn.Module, batch: Any, loss: Any) -> list[tuple[str, str]]:
    facts = look(model, batch, loss)
    assert not [note for note in facts.notes if "series" in note]
    return [(f.code, f.severity) for f in diagnose(Evidence(facts=facts)).findings if f.rule == "sees_future"]


@pytest.mark.parametrize("name", SEES)
def test_a_forecaster_that_sees_what_it_has_to_predict(name: str) -> None:
    ((code, severity),) = found_in(*SEES[name])
    assert severity == "error"
    assert code in ("sees_future.series", "sees_future")


@pytest.mark.parametrize("name", SOUND)
def test_sound_models_of_series(name: str) -> None:
    assert [f for f in found_in(*SOUND[name]) if f[1] != "hint"] == []


def watched(model: nn.Module, batch: Any, loss_fn: Any) -> list[tuple[str, str]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            loss = loss_fn(model, batch)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    return [(f.code, f.severity) for f in monitor.diagnose().findings if f.rule == "sees_future"]


# Batch norm has no second backward pass to be asked; of a series on its own scale no layer reads the values.
UNASKED = {"batch norm", "normalised by itself", "group norm, same padding"}


@pytest.mark.parametrize("name", SEES)
def test_a_watched_forecaster_that_sees_what_it_has_to_predict(name: str) -> None:
    assert watched(*SEES[name]) == ([] if name in UNASKED else [("sees_future.series", "error")])


@pytest.mark.parametrize("name", SOUND)
def test_sound_models_of_series_that_are_watched(name: str) -> None:
    assert watched(*SOUND[name]) == []
