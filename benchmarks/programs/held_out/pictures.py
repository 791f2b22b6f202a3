"""Coloured shapes into five classes: residual nets with group norm, depthwise convolutions, a mixer, a transformer."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, DECAYED, LARGE, LOUD
from programs.program import Data, Loop, Program, accuracy, but, class_score, drawn, ending, fault

CLASSES = 5


@functools.cache
def shapes(train: bool) -> Data:
    """Noisy images (n, 3, 12, 12) of a disc, ring, square, cross or saltire in one colour, and which of the five."""
    rng = torch.Generator().manual_seed(100 if train else 101)
    n = 1200 if train else 400
    label = torch.randint(CLASSES, (n,), generator=rng)
    centre = 4.5 + 2 * torch.rand(n, 2, 1, 1, generator=rng)
    size = 2.6 + 1.2 * torch.rand(n, 1, 1, generator=rng)
    ys, xs = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    dy, dx = (ys - centre[:, 0]).abs(), (xs - centre[:, 1]).abs()
    far, near, d = torch.maximum(dy, dx), torch.minimum(dy, dx), (dy**2 + dx**2).sqrt()
    saltire = ((dy - dx).abs() < 0.9) & (far < size)
    kinds = torch.stack([d < size, (d - size).abs() < 0.8, far < 0.85 * size, (near < 0.8) & (far < size), saltire], dim=1)
    ink = kinds[torch.arange(n), label].float()[:, None]
    colour = 0.4 + 0.6 * torch.rand(n, 3, 1, 1, generator=rng)
    ground = 0.3 * torch.rand(n, 3, 1, 1, generator=rng)
    x = ground + ink * (colour - ground) + 0.1 * torch.randn(n, 3, 12, 12, generator=rng)
    return (x - 0.3) / 0.3, label


class GroupResidual(nn.Module):
    """Pre-activation residual blocks with group norm; `groups` of the last norm, which stands behind the average."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1)),
                *(nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1)),
            )
            for _ in range(2)
        )
        self.pool, self.norm, self.head = nn.AdaptiveAvgPool2d(1), last or nn.Identity(), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 12, 12) to logits (n, 5)."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(self.pool(x)).flatten(1))


def depthwise(momentum: float = 0.1) -> nn.Sequential:
    """Depthwise and pointwise convolutions with batch norm, the first norm on the image itself."""

    def layer(a: int, b: int, stride: int) -> list[nn.Module]:
        return [
            *(nn.Conv2d(a, a, 3, stride, 1, groups=a, bias=False), nn.BatchNorm2d(a, momentum=momentum), nn.ReLU6()),
            *(nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b, momentum=momentum), nn.ReLU6()),
        ]

    stem = [nn.BatchNorm2d(3, momentum=momentum), nn.Conv2d(3, 16, 3, padding=1)]
    return nn.Sequential(
        *stem, *layer(16, 24, 2), *layer(24, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES)
    )


class Mixer(nn.Module):
    """Patches of 3x3, mixed over places and over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 24, 3, stride=3)
        self.places = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2))
        self.channels = nn.ModuleList(nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24)) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(5))
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 12, 12) to logits (n, 5)."""
        x = self.patch(x).flatten(2).mT
        for i, (place, channel) in enumerate(zip(self.places, self.channels, strict=True)):
            x = x + place(self.norms[2 * i](x).mT).mT
            x = x + channel(self.norms[2 * i + 1](x))
        return self.head(self.norms[4](x).mean(dim=1))


class Tokened(nn.Module):
    """A transformer that reads the class from a token of its own."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 3, stride=3)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, 32)), nn.Parameter(0.02 * torch.randn(1, 17, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, "gelu", batch_first=batch_first, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 12, 12) to logits (n, 5)."""
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).mT], dim=1)
        return self.head(self.norm(self.blocks(x + self.place)[:, 0]))


def plain() -> nn.Sequential:
    """Five convolutions without norm, ELU between."""
    wide = [m for _ in range(3) for m in (nn.Conv2d(16, 16, 3, padding=1), nn.ELU())]
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ELU(), *wide),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(144, 32), nn.ELU(), nn.Linear(32, CLASSES)),
    )


def lipschitz() -> nn.Sequential:
    """Convolutions with spectral norm, and a linear layer with weight norm."""
    norm = nn.utils.parametrizations
    return nn.Sequential(
        *(norm.spectral_norm(nn.Conv2d(3, 16, 3, 2, 1)), nn.LeakyReLU(0.1)),
        *(norm.spectral_norm(nn.Conv2d(16, 32, 3, 2, 1)), nn.LeakyReLU(0.1)),
        *(nn.Flatten(), norm.weight_norm(nn.Linear(288, 32)), nn.LeakyReLU(0.1), nn.Linear(32, CLASSES)),
    )


def uniform(module: nn.Module) -> None:
    """`nn.init.uniform_` with its default of 0 to 1."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.uniform_(module.weight)


def accumulates(*, parts: int = 4, divides: bool = True, stops_at: int | None = None):
    """A step for every `parts` micro-batches; or only when the count reaches `stops_at`, which counts from 0."""

    def body(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
        model.train()
        total = torch.zeros(())
        optimizer.zero_grad()
        for i, (x, y) in enumerate(zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True)):
            loss = loop.loss_of(model, (x, y))
            (loss / parts if divides else loss).backward()
            total = total + loss.detach() / parts
            if i + 1 == parts:
                loop.seen(total)
            if i == (parts - 1 if stops_at is None else stops_at):
                optimizer.step()
        return total

    return body


def number_again(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """The loss is made a tensor again from its number, so that backward reaches nothing."""
    model.train()
    optimizer.zero_grad()
    loss = torch.tensor(loop.loss_of(model, batch).item(), requires_grad=True)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def mixes(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Mixup: two images and their labels at a time, by a share of Beta(0.4, 0.4)."""
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    other = torch.randperm(len(batch[0]))
    output = model(share * batch[0] + (1 - share) * batch[0][other])
    return share * F.cross_entropy(output, batch[1]) + (1 - share) * F.cross_entropy(output, batch[1][other])


def _rare(train: bool) -> Data:
    """Two of five classes are a tenth as frequent as the others."""
    x, y = shapes(train)
    kept = (y < 3) | (torch.arange(len(y)) % 10 == 0) if train else torch.ones(len(y), dtype=torch.bool)
    return x[kept], y[kept]


def _file_order(train: bool) -> Data:
    """Images sorted by name, labels in the order of the index."""
    x, y = shapes(train)
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(102))]


def _bytes(train: bool) -> Data:
    x, y = shapes(train)
    return 255 * (0.3 * x + 0.3).clamp(0, 1), y


def _warm_up(length: int):
    return lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / length))


RESIDUAL = Program(
    model=GroupResidual,
    train=lambda: shapes(True),
    held_out=lambda: shapes(False),
    score=class_score,
    loss=F.cross_entropy,
    optimizer=torch.optim.SGD,
    options={"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 300),
    metric=accuracy,
    steps=300,
)
DEPTHWISE = but(RESIDUAL, model=depthwise, optimizer=torch.optim.RMSprop, options={"lr": 2e-3}, scheduler=None)
BYTES = but(DEPTHWISE, train=lambda: _bytes(True), held_out=lambda: _bytes(False))
MIXER = but(RESIDUAL, model=Mixer, optimizer=torch.optim.AdamW, options={"lr": 4e-3, "weight_decay": 0.05}, clip=1.0)
VIT = but(MIXER, model=Tokened, options={"lr": 2e-3}, scheduler=_warm_up(40), clip=None, steps=400)
PLAIN = but(RESIDUAL, model=plain, options={"lr": 0.03, "momentum": 0.9}, scheduler=None)
MICRO = but(PLAIN, body=accumulates())

SOUND = {
    "group-norm residual": RESIDUAL,
    "depthwise separable": DEPTHWISE,
    "depthwise on bytes behind a norm": BYTES,
    "mlp-mixer": MIXER,
    "class token with warm-up": VIT,
    "elu without norm": PLAIN,
    "elu in micro-batches": MICRO,
    "spectral and weight norm": but(RESIDUAL, model=lipschitz, optimizer=torch.optim.Adam, options={"lr": 3e-3}),
    "mixup": but(RESIDUAL, loss=None, training_step=mixes, metric=None),
    "rare shapes weighted": but(
        RESIDUAL, train=lambda: _rare(True), loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 1, 5, 5]))
    ),
}

FAULTS = {
    "convolutions drawn from 0 to 1": fault(
        PLAIN, "nn.init.uniform_(weight) with its default range", f"{LOUD} identical_units", model=drawn(plain, uniform)
    ),
    "norm of a single number": fault(
        RESIDUAL,
        "GroupNorm with a group per channel behind the global average: every output is its bias",
        "constant_output flat_loss",
        model=lambda: GroupResidual(nn.GroupNorm(16, 16)),
    ),
    "sgd's rate under adamw": fault(
        MIXER, "lr=3 is kept when SGD becomes AdamW", LARGE, options={"lr": 3.0, "weight_decay": 0.05}
    ),
    "statistics that stand still": fault(
        BYTES,
        "BatchNorm2d(momentum=0.0): evaluation normalises by 0 and 1",
        "confirmed_change.norm_usual evaluation_path",
        model=lambda: depthwise(0.0),
    ),
    "patches attend across the batch": fault(
        VIT,
        "batch_first is not given to the encoder",
        "batch_leakage confirmed_change.batch_first",
        model=lambda: Tokened(batch_first=False),
    ),
    "micro-batches never reach the step": fault(
        MICRO, "`if i == accumulation` where i ends one below", "never_steps", body=accumulates(stops_at=4)
    ),
    "micro-batches not divided": fault(
        MICRO,
        "gradients of 16 micro-batches are added, the loss is not divided by 16",
        f"{LARGE} sum_for_mean confirmed_change.mean_for_sum",
        body=accumulates(parts=16, divides=False),
    ),
    "loss made from its own number": fault(RESIDUAL, "torch.tensor(loss.item(), requires_grad=True)", CUT, body=number_again),
    "decay of 30 in adamw": fault(MIXER, "weight_decay=30 in AdamW", DECAYED, options={"lr": 4e-3, "weight_decay": 30.0}),
    "validation labels in file order": fault(
        RESIDUAL,
        "validation images are sorted by name, their labels are not",
        "validation_labels",
        validation=lambda: _file_order(False),
    ),
    "warm-up counted in epochs": fault(
        VIT,
        "warm-up of 100,000 steps, the whole run has 400",
        "lr_schedule slow_start update_ratio.small plateau.small_steps zero_rate",
        scheduler=_warm_up(100_000),
    ),
    "relu on five logits": fault(
        PLAIN,
        "nn.ReLU ends the model, whose last biases start at -1",
        "clamped_logits dead_units confirmed_change.last_activation_off",
        model=ending(lambda: _sunk(plain()), nn.ReLU()),
    ),
}


def _sunk(model: nn.Sequential) -> nn.Sequential:
    nn.init.constant_(model[-1].get_parameter("bias"), -1.0)
    return model
