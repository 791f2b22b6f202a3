"""Places of a sequence or an image that a view moves to the front where a permute is due, and views that are right."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.misread_places import misread_places

B, C, FREQUENCIES, TIME = 6, 4, 5, 14
SPECTROGRAM = torch.randn(B, 1, FREQUENCIES, TIME, generator=torch.Generator().manual_seed(0))
SERIES = torch.randn(B, 9, TIME, generator=torch.Generator().manual_seed(1))
WORDS = torch.randint(50, (B, 16), generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """A first part, what happens between, and a reader; the mean of what it says is the answer."""

    def __init__(self, first: nn.Module, between: Callable[[Tensor], Tensor], reader: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.reader = first, between, reader

    def forward(self, x: Tensor) -> Tensor:
        y = self.reader(self.between(self.first(x)))
        y = y[0] if isinstance(y, tuple) else y
        return (y if len(y) != TIME else y.transpose(0, 1)).flatten(1).mean(dim=1)


def conv(channels: int = C) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())


def gru(width: int) -> nn.Module:
    return nn.GRU(width, 7, batch_first=True)


def attention(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, 1, 8, batch_first=True)


WIDE, PIXELS = C * FREQUENCIES, FREQUENCIES * TIME
# The first part, what is between, the reader, the input.
MISREAD = {
    "frames of a map": (conv(), lambda z: z.reshape(B, TIME, WIDE), gru(WIDE), SPECTROGRAM),
    "frames, LSTM": (conv(), lambda z: z.reshape(B, TIME, WIDE), nn.LSTM(WIDE, 7, batch_first=True), SPECTROGRAM),
    "frames, dropout and norm between": (
        conv(),
        lambda z: F.dropout(F.layer_norm(z.reshape(B, TIME, WIDE), (WIDE,)), 0.1) + 1,
        nn.Linear(WIDE, 3),
        SPECTROGRAM,
    ),
    "frames, steps first": (conv(), lambda z: z.reshape(B, TIME, WIDE).transpose(0, 1), nn.GRU(WIDE, 7), SPECTROGRAM),
    "frames, a convolution along them": (
        conv(),
        lambda z: z.reshape(B, TIME, WIDE).transpose(1, 2),
        nn.Conv1d(WIDE, 3, 3),
        SPECTROGRAM,
    ),
    "time before frequencies": (conv(), lambda z: z.reshape(B, FREQUENCIES, C * TIME), gru(C * TIME), SPECTROGRAM),
    "permuted half": (conv(), lambda z: z.transpose(1, 2).reshape(B, TIME, WIDE), gru(WIDE), SPECTROGRAM),
    "steps of a series": (nn.Conv1d(9, C, 3, padding=1), lambda z: z.view(B, TIME, C), gru(C), SERIES),
    "pixels": (conv(), lambda z: z.view(B, PIXELS, C), attention(C), SPECTROGRAM),
    "pixels as rows": (conv(), lambda z: z.view(-1, C), nn.Linear(C, 3), SPECTROGRAM),
    "a power of two": (conv(16), lambda z: z[..., :4, :8].reshape(B, 32, 16), attention(16), SPECTROGRAM),
    "after pooling": (
        nn.Sequential(conv(), nn.MaxPool2d((1, 2))),
        lambda z: z.reshape(B, TIME // 2, WIDE),
        gru(WIDE),
        SPECTROGRAM,
    ),
    "inputs as they are": (nn.Identity(), lambda x: x.view(B, TIME, 9), gru(9), SERIES),
    "inputs of one channel": (nn.Identity(), lambda x: x.view(B, TIME, FREQUENCIES), nn.Linear(5, 3), SPECTROGRAM),
    "words before a convolution": (nn.Embedding(50, 8), lambda z: z.view(B, 8, 16), nn.Conv1d(8, 3, 3), WORDS),
    "features of steps, torn": (nn.Linear(TIME, 10), lambda z: z.reshape(B, 10, 9), nn.Conv1d(10, 3, 3), SERIES),
}


class Shifted(nn.Module):
    """Sound: relative positions, moved from row to row by a view of other sizes."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.transpose(1, 2)
        size = scores.shape[1]
        return F.pad(scores, (1, 0)).view(len(x), size + 1, size)[:, 1:]


def shuffled(z: Tensor) -> Tensor:
    return z.view(B, 2, C // 2, FREQUENCIES, TIME).transpose(1, 2).reshape(B, C, FREQUENCIES, TIME)


SOUND = {
    "permuted": (conv(), lambda z: z.permute(0, 3, 1, 2).reshape(B, TIME, WIDE), gru(WIDE), SPECTROGRAM),
    "transposed": (nn.Conv1d(9, C, 3, padding=1), lambda z: z.transpose(1, 2).contiguous().view(B, TIME, C), gru(C), SERIES),
    "pixels": (conv(), lambda z: z.flatten(2).transpose(1, 2), attention(C), SPECTROGRAM),
    "pixels as rows": (conv(), lambda z: z.permute(0, 2, 3, 1).reshape(-1, C), nn.Linear(C, 3), SPECTROGRAM),
    "flat": (conv(), lambda z: z.view(B, TIME, WIDE).flatten(1), nn.Linear(TIME * WIDE, 3), SPECTROGRAM),
    "back to a map": (conv(), lambda z: (2 * z.view(B, PIXELS, C)).view_as(z), nn.Conv2d(C, 3, 3), SPECTROGRAM),
    "channels as places": (conv(), lambda z: z.view(B, C, PIXELS), nn.Linear(PIXELS, 3), SPECTROGRAM),
    "channels in the batch": (conv(), lambda z: z.view(B * C, PIXELS), nn.Linear(PIXELS, 3), SPECTROGRAM),
    "groups of channels": (conv(28), lambda z: z.reshape(B, TIME, 140), gru(140), SPECTROGRAM),
    "rows of one channel": (conv(1), lambda z: z.view(B, FREQUENCIES, TIME), gru(TIME), SPECTROGRAM),
    "as many channels as places": (conv(TIME), lambda z: z.reshape(B, TIME, PIXELS), nn.Linear(70, 3), SPECTROGRAM),
    "as many rows as columns": (conv(1), lambda z: z[..., :5].reshape(B, 5, 5), gru(5), SPECTROGRAM),
    "channel shuffle": (conv(), shuffled, nn.Conv2d(C, 3, 3), SPECTROGRAM),
    "pixel shuffle": (conv(), lambda z: F.pixel_shuffle(z, 2), nn.Conv2d(1, 3, 3), SPECTROGRAM),
    "patches": (conv(), lambda z: F.unfold(z, 2, stride=2).transpose(1, 2), attention(4 * C), SPECTROGRAM),
    "tokens of a vector": (
        nn.Sequential(conv(), nn.Flatten(), nn.Linear(TIME * WIDE, 60)),
        lambda z: z.view(B, 5, 12),
        attention(12),
        SPECTROGRAM,
    ),
    "tokens of pooled channels": (
        nn.Sequential(conv(12), nn.AdaptiveAvgPool2d(1)),
        lambda z: z.view(B, 3, 4),
        attention(4),
        SPECTROGRAM,
    ),
    "windows of steps": (nn.Linear(TIME, 3), lambda z: z.view(B, 3, 9), nn.Linear(9, 3), SERIES),
    "steps cut in pieces": (nn.Linear(TIME, 27), lambda z: z.view(B, 27, 9), nn.Linear(9, 3), SERIES),
    "words in windows": (nn.Embedding(50, 8), lambda z: z.view(B, 8, 16), gru(16), WORDS),
    "channels last": (
        conv(),
        lambda z: z.permute(0, 2, 3, 1).reshape(B, FREQUENCIES, TIME * C),
        gru(TIME * C),
        SPECTROGRAM,
    ),
    "inputs by row": (nn.Identity(), lambda x: x.view(B, FREQUENCIES, TIME), gru(TIME), SPECTROGRAM),
    "inputs transposed": (nn.Identity(), lambda x: x.transpose(1, 2).contiguous(), gru(9), SERIES),
    "inputs flat": (nn.Identity(), lambda x: x.view(B, -1), nn.Linear(9 * TIME, 3), SERIES),
    "relative positions": (nn.Linear(TIME, 4), lambda z: z, nn.Sequential(Shifted(), nn.Linear(9, 3)), SERIES),
    "one number a place": (conv(), lambda z: z.mean(dim=1), nn.Linear(TIME, 3), SPECTROGRAM),
}


def kind_of(model: nn.Module, x: Tensor) -> str | None:
    y = torch.linspace(-1, 1, B)
    graph = facts_of(model, (x, y), loss_fn=lambda a, b: F.mse_loss(a.reshape(B, -1).mean(dim=1), b)).graph
    assert graph is not None
    return graph.heads.kind if graph.heads is not None else None


def watched(model: nn.Module, x: Tensor) -> list[str]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            loss = (model(x).reshape(B, -1).mean(dim=1) - torch.linspace(-1, 1, B)).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return [f.code for f in monitor.diagnose().findings]


@pytest.mark.parametrize("name", MISREAD)
def test_places_that_a_view_misreads(name: str) -> None:
    *parts, x = MISREAD[name]
    model = Net(*parts)
    assert kind_of(model, x) == "places"
    assert "misread_heads.frames" in watched(model, x)


@pytest.mark.parametrize("name", SOUND)
def test_views_that_are_right(name: str) -> None:
    *parts, x = SOUND[name]
    model = Net(*parts)
    assert kind_of(model, x) is None
    assert "misread_heads.frames" not in watched(model, x)


def test_both_sides_of_a_distance_may_be_viewed() -> None:
    x = torch.randn(B, 1, FREQUENCIES, TIME)
    out = conv()(x)
    assert misread_places((out.view(B, TIME, WIDE) - torch.zeros(B, TIME, WIDE)).square().mean().grad_fn) is None


def test_check_names_the_view_and_the_permute_that_mends_it() -> None:
    *parts, x = MISREAD["frames of a map"]
    model = Net(*parts)
    optimizer = torch.optim.Adam(model.parameters())
    found = check(model, [(x, torch.linspace(-1, 1, B))] * 4, F.mse_loss, optimizer, rehearse_seconds=None).findings
    (told,) = [f for f in found if f.code == "misread_heads.frames"]
    assert told.severity == "warning"
    assert "x.permute(0, 3, 1, 2) before it, which gives (6, 14, 4, 5), then .reshape(len(x), 14, 20)" in (told.remedy or "")


class StepsFirst(nn.Module):
    """A recurrent layer without batch_first, or attention, over what a function makes of (batch, steps, features)."""

    def __init__(self, bring: Callable[[Tensor], Tensor], layer: nn.Module) -> None:
        super().__init__()
        self.bring, self.layer, self.last = bring, layer, nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.bring(x)
        out, _ = self.layer(z, z, z) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(z)
        return self.last(out).mean(dim=0)


@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM, nn.MultiheadAttention])
@pytest.mark.parametrize(
    ("bring", "is_misread"),
    [
        (lambda x: x.view(TIME, len(x), 8), True),
        (lambda x: x.reshape(x.shape[1], -1, 8), True),
        (lambda x: x.transpose(0, 1), False),
        (lambda x: x.transpose(0, 1).contiguous(), False),
        (lambda x: x.permute(1, 0, 2).clone(), False),
    ],
)
def test_steps_that_a_view_brings_to_the_front(
    bring: Callable[[Tensor], Tensor], is_misread: bool, layer: type[nn.Module]
) -> None:
    model = StepsFirst(bring, layer(8, 2) if layer is nn.MultiheadAttention else layer(8, 8))
    x = torch.randn(B, TIME, 8)
    assert kind_of(model, x) == ("steps" if is_misread else None)
    assert ("misread_heads.steps" in watched(model, x)) == is_misread


def test_examples_that_are_given_steps_first_are_left_alone() -> None:
    x = torch.randn(TIME, B, 8)
    model = StepsFirst(lambda x: x, nn.GRU(8, 8))
    facts = facts_of(model, (x, torch.randn(B, 1)), loss_fn=F.mse_loss)
    assert facts.graph is not None
    assert facts.graph.heads is None
