"""Several notes of a chord at once, from its waveform: one-dimensional convolutions and a recurrent net."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import QUIET, REDRAWN, STALE
from programs.program import Data, Loop, Program, but, fault

NOTES, LENGTH = 5, 64


@functools.cache
def chords(train: bool) -> Data:
    """Waveforms (n, 1, 64) of mean square about 1, and which of five notes sound in each, (n, 5)."""
    rng = torch.Generator().manual_seed(130 if train else 131)
    n = 900 if train else 300
    on = (torch.rand(n, NOTES, generator=rng) < 0.4).float()
    pitch = torch.tensor([0.2, 0.45, 0.8, 1.3, 2.0])[None, :, None]
    phase = 6.3 * torch.rand(n, NOTES, 1, generator=rng)
    wave = (on[:, :, None] * torch.sin(pitch * torch.arange(LENGTH) + phase)).sum(dim=1, keepdim=True)
    return wave + 0.2 * torch.randn(n, 1, LENGTH, generator=rng), on


def listener(last: nn.Module | None = None, *, active: Callable[[], nn.Module] = nn.Mish) -> nn.Sequential:
    """Two strided convolutions with wide kernels, the mean of squares over time, and five logits."""
    return nn.Sequential(
        *(nn.Conv1d(1, 16, 15, stride=2), active(), nn.Conv1d(16, 24, 7, stride=2), active()),
        *(nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, NOTES), *([last] if last else [])),
    )


def tower(depth: int = 6, *, drop: float = 0.0, std: float | None = None) -> nn.Sequential:
    """Many dilated convolutions with ReLU, He's weights or N(0, std), zero biases."""
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 5, padding=2), nn.ReLU()]
    for i in range(depth):
        layers += [nn.Conv1d(16, 16, 3, dilation=2 ** (i % 3), padding=2 ** (i % 3)), nn.ReLU(), nn.Dropout(drop)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, NOTES))
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            if std is None:
                nn.init.kaiming_normal_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.get_parameter("bias"))
    return model


class Heard(nn.Module):
    """A GRU over frames of eight samples, in both directions, with layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.gru = nn.Linear(8, 16), nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, NOTES)

    def forward(self, x: Tensor) -> Tensor:
        """Waveforms (n, 1, 64) to logits (n, 5)."""
        h = self.gru(self.frames(x.view(len(x), -1, 8)))[0]
        return self.head(self.norm(h.amax(dim=1)))


def heard(model: nn.Module, data: Data, threshold: float = 0.0) -> float:
    """Mean over the notes of balanced accuracy, from chance."""
    said, true = model(data[0]) > threshold, data[1] > 0.5
    both = [float(said[true[:, i], i].float().mean() - said[~true[:, i], i].float().mean()) for i in range(NOTES)]
    return sum(both) / NOTES


def asymmetric(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy whose easy silent notes count less."""
    costs = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    return (costs * torch.where(target > 0.5, 1.0, output.sigmoid().square())).mean()


def _samples(train: bool) -> Data:
    """Samples as a sound card gives them, in 16 bits."""
    x, y = chords(train)
    return (x * 6_000).round().clamp(-32_768, 32_767), y


def _late(train: bool) -> Data:
    """Labels of the clip before."""
    x, y = chords(train)
    return x, y.roll(1, dims=0)


def _silence(train: bool) -> Data:
    """Clips that are silent are divided by their own peak, which is 0."""
    x, y = chords(train)
    x = x.clone()
    x[7::120] = 0.0
    return x / x.abs().amax(dim=2, keepdim=True), y


def _keeps(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """zero_grad before the loop only."""
    model.train()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 100.0)
    optimizer.step()
    return loss


NOTE = Program(
    model=listener,
    train=lambda: chords(True),
    held_out=lambda: chords(False),
    score=heard,
    loss=F.binary_cross_entropy_with_logits,
    optimizer=torch.optim.Adamax,
    options={"lr": 0.01},
    steps=300,
)
TOWER = but(NOTE, model=tower, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, steps=400)
GRU = but(NOTE, model=Heard, optimizer=torch.optim.AdamW, options={"lr": 0.01}, clip=1.0)
RAW = but(NOTE, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9})

SOUND = {
    "notes": NOTE,
    "notes asymmetric": but(NOTE, loss=asymmetric),
    "notes by dilated convolutions": TOWER,
    "notes by gru": GRU,
    "notes under plain sgd": RAW,
}

FAULTS = {
    "samples of sixteen bits": fault(
        RAW,
        "samples of -32,768 to 32,767 are not scaled",
        "input_scale gain_budget_high.input confirmed_change.inputs_standard",
        train=lambda: _samples(True),
        held_out=lambda: _samples(False),
    ),
    "labels of the clip before": fault(NOTE, "labels are off by one clip", "shuffled_labels", train=lambda: _late(True)),
    "silent clips divided by their peak": fault(
        NOTE, "silent clips become 0 / 0", "not_finite_data", train=lambda: _silence(True)
    ),
    "notes through softmax": fault(
        NOTE,
        "softmax, then the loss with logits: notes do not exclude each other",
        "softmax_twice capped_loss unreachable_target confirmed_change.softmax_off",
        model=lambda: listener(nn.Softmax(dim=1)),
        score=lambda model, data: heard(model, data, 0.5),
    ),
    "notes without zero_grad": fault(TOWER, "zero_grad stands before the loop", STALE, body=_keeps),
    "tower drawn from N(0, 0.02)": fault(
        TOWER, "N(0, 0.02) in each convolution, as generators of images have it", QUIET, model=lambda: tower(std=0.02)
    ),
    "deep sigmoid tower": fault(
        TOWER,
        "eight convolutions with sigmoid",
        "vanishing_gradient saturation gain_budget_low constant_output confirmed_change.relu",
        model=lambda: listener_of_sigmoids(),
    ),
    "keep probability as dropout": fault(
        TOWER,
        "nn.Dropout is given the share to keep, 0.97",
        "heavy_dropout confirmed_change.dropout_off",
        model=lambda: tower(drop=0.97),
    ),
    "gru of zeros": fault(
        GRU,
        "constant_(p, 0) for every parameter",
        f"identical_units flat_loss gain_budget_low {REDRAWN}",
        model=lambda: _all_zero(Heard()),
    ),
}


def _all_zero(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def listener_of_sigmoids() -> nn.Sequential:
    """The tower with sigmoid for ReLU and default weights."""
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 5, padding=2), nn.Sigmoid()]
    for _ in range(7):
        layers += [nn.Conv1d(16, 16, 3, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, NOTES))
