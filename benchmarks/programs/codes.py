"""Codes: autoencoders, plain, tied and variational, on the digits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, digits, raw_digits
from programs.program import LARGE_STEPS, Program, but, fault


class Auto(nn.Module):
    """Encoder and decoder of two layers each."""

    def __init__(self, *, last: nn.Module | None = None, cut: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 64))
        self.last, self.cut = last or nn.Identity(), cut

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to the same."""
        code = self.encoder(x)
        return self.last(self.decoder(code.detach() if self.cut else code))


class Tied(nn.Module):
    """The decoder's weight is the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(64, 16)
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to the same."""
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.T, self.bias)


class Variational(nn.Module):
    """Mean and log-variance of a code; a draw of it is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (n, 64) to what is decoded, mean and log-variance."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if self.training else mean
        return self.decoder(code), mean, log_variance


def rows(train: bool) -> Data:
    """Rows (n, 64) as inputs and as targets."""
    x = digits(train)[0].flatten(1)
    return x, x


def unit_rows(train: bool) -> Data:
    """The same with pixels of 0 to 1."""
    x = raw_digits(train)[0].flatten(1) / 16
    return x, x


def _bytes(train: bool) -> Data:
    x = raw_digits(train)[0].flatten(1) / 16
    return x, 255 * x


def restored(model: nn.Module, data: Data) -> float:
    """Share of the variance around the mean image that is restored."""
    output = model(data[0])
    output = output[0] if isinstance(output, tuple) else output
    return 1 - float(F.mse_loss(output, data[1]) / (data[1] - data[1].mean(dim=0)).square().mean())


def _elbo(weight: float, sign: float = 1.0):
    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        output, mean, log_variance = model(batch[0])
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1).mean()
        return F.mse_loss(output, batch[1], reduction="sum") / len(output) + sign * weight * divergence

    return step


def _no_backward(model, optimizer, batch, loop) -> Tensor:
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    optimizer.step()
    loop.seen(loss)
    return loss


AUTO = Program(
    model=Auto,
    train=lambda: rows(True),
    held_out=lambda: rows(False),
    score=restored,
    loss=F.mse_loss,
    options={"lr": 5e-3},
    steps=300,
)
UNIT = but(
    AUTO,
    model=lambda: Auto(last=nn.Sigmoid()),
    train=lambda: unit_rows(True),
    held_out=lambda: unit_rows(False),
    loss=F.binary_cross_entropy,
    steps=500,
)
VAE = but(AUTO, model=Variational, loss=None, training_step=_elbo(0.5))

SOUND = {"autoencoder": AUTO, "autoencoder of unit pixels": UNIT, "tied autoencoder": but(AUTO, model=Tied), "variational": VAE}

FAULTS = {
    "relu on standardised pixels": fault(
        but(AUTO, steps=500),
        "nn.ReLU ends a decoder of standardised pixels",
        "unreachable_target capped_loss clamped_logits",
        model=lambda: Auto(last=nn.ReLU()),
    ),
    "bytes under binary cross-entropy": fault(
        UNIT,
        "targets of 0 to 255 under binary cross-entropy with logits",
        "target_scale label_range unreachable_target wrong_sign loss_below_floor",
        model=Auto,
        loss=F.binary_cross_entropy_with_logits,
        train=lambda: _bytes(True),
    ),
    "code detached": fault(
        AUTO, "code.detach() before the decoder", "unreached_parameter.detached", model=lambda: Auto(cut=True)
    ),
    "decoder not in the optimizer": fault(
        AUTO,
        "the optimizer gets the encoder alone",
        "untrained_parameter unmoved_parameter",
        trained=lambda m: m.encoder.parameters(),
    ),
    "divergence weighed by 500": fault(VAE, "the divergence weighs 500 times too much", "", training_step=_elbo(500.0)),
    "divergence of the wrong sign": fault(VAE, "minus the divergence", "wrong_sign", training_step=_elbo(0.5, -1.0)),
    "no backward": fault(AUTO, "loss.backward() is missing", "zero_gradient", body=_no_backward),
    "autoencoder at rate 2": fault(AUTO, "lr=2 under Adam", LARGE_STEPS, options={"lr": 2.0}),
}
