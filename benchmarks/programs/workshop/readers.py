"""Transformers that read: order of two words, tags in three languages, patches of an image, sets of points."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import LEAKS
from programs.held_out.causes import CUT, LARGE, LOUD, QUIET
from programs.program import Data, Program, accuracy, but, class_score, drawn, explained, fault
from programs.unseen.causes import ALIKE, SAME, SATURATED
from programs.workshop.rollouts import tag_score
from programs.workshop.swells import rng_of


@functools.cache
def orders(train: bool) -> Data:
    """Sentences (n, 12) of words from 3 to 19 with a 1 and a 2 among them, and whether the 1 comes first, (n,)."""
    rng = rng_of(5140 if train else 5141)
    n = 1600 if train else 400
    x = torch.randint(3, 20, (n, 12), generator=rng)
    places = torch.rand(n, 12, generator=rng).argsort(dim=1)[:, :2]
    x.scatter_(1, places, torch.tensor([[1, 2]]).expand(n, 2))
    return x, (places[:, 0] < places[:, 1]).long()


@functools.cache
def tongues(train: bool) -> Data:
    """Sentences (n, 14): one of three languages, words, zeros; and each word's tag in it, (n, 14), -100 elsewhere."""
    rng = rng_of(5142 if train else 5143)
    n = 900 if train else 300
    tongue = torch.randint(3, (n, 1), generator=rng)
    words = torch.randint(4, 16, (n, 13), generator=rng)
    table = torch.randint(4, (3, 16), generator=rng_of(5144))
    real = torch.arange(13) < torch.randint(5, 13, (n, 1), generator=rng)
    x = torch.cat((tongue + 1, words * real), dim=1)
    tags = table[tongue, words].masked_fill(~real, -100)
    return x, torch.cat((torch.full((n, 1), -100), tags), dim=1)


@functools.cache
def weaves(train: bool) -> Data:
    """Images (n, 1, 16, 16) of five weaves that begin anywhere, under noise."""
    rng = rng_of(5145 if train else 5146)
    n = 800 if train else 400
    label = torch.randint(5, (n,), generator=rng)
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    ways = torch.stack((row, column, row + column, row - column))
    phase = 6.3 * torch.rand(n, 2, generator=rng)[:, :, None, None]
    single = torch.sin(1.2 * ways[label.clamp(max=3)] + phase[:, 0])
    both = torch.sin(1.2 * row + phase[:, 0]) * torch.sin(1.2 * column + phase[:, 1]) * 1.4
    x = torch.where((label == 4)[:, None, None], both, single) + 0.8 * torch.randn(n, 16, 16, generator=rng)
    return x[:, None], label


@functools.cache
def swarms(train: bool) -> Data:
    """Sets (n, 10, 2) of points and the mean distance of two of them, standardised, (n, 1)."""
    rng = rng_of(5147 if train else 5148)
    n = 900 if train else 300
    x = torch.randn(n, 10, 2, generator=rng) * (0.3 + torch.rand(n, 1, 2, generator=rng))
    distance = torch.cdist(x, x).sum(dim=(1, 2)) / 90
    return x, ((distance - 1.3) / 0.35)[:, None]


class Attention(nn.Module):
    """Heads of dot products, from scratch; `over` is the dimension of the softmax, `merged` how heads are put together."""

    def __init__(self, width: int, heads: int = 4, *, over: int = -1, scaled: bool = True, merged: str = "transposed") -> None:
        super().__init__()
        self.heads, self.over, self.merged = heads, over, merged
        self.scale = (width / heads) ** -0.5 if scaled else 1.0
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, t, width) from (n, s, width); True in the mask is seen."""
        split = [
            layer(part).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, part in ((self.query, x), (self.key, memory), (self.value, memory))
        ]
        scores = split[0] @ split[1].transpose(2, 3) * self.scale
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e9)
        mixed = scores.softmax(dim=self.over) @ split[2]
        if self.merged == "transposed":
            mixed = mixed.transpose(1, 2)
        return self.out(mixed.reshape(x.shape))


class Block(nn.Module):
    """Attention and two linear layers; `norm` is pre, post or none."""

    def __init__(self, width: int, *, norm: str = "pre", residual: bool = True, drop: float = 0.0, **words: Any) -> None:
        super().__init__()
        self.norm, self.residual = norm, residual
        self.attention = Attention(width, **words)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(drop))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm != "none" else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, t, width) to (n, t, width)."""
        keeps = float(self.residual)
        if self.norm == "post":
            x = self.norms[0](keeps * x + self.attention(x, x, mask))
            return self.norms[1](keeps * x + self.mlp(x))
        normal = self.norms[0](x)
        x = keeps * x + self.attention(normal, normal, mask)
        return keeps * x + self.mlp(self.norms[1](x))


def waves(length: int, width: int) -> Tensor:
    """Sines and cosines of positions, (length, width)."""
    angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(100.0) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)


class Orders(nn.Module):
    """nn.TransformerEncoder over words with sines for positions, averaged over the words."""

    def __init__(self, *, places: str = "words") -> None:
        super().__init__()
        self.places = places
        self.words = nn.Embedding(20, 32)
        self.positions = nn.Buffer(waves(512, 32)[:, None])
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 12) to (n, 2)."""
        words = self.words(x)
        if self.places == "words":
            words = words + self.positions[: x.shape[1]].transpose(0, 1)
        else:
            words = words + self.positions[: len(words)]
        return self.head(self.encoder(words).mean(dim=1))


class Tongues(nn.Module):
    """Blocks over a padded sentence, and a tag for each word."""

    def __init__(self, *, real: bool = True, **words: Any) -> None:
        super().__init__()
        self.real = real
        self.words = nn.Embedding(16, 32, padding_idx=0)
        self.blocks = nn.ModuleList(Block(32, **words) for _ in range(2))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 14) to (n, 14, 4)."""
        mask = ((x != 0) == self.real)[:, None, None, :]
        h = self.words(x)
        for block in self.blocks:
            h = block(h, mask)
        return self.head(h)


class Patches(nn.Module):
    """A small ViT: patches of 4 by 4, a class token, learned positions."""

    def __init__(self, *, depth: int = 2, head: nn.Module | None = None, **words: Any) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 4, stride=4)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, 32))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, 32))
        self.blocks = nn.Sequential(*(Block(32, **words) for _ in range(depth)))
        self.head = head if head is not None else nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 5))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 16, 16) to (n, 5)."""
        patches = self.patch(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.token.expand(len(x), -1, -1), patches), dim=1) + self.positions
        return self.head(self.blocks(h)[:, 0])


class Cosine(nn.Module):
    """Cosines between a feature and a weight for each class, times `scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.weight = scale, nn.Parameter(torch.randn(5, 32))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 32) to (n, 5)."""
        return self.scale * F.linear(F.normalize(x), F.normalize(self.weight))


class Swarm(nn.Module):
    """Attention over a set of points, without positions or norm; each also gets its mean distance from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet, self.block = nn.Linear(2, 24), Block(25, heads=5, norm="none")
        self.seed = nn.Parameter(torch.randn(1, 1, 25))
        self.pool, self.out = Attention(25, heads=1), nn.Linear(25, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 10, 2) to (n, 1)."""
        h = self.inlet(x)
        distance = ((h[:, :, None] - h[:, None]).square().sum(dim=3) + 1e-6).sqrt().mean(dim=2, keepdim=True)
        h = self.block(torch.cat((h, distance), dim=2))
        return self.out(self.pool(self.seed.expand(len(x), -1, -1), h)[:, 0])


def tags(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of tags; -100 is left out."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def _loud(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight)


def _two_zeros(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)


ORDERS = Program(
    model=Orders,
    train=lambda: orders(True),
    held_out=lambda: orders(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3, "weight_decay": 0.01},
    clip=1.0,
    steps=300,
)
TONGUES = Program(
    model=Tongues,
    train=lambda: tongues(True),
    held_out=lambda: tongues(False),
    score=tag_score,
    loss=tags,
    options={"lr": 5e-3},
    steps=250,
)
WEAVES = Program(
    model=Patches,
    train=lambda: weaves(True),
    held_out=lambda: weaves(False),
    score=class_score,
    loss=lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 2e-3},
    steps=250,
)
SWARMS = Program(
    model=Swarm,
    train=lambda: swarms(True),
    held_out=lambda: swarms(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 3e-3},
    clip=1.0,
    steps=250,
)

SOUND = {
    "which word comes first": ORDERS,
    "tags in three languages": TONGUES,
    "tags behind post-norm": but(
        TONGUES,
        model=lambda: Tongues(norm="post", drop=0.1),
        scheduler=lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.02, total_iters=50),
    ),
    "weaves in patches": WEAVES,
    "weaves by cosines": but(WEAVES, model=lambda: Patches(head=Cosine(1 / 0.07)), loss=F.cross_entropy),
    "swarms without positions": SWARMS,
}

FAULTS = {
    "sines by row of the batch": fault(
        ORDERS,
        "positions[:x.size(0)] of a layout (t, n): each sentence gets the position of its row, words get none",
        f"{LEAKS} constant_as_good {SAME}",
        model=lambda: Orders(places="rows"),
    ),
    "only padding is seen": fault(
        TONGUES,
        "the padding mask is upside down",
        f"blind ignored_end constant_as_good {SAME}",
        model=lambda: Tongues(real=False),
    ),
    "softmax over the batch": fault(TONGUES, "scores.softmax(dim=0)", LEAKS, model=lambda: Tongues(over=0)),
    "unscaled scores of N(0, 1)": fault(
        WEAVES,
        "linear weights are drawn from N(0, 1) and scores are not divided by the root of the width",
        f"{LOUD} {SATURATED}",
        model=drawn(lambda: Patches(scaled=False, depth=4), _loud),
    ),
    "vit without residuals": fault(
        WEAVES,
        "x = attention(norm(x)) in ten blocks, without x +",
        f"vanishing_gradient {QUIET} {SAME}",
        model=lambda: Patches(depth=10, residual=False),
    ),
    "vit of zeros": fault(
        WEAVES,
        "all linear layers, the head's included, start from zero",
        f"{ALIKE} {CUT}",
        model=drawn(Patches, _two_zeros),
    ),
    "vit at 0.05": fault(WEAVES, "AdamW at lr=0.05 for a ViT", f"{LARGE} {SATURATED} {SAME}", options={"lr": 0.05}),
}
