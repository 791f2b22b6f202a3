"""Who is speaking: frames through time-delay layers and statistics over time, trained by an angular margin."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ExponentialLR

from programs.held_out.causes import LARGE, OUTSIDE, QUIET
from programs.program import Data, Loop, Program, accuracy, but, class_score, fault
from programs.unseen.causes import MODES, SAME, SATURATED, TWICE, UNSCALED

SPEAKERS, FRAMES, BANDS = 12, 40, 16


@functools.cache
def utterances(train: bool) -> Data:
    """Log energies (n, 40, 16) of what each of 12 speakers says, normalised, and who it is."""
    fixed = torch.Generator().manual_seed(11)
    mixing = 0.5 * torch.randn(SPEAKERS, 6, BANDS, generator=fixed) + 0.5 * torch.randn(6, BANDS, generator=fixed)
    offset = 0.25 * torch.randn(SPEAKERS, BANDS, generator=fixed)
    rng = torch.Generator().manual_seed(250 if train else 251)
    n = 1200 if train else 360
    who = torch.randint(0, SPEAKERS, (n,), generator=rng)
    phones = torch.randint(0, 6, (n, FRAMES), generator=rng)
    x = mixing[who[:, None], phones] + offset[who][:, None]
    x = x + 0.5 * torch.randn(n, FRAMES, BANDS, generator=rng) + 0.3 * torch.randn(n, 1, BANDS, generator=rng)
    return x, who


class Voice(nn.Module):
    """Time-delay layers, mean and spread over time, an embedding, and cosines to one vector per speaker."""

    def __init__(
        self,
        *,
        width: int = 32,
        about_batch: bool = False,
        norm: bool = True,
        active: type[nn.Module] = nn.LeakyReLU,
        layers: int = 3,
    ) -> None:
        super().__init__()
        frames: list[nn.Module] = []
        for i in range(layers):
            frames += [nn.Conv1d(width if i else BANDS, width, 3, dilation=1 + i % 2, padding=1 + i % 2), active()]
            frames += [nn.BatchNorm1d(width)] if norm else []
        self.frames, self.about_batch = nn.Sequential(*frames), about_batch
        self.embed = nn.Linear(2 * width, 24)
        self.who = nn.Parameter(torch.randn(SPEAKERS, 24))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 40, 16) to cosines (n, 12)."""
        h = self.frames(x.transpose(1, 2))
        h = self.embed(torch.cat([h.mean(dim=2), (h.var(dim=2) + 1e-5).sqrt()], dim=1))
        h = (h - h.mean(dim=0)) / (h.std(dim=0, correction=0) + 1e-5) if self.about_batch else h
        return F.normalize(h, dim=1) @ F.normalize(self.who, dim=1).T


class Attending(nn.Module):
    """A learned query pools frames that a GRU has read; plain logits."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.attention, self.head = nn.GRU(BANDS, 32, batch_first=True), nn.Linear(32, 1), nn.Linear(32, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 40, 16) to logits (n, 12)."""
        h = self.gru(x)[0]
        return self.head((self.attention(h).softmax(dim=1) * h).sum(dim=1))


def angular(output: Tensor, target: Tensor, *, scale: float = 16.0, margin: float = 0.2) -> Tensor:
    """Cross-entropy of scaled cosines after the true angle has grown by a margin; ArcFace."""
    angle = output.clamp(-1 + 1e-6, 1 - 1e-6).acos()
    true = F.one_hot(target, SPEAKERS) > 0
    return F.cross_entropy(scale * torch.where(true, (angle + margin).cos(), output), target)


def additive(output: Tensor, target: Tensor) -> Tensor:
    """The margin taken off the cosine itself; CosFace, at a scale of 30."""
    return F.cross_entropy(30 * (output - 0.3 * F.one_hot(target, SPEAKERS)), target)


def unscaled(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the cosines as they are."""
    return F.cross_entropy(output, target)


def singly(model: nn.Module, data: Data) -> float:
    """`class_score` where utterances come one at a time, as they do in use."""
    return class_score(lambda x: torch.cat([model(one[None]) for one in x]), data)


def _decibels(train: bool) -> Data:
    x, y = utterances(train)
    return 12 * x - 70, y


def _restored(train: bool) -> Data:
    """Utterances that were shorter than the window are padded with log 0."""
    x, y = utterances(train)
    x = x.clone()
    x[::9, -4:] = float("-inf")
    return x, y


def _evaluates_amid(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """Only the head is put in training mode."""
    model.eval()
    model.get_submodule("embed").train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


VOICE = Program(
    model=Voice,
    train=lambda: utterances(True),
    held_out=lambda: utterances(False),
    score=singly,
    loss=angular,
    metric=accuracy,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
    scheduler=lambda optimizer: ExponentialLR(optimizer, 0.995),
    batch=48,
    steps=220,
)
BARE = but(VOICE, model=lambda: Voice(norm=False), options={"lr": 0.02, "momentum": 0.9}, scheduler=None, steps=300)
ATTENDED = but(VOICE, model=Attending, loss=F.cross_entropy, optimizer=torch.optim.RAdam, options={"lr": 4e-3}, scheduler=None)

SOUND = {
    "voices": VOICE,
    "voices without a norm": BARE,
    "voices by a margin of cosines": but(VOICE, loss=additive),
    "voices attended": ATTENDED,
    "voices with proxies held still": but(VOICE, trained=lambda model: [p for n, p in model.named_parameters() if n != "who"]),
}

FAULTS = {
    "cosines without a scale": fault(
        BARE,
        "cosines of at most 1 go into cross-entropy",
        "capped_loss unreachable_target loss_at_start slow_start",
        loss=unscaled,
    ),
    "voices about the mean of the batch": fault(
        VOICE, "embeddings are standardised over the batch, also in use", "batch_leakage", model=lambda: Voice(about_batch=True)
    ),
    "energies in decibels": fault(
        BARE, "decibels of -70 +- 12", UNSCALED, train=lambda: _decibels(True), held_out=lambda: _decibels(False)
    ),
    "padding of log 0": fault(
        VOICE, "short ones are padded with minus infinity", "not_finite_data not_finite", train=lambda: _restored(True)
    ),
    "frames in eval mode": fault(VOICE, "batch norm stays in eval mode", MODES, body=_evaluates_amid),
    "six layers of sigmoid": fault(
        BARE,
        "sigmoid in six layers with no norm",
        f"{SATURATED} {QUIET} {SAME}",
        model=lambda: Voice(norm=False, active=nn.Sigmoid, layers=6),
    ),
    "attended voices through softmax": fault(
        ATTENDED, "softmax behind the head", TWICE, model=lambda: nn.Sequential(Attending(), nn.Softmax(dim=1))
    ),
    "voices at a rate of five": fault(BARE, "rate 5 for 0.02", LARGE, options={"lr": 5.0, "momentum": 0.9}),
    "only the proxies": fault(BARE, "only the vectors of speakers are trained", OUTSIDE, trained=lambda model: [model.who]),
}
