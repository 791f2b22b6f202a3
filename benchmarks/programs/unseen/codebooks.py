"""Small patterns from a grid of words: an autoencoder whose codes are the nearest of a learned table, straight through."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, LOUD, OUTSIDE
from programs.program import Data, Program, but, fault
from programs.unseen.causes import CLAMPED, DETACHED, SAME, SATURATED, SUMMED

SIDE, WORDS, WIDTH = 16, 48, 8


@functools.cache
def patterns(train: bool) -> Data:
    """Images (n, 1, 16, 16) of four by four tiles, each one of eight strokes, standardised."""
    rng = torch.Generator().manual_seed(310 if train else 311)
    n = 800 if train else 200
    strokes = torch.zeros(8, 4, 4)
    for i in range(4):
        strokes[0, i, i] = strokes[1, i, 3 - i] = strokes[2, 1, i] = strokes[3, i, 1] = 1.0
    strokes[4, 1:3, 1:3] = strokes[5, 0] = strokes[5, :, 0] = strokes[6] = 1.0
    tiles = strokes[torch.randint(0, 8, (n, 4, 4), generator=rng)]
    images = tiles.permute(0, 1, 3, 2, 4).reshape(n, 1, SIDE, SIDE)
    return ((images + 0.1 * torch.randn(n, 1, SIDE, SIDE, generator=rng) - 0.38) / 0.49,)


class Quantised(nn.Module):
    """Encoder to 4 x 4 codes, the nearest words of a table, decoder; returns the image and what codes and words cost."""

    def __init__(
        self,
        *,
        spread: float = 0.5,
        through: bool = True,
        last: nn.Module | None = None,
        active: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            *(nn.Conv2d(1, 24, 4, stride=2, padding=1), active(), nn.Conv2d(24, 24, 4, stride=2, padding=1), active()),
            nn.Conv2d(24, WIDTH, 1),
        )
        self.decode = nn.Sequential(
            *(nn.Conv2d(WIDTH, 24, 3, padding=1), active(), nn.ConvTranspose2d(24, 24, 4, stride=2, padding=1), active()),
            *(nn.ConvTranspose2d(24, 1, 4, stride=2, padding=1), *([last] if last else [])),
        )
        table = spread * torch.randn(WORDS, WIDTH)
        self.table = nn.Parameter(table)
        self.through = through

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, 16, 16) to the same and a cost."""
        code = self.encode(x).permute(0, 2, 3, 1)
        nearest = (code[..., None, :] - self.table).square().sum(dim=-1).argmin(dim=-1)
        word = self.table[nearest]
        cost = 0.25 * F.mse_loss(code, word.detach())
        cost = cost + F.mse_loss(word, code.detach())
        word = code + (word - code).detach() if self.through else word.detach()
        return self.decode(word.permute(0, 3, 1, 2)), cost


class Gumbel(nn.Module):
    """Soft words: a relaxed draw while it trains, the likeliest word in eval mode."""

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        plain = Quantised()
        self.encode, self.logits, self.decode = plain.encode, nn.Conv2d(WIDTH, WORDS, 1), plain.decode
        self.table, self.temperature = nn.Parameter(torch.randn(WORDS, WIDTH)), temperature

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, 16, 16) to the same and a cost of 0."""
        logits = self.logits(self.encode(x)).permute(0, 2, 3, 1)
        if self.training:
            share = F.gumbel_softmax(logits, tau=self.temperature)
        else:
            share = F.one_hot(logits.argmax(dim=-1), WORDS).float()
        return self.decode((share @ self.table).permute(0, 3, 1, 2)), x.new_zeros(())


def rebuilt(model: nn.Module, batch: Data, *, reduction: str = "mean", against: str = "image") -> Tensor:
    """Squared error of the image, and the cost of the codes."""
    image, cost = model(batch[0])
    target = batch[0] if against == "image" else batch[0].roll(1, dims=0)
    return F.mse_loss(image, target, reduction=reduction) + cost


def explained_pixels(model: nn.Module, data: Data) -> float:
    """Share of the variance of the pixels, over 0.95, about what noise leaves."""
    return (1 - float(F.mse_loss(model(data[0])[0], data[0]) / data[0].var(correction=0))) / 0.95


CODES = Program(
    model=Quantised,
    train=lambda: patterns(True),
    held_out=lambda: patterns(False),
    score=explained_pixels,
    training_step=rebuilt,
    options={"lr": 3e-3, "betas": (0.9, 0.99)},
    steps=300,
)
STEADY = but(CODES, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9}, clip=1.0, steps=400)
SOFT = but(CODES, model=Gumbel)

SOUND = {
    "codebook": CODES,
    "codebook under sgd": STEADY,
    "codebook by soft words": SOFT,
    "codebook that stays as drawn": but(CODES, trained=lambda model: [*model.encode.parameters(), *model.decode.parameters()]),
}

FAULTS = {
    "not straight through": fault(
        CODES,
        "the decoder gets words, through which nothing reaches the encoder",
        DETACHED,
        model=lambda: Quantised(through=False),
    ),
    "words far from all codes": fault(
        CODES,
        "words are drawn from N(0, 50^2): one of them is nearest to all",
        f"{LOUD} {SAME} dead_units",
        model=lambda: Quantised(spread=50.0),
    ),
    "patterns through sigmoid": fault(
        CODES,
        "the decoder ends in sigmoid, pixels are standardised",
        f"{CLAMPED} unreachable_target",
        model=lambda: Quantised(last=nn.Sigmoid()),
    ),
    "pixels summed": fault(
        STEADY,
        "the sum over pixels and images, at the rate of the mean, unclipped",
        f"{SUMMED} {LARGE}",
        training_step=lambda model, batch: rebuilt(model, batch, reduction="sum"),
        clip=None,
    ),
    "decoder left out of the optimizer": fault(
        STEADY,
        "encoder and table are given to the optimizer",
        OUTSIDE,
        trained=lambda model: [*model.encode.parameters(), model.table],
    ),
    "autoencoder of sigmoids": fault(
        STEADY, "sigmoid in every layer", f"{SATURATED} {SAME} gain_budget_low", model=lambda: Quantised(active=nn.Sigmoid)
    ),
    "patterns of the neighbour": fault(
        CODES,
        "the target is the image before in the batch",
        "shuffled_labels",
        training_step=lambda model, batch: rebuilt(model, batch, against="neighbour"),
    ),
}
