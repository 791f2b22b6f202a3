"""Images and points made from noise or codes: convolutional VAE, diffusion, a flow, masked images."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import raw_digits
from programs.program import Data, Loop, Program, but, fault

STEPS = 50


def unit(train: bool) -> Data:
    """Digits (n, 1, 8, 8) with pixels of 0 to 1."""
    return (raw_digits(train)[0] / 16,)


@functools.cache
def spiral(train: bool) -> Data:
    """Points (n, 2) along two turns of a spiral, of variance about 1."""
    rng = torch.Generator().manual_seed(190 if train else 191)
    along = 0.15 + 0.85 * torch.rand(1500 if train else 500, generator=rng)
    points = torch.stack([along * torch.cos(9 * along), along * torch.sin(9 * along)], dim=1)
    return ((points + 0.03 * torch.randn(len(along), 2, generator=rng)) / 0.45,)


class ConvVAE(nn.Module):
    """Strided convolutions to mean and log-variance, transposed ones back."""

    def __init__(self, *, draws: str = "rsample") -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 12, 4, 2, 1), nn.ELU(), nn.Conv2d(12, 24, 4, 2, 1), nn.ELU(), nn.Flatten())
        self.code, self.up = nn.Linear(96, 16), nn.Linear(8, 96)
        self.back = nn.Sequential(nn.ELU(), nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.ELU(), nn.ConvTranspose2d(12, 1, 4, 2, 1))
        self.draws = draws

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (n, 1, 8, 8) to logits of the same shape, mean and log-variance (n, 8)."""
        mean, log_variance = self.code(self.down(x)).chunk(2, dim=1)
        q = torch.distributions.Normal(mean, (0.5 * log_variance).exp(), validate_args=False)
        code = (q.rsample() if self.draws == "rsample" else q.sample()) if self.training else mean
        return self.back(self.up(code).view(-1, 24, 2, 2)), mean, log_variance


def bound(weight: float = 0.3, *, squashed: bool = False, sign: float = 1.0):
    """Binary cross-entropy of the pixels, summed, and the weighed divergence."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        x = batch[0]
        logits, mean, log_variance = model(x)
        logits = logits.sigmoid() if squashed else logits
        restored = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(x)
        return sign * (restored + weight * divergence)

    return step


def _scaled_loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return 1e-5 * bound()(model, batch)


def restored(model: nn.Module, data: Data) -> float:
    """Share of the variance around the mean image that is restored."""
    output = model(data[0])[0].sigmoid()
    return 1 - float(F.mse_loss(output, data[0]) / (data[0] - data[0].mean(dim=0)).square().mean())


class Noise(nn.Module):
    """The noise in a point, from the point and how far it is on its way."""

    def __init__(self, *, time: str = "waves") -> None:
        super().__init__()
        width = {"waves": 16, "raw": 1}[time]
        self.time = time
        self.first = nn.Linear(2 + width, 64)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Points (n, 2) and steps (n,) to noise (n, 2)."""
        pitch = t[:, None] * torch.exp(-torch.arange(8) * 0.5)
        told = torch.cat([pitch.sin(), pitch.cos()], dim=1) if self.time == "waves" else 1e6 * t[:, None].float()
        return self.body(self.first(torch.cat([x, told], dim=1)))


def _kept(t: Tensor) -> Tensor:
    """Share of the signal's variance that is left at a step."""
    return torch.cos(0.5 * math.pi * (t + 1) / (STEPS + 1)).square()[:, None]


def predicts(*, sees: str = "noisy"):
    """Squared error of the noise that was added to a point."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        x = batch[0]
        t = torch.randint(STEPS, (len(x),))
        noise = torch.randn_like(x)
        noisy = _kept(t).sqrt() * x + (1 - _kept(t)).sqrt() * noise
        return F.mse_loss(model(noisy if sees == "noisy" else x, t), noise)

    return step


def denoised(model: nn.Module, data: Data) -> float:
    """Share of what can be told of the noise, which is 0.7 of its variance on this spiral."""
    rng = torch.Generator().manual_seed(192)
    x = data[0].repeat(4, 1)
    t = torch.randint(STEPS, (len(x),), generator=rng)
    noise = torch.randn(x.shape, generator=rng)
    noisy = _kept(t).sqrt() * x + (1 - _kept(t)).sqrt() * noise
    return (1 - float(F.mse_loss(model(noisy, t), noise))) / 0.7


class Flow(nn.Module):
    """Affine couplings: points to a normal variable, with the logarithm of the determinant."""

    def __init__(self, *, last: float = 0.0) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2)) for _ in range(6))
        if last:
            for part in self.parts:
                nn.init.normal_(part.get_submodule("2").get_parameter("weight"), 0.0, last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, 2) to (n, 2) and (n,)."""
        total = torch.zeros(len(x))
        for i, part in enumerate(self.parts):
            kept, moved = x[:, i % 2 : i % 2 + 1], x[:, 1 - i % 2 : 2 - i % 2]
            scale, shift = part(kept).chunk(2, dim=1)
            moved = moved * scale.exp() + shift
            x = torch.cat([kept, moved] if i % 2 == 0 else [moved, kept], dim=1)
            total = total + scale[:, 0]
        return x, total


def likelihood(sign: float = 1.0):
    """Mean negative log-likelihood; `sign` of the determinant."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        z, determinant = model(batch[0])
        return (0.5 * z.square().sum(dim=1) + math.log(2 * math.pi) - sign * determinant).mean()

    return step


def likely(model: nn.Module, data: Data) -> float:
    """Gain in nats over one Gaussian, of a nat and a quarter that six couplings find."""
    x = data[0]
    return (float(0.5 * torch.logdet(2 * math.pi * math.e * x.T.cov())) - float(likelihood()(model, [x]))) / 1.25


class Gaps(nn.Module):
    """What a masked half of an image holds, from the other half; tanh inside, layer norm before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 20), nn.Tanh())
        self.decoder = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to the same."""
        return self.decoder(self.encoder(x))


def fills(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Squared error of pixels of which three in ten were hidden."""
    x = batch[0].flatten(1) * 2 - 1
    return F.mse_loss(model(x * (torch.rand_like(x) > 0.3)), x)


def _fills_from_nothing(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Three in ten was meant; what is kept is where the draw is above 3."""
    x = batch[0].flatten(1) * 2 - 1
    return F.mse_loss(model(x * (torch.rand_like(x) > 3.0)), x)


def _filled(model: nn.Module, data: Data) -> float:
    x = data[0].flatten(1) * 2 - 1
    return 1 - float(F.mse_loss(model(x), x) / (x - x.mean(dim=0)).square().mean())


def _steps_the_other(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """A second optimizer is made for every step, over a copy of the weights."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    copies = [p.detach().clone() for p in model.parameters()]
    for copy, parameter in zip(copies, model.parameters(), strict=True):
        copy.grad = parameter.grad
    torch.optim.Adam(copies, lr=2e-3).step()
    return loss


CONV = Program(
    model=ConvVAE,
    train=lambda: unit(True),
    held_out=lambda: unit(False),
    score=restored,
    training_step=bound(),
    options={"lr": 5e-3},
    batch=48,
    steps=350,
)
NOISE = Program(
    model=Noise,
    train=lambda: spiral(True),
    held_out=lambda: spiral(False),
    score=denoised,
    training_step=predicts(),
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3},
    batch=128,
    steps=500,
)
FLOW = but(NOISE, model=Flow, training_step=likelihood(), score=likely, options={"lr": 5e-3}, steps=500)
GAPS = but(CONV, model=Gaps, training_step=fills, score=_filled, optimizer=torch.optim.RMSprop, options={"lr": 2e-3})

SOUND = {
    "convolutional vae": CONV,
    "convolutional vae of great weight": but(CONV, training_step=bound(1.0)),
    "diffusion": NOISE,
    "flow": FLOW,
    "filled gaps": GAPS,
}

FAULTS = {
    "pixels through sigmoid twice": fault(
        CONV,
        "sigmoid in the step, and in the loss with logits",
        "softmax_twice capped_loss",
        training_step=bound(squashed=True),
    ),
    "code by sample for rsample": fault(
        CONV,
        "Normal.sample() carries no gradient to the encoder",
        "unreached_parameter.detached",
        model=lambda: ConvVAE(draws="sample"),
    ),
    "bound is maximised": fault(
        CONV, "the loss is minus the bound's negative", "wrong_sign loss_below_floor", training_step=bound(sign=-1.0)
    ),
    "loss scaled to nothing under sgd": fault(
        but(CONV, optimizer=torch.optim.SGD, options={"lr": 0.01, "momentum": 0.9}, clip=10.0),
        "the loss is divided by 100,000",
        "vanishing_gradient update_ratio.small plateau.small_steps slow_start loss_divided",
        training_step=_scaled_loss,
    ),
    "clean points are shown": fault(
        NOISE,
        "the model is given the point without its noise",
        "shuffled_labels constant_as_good",
        training_step=predicts(sees="clean"),
    ),
    "steps in microseconds": fault(
        NOISE, "the time goes in as a number up to 5e7", "input_scale gain_budget_high.input", model=lambda: Noise(time="raw")
    ),
    "determinant of the wrong sign": fault(
        FLOW, "plus the determinant", "wrong_sign loss_below_floor", training_step=likelihood(-1.0)
    ),
    "couplings drawn from N(0, 5)": fault(
        FLOW,
        "the last layer of each coupling is drawn from N(0, 5), under an exponential",
        "gain_budget_high loss_at_start not_finite exploding_gradient",
        model=lambda: Flow(last=5.0),
    ),
    "mask hides everything": fault(
        GAPS, "rand > 3.0 for rand > 0.3", "constant_input untrained_parameter.zero_input", training_step=_fills_from_nothing
    ),
    "optimizer over copies": fault(
        GAPS,
        "the optimizer in the loop holds copies of the weights",
        "never_steps foreign_optimizer unmoved_parameter.with_gradient",
        body=_steps_the_other,
    ),
}
