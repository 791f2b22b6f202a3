"""Random training programs: model, data, loss, optimizer and loop, drawn from a seed; small enough to train in a second.

`draw(seed)` gives a program's description (plain data), `build(description)` the program. Families: fully-connected nets of
2 to 16 layers, small and VGG-like and residual convolutional nets, transformers for images and for text, recurrent nets,
autoencoders, regressors, U-Nets. Every one is drawn with its own initialisation, optimizer, learning rate, momentum, decay,
clipping and schedule; one in four carries a planted fault.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
# Learning rate at which small nets of usual initialisation train well; draws are spread around it, or over six decades.
USUAL_LR = {
    "sgd": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adam": 3e-3,
    "adamw": 3e-3,
    "rmsprop": 2e-3,
    "adagrad": 0.03,
    "adadelta": 1.0,
}


@dataclass
class Program:
    """One training program, ready to run.

    Attributes:
        model: on the CPU.
        loss_fn: of (output, target).
        optimizer: over the model's parameters.
        scheduler: stepped after each step; None for a constant rate.
        batches: draws (input, target), endlessly.
        reference: a fixed batch of training examples.
        chance: loss of the best constant answer.
        floor: lowest loss that the task allows.
        clip: gradient-norm threshold; None for none.
        fault: planted fault that the loop itself carries out; None if there is none.
    """

    model: nn.Module
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    scheduler: Any
    batches: Iterator[tuple[Tensor, Tensor]]
    reference: tuple[Tensor, Tensor]
    chance: float
    floor: float
    clip: float | None
    fault: str | None


# ---------------------------------------------------------------------------------------------------------------- data


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (1437, 1, 8, 8), mean 0 and variance 1, and labels."""
    with resources.files("trainability.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        images, labels = torch.from_numpy(archive["images"]).float(), torch.from_numpy(archive["labels"]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[:1437]
    return ((images - images.mean()) / images.std())[order][:, None], labels[order]


@functools.cache
def sequences(num_symbols: int = 12, length: int = 20) -> tuple[Tensor, float, float]:
    """Tokens (1024, length) of a Markov chain, the entropy of one token and the entropy rate, in nats."""
    rng = torch.Generator().manual_seed(3)
    table = torch.softmax(2.5 * torch.randn(num_symbols, num_symbols, generator=rng), dim=1)
    tokens = torch.randint(num_symbols, (1024, 1), generator=rng)
    for _ in range(length - 1):
        tokens = torch.cat([tokens, torch.multinomial(table[tokens[:, -1]], 1, generator=rng)], dim=1)
    share = torch.bincount(tokens[:, 1:].flatten(), minlength=num_symbols).double() / tokens[:, 1:].numel()
    before = torch.bincount(tokens[:, :-1].flatten(), minlength=num_symbols).double() / tokens[:, :-1].numel()
    rate = float((before[:, None] * -torch.special.xlogy(table, table).double()).sum())
    return tokens, float(-torch.special.xlogy(share, share).sum()), rate


@functools.cache
def table() -> tuple[Tensor, Tensor, float]:
    """Features (1024, 8), targets (1024, 1) of variance 1, and the share of that variance that is noise."""
    rng = torch.Generator().manual_seed(4)
    x = torch.randn(1024, 8, generator=rng)
    y = torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.7 * x[:, 3] - 0.5 * x[:, 4].abs()
    y = y / y.std() * math.sqrt(0.95) + math.sqrt(0.05) * torch.randn(1024, generator=rng)
    return x, ((y - y.mean()) / y.std())[:, None], 0.05


@functools.cache
def blobs(size: int = 16) -> tuple[Tensor, Tensor]:
    """Noisy images (256, 1, size, size) of a disc, and its mask."""
    rng = torch.Generator().manual_seed(5)
    ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = 4 + torch.rand(256, 2, 1, 1, generator=rng) * (size - 8)
    radius = 2 + 2 * torch.rand(256, 1, 1, generator=rng)
    mask = ((ys - centre[:, 0]) ** 2 + (xs - centre[:, 1]) ** 2 < radius**2).float()[:, None]
    images = mask * 1.2 + 0.6 * torch.randn(256, 1, size, size, generator=rng)
    return (images - images.mean()) / images.std(), mask


def _entropy(labels: Tensor) -> float:
    share = torch.bincount(labels.flatten()).double() / labels.numel()
    return float(-torch.special.xlogy(share, share).sum())


def _binary_entropy(targets: Tensor) -> float:
    share = targets.double().flatten(1).mean(dim=0) if targets.dim() == 2 else targets.double().mean()
    return float(-(torch.special.xlogy(share, share) + torch.special.xlogy(1 - share, 1 - share)).mean())


def _bits(labels: Tensor) -> Tensor:
    return torch.stack([(labels >> bit) & 1 for bit in range(4)], dim=1).float()


def _lm_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Task:
    """Data of one kind: inputs, targets, loss, what chance costs, the floor, and the width of the answer."""

    inputs: Tensor
    targets: Tensor
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    chance: float
    floor: float
    outputs: int
    batch: int = 32


@functools.cache
def task(name: str) -> Task:
    images, labels = digits()
    if name == "classification":
        return Task(images, labels, F.cross_entropy, _entropy(labels), 0.0, 10)
    if name == "binary":
        odd = (labels % 2).float()[:, None]
        return Task(images, odd, F.binary_cross_entropy_with_logits, _binary_entropy(odd), 0.0, 1)
    if name == "multilabel":
        return Task(images, _bits(labels), F.binary_cross_entropy_with_logits, _binary_entropy(_bits(labels)), 0.0, 4)
    if name == "reconstruction":
        flat = images.flatten(1)
        return Task(images, flat, F.mse_loss, float(flat.var(dim=0, correction=0).mean()), 0.0, 64)
    if name == "regression":
        x, y, noise = table()
        return Task(x, y, F.mse_loss, float(y.var(correction=0)), noise, 1)
    if name == "segmentation":
        x, mask = blobs()
        return Task(x, mask, F.binary_cross_entropy_with_logits, _binary_entropy(mask.flatten()), 0.0, 1, 8)
    if name == "sequence":  # which of four symbols comes most often among the last ten
        tokens = sequences()[0]
        counts = F.one_hot(tokens[:, 10:] % 4, 4).sum(dim=1)
        label = counts.argmax(dim=1)
        return Task(tokens, label, F.cross_entropy, _entropy(label), 0.0, 4)
    assert name == "language", name
    tokens, chance, rate = sequences()
    return Task(tokens[:, :-1], tokens[:, 1:].contiguous(), _lm_loss, chance, rate, 12, 16)


# -------------------------------------------------------------------------------------------------------------- models


class _Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _Block(nn.Module):
    """Transformer block, normalised before or after each part."""

    def __init__(self, width: int, causal: bool, pre: bool, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), act(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.causal, self.pre = causal, pre

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.norms
        if self.pre:
            x = x + self.attend(first(x))
            return x + self.mlp(second(x))
        x = first(x + self.attend(x))
        return second(x + self.mlp(x))


class _Transformer(nn.Module):
    def __init__(self, spec: dict[str, Any], outputs: int) -> None:
        super().__init__()
        width = spec["width"]
        self.text = spec["task"] in ("language", "sequence")
        self.pool = spec["task"] != "language"
        self.embed = nn.Embedding(12, width) if self.text else nn.Linear(4, width)
        self.positions = nn.Parameter(0.02 * torch.randn(20 if self.text else 16, width))
        act = ACTIVATIONS[spec["activation"]]
        self.blocks = nn.Sequential(*(_Block(width, not self.pool, spec["norm"], act) for _ in range(spec["depth"])))
        self.norm = nn.LayerNorm(width) if spec["norm"] else nn.Identity()
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if not self.text:
            x = F.unfold(x, 2, stride=2).transpose(1, 2)
        x = self.embed(x)
        x = self.norm(self.blocks(x + self.positions[: x.shape[1]]))
        return self.head(x.mean(dim=1) if self.pool else x)


class _Recurrent(nn.Module):
    def __init__(self, spec: dict[str, Any], outputs: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, spec["width"])
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[spec["cell"]]
        self.cells = kind(spec["width"], spec["width"], num_layers=spec["depth"], batch_first=True)
        self.head = nn.Linear(spec["width"], outputs)
        self.pool = spec["task"] == "sequence"

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.cells(self.embed(x))
        return self.head(out[:, -1] if self.pool else out)


class _UNet(nn.Module):
    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        width = spec["width"]

        def pair(inputs: int) -> nn.Sequential:
            return nn.Sequential(*_conv(inputs, width, spec), *_conv(width, width, spec))

        self.down = nn.ModuleList([pair(1 if i == 0 else width) for i in range(spec["depth"])])
        self.up = nn.ModuleList([pair(2 * width) for _ in range(spec["depth"] - 1)])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), kept.pop()], dim=1))
        return self.head(x)


def _conv(inputs: int, width: int, spec: dict[str, Any]) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, width, 3, padding=1)
    return [conv, *([nn.BatchNorm2d(width)] if spec["norm"] else []), ACTIVATIONS[spec["activation"]]()]


def _linear(inputs: int, width: int, spec: dict[str, Any]) -> list[nn.Module]:
    norm = [nn.BatchNorm1d(width)] if spec["norm"] else []
    dropout = [nn.Dropout(spec["dropout"])] if spec["dropout"] else []
    return [nn.Linear(inputs, width), *norm, ACTIVATIONS[spec["activation"]](), *dropout]


def _net(spec: dict[str, Any], outputs: int) -> nn.Module:
    family, width, depth = spec["family"], spec["width"], spec["depth"]
    inputs = 8 if spec["task"] == "regression" else 64
    if family == "transformer":
        return _Transformer(spec, outputs)
    if family == "recurrent":
        return _Recurrent(spec, outputs)
    if family == "unet":
        return _UNet(spec)
    if family == "mlp":
        sizes = [inputs] + [width] * (depth - 1)
        hidden = [layer for a, b in itertools.pairwise(sizes) for layer in _linear(a, b, spec)]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], outputs))
    if family == "residual_mlp":
        blocks = [_Residual(nn.Sequential(*_linear(width, width, spec), nn.Linear(width, width))) for _ in range(depth // 2)]
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), *blocks, nn.Linear(width, outputs))
    if family == "autoencoder":
        sizes = [inputs] + [width] * (depth // 2) + [8] + [width] * (depth // 2)
        hidden = [layer for a, b in itertools.pairwise(sizes) for layer in _linear(a, b, spec)]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], outputs))
    if family == "resnet":
        blocks = [
            _Residual(nn.Sequential(*_conv(width, width, spec), nn.Conv2d(width, width, 3, padding=1)))
            for _ in range(depth // 2)
        ]
        return nn.Sequential(*_conv(1, width, spec), nn.MaxPool2d(2), *blocks, nn.Flatten(), nn.Linear(16 * width, outputs))
    assert family == "cnn", family
    layers, side, channels = [], 8, 1
    pools = {depth * i // 3 for i in (1, 2, 3)} if depth > 3 else {1, 2}
    for i in range(depth - 1):
        layers += _conv(channels, width, spec)
        channels = width
        if i + 1 in pools and side > 1:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    hidden = _linear(channels * side * side, width, spec) if spec["hidden"] else []
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(width if hidden else channels * side * side, outputs))


def _initialise(model: nn.Module, spec: dict[str, Any]) -> None:
    if spec["init"] == "default":
        return
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or "positions" in name or "embed" in name:
            if weight.dim() < 2 and "norm" not in name and name.endswith("bias"):
                nn.init.zeros_(weight)
            continue
        if spec["init"] == "he":
            nn.init.kaiming_normal_(weight)
        elif spec["init"] == "xavier":
            nn.init.xavier_uniform_(weight)
        elif spec["init"] == "orthogonal":
            nn.init.orthogonal_(weight)
        elif spec["init"] == "normal":
            nn.init.normal_(weight, std=spec["init_std"])
        elif spec["init"] == "zeros":
            nn.init.zeros_(weight)
        else:
            nn.init.constant_(weight, 0.1)


# ------------------------------------------------------------------------------------------------------------- drawing

FAMILIES = {
    # family: (share of the draws, tasks, depths, widths)
    "mlp": (0.24, ("classification", "classification", "regression", "binary", "multilabel"), (2, 16), (24, 32, 48)),
    "cnn": (0.2, ("classification", "classification", "binary", "multilabel"), (2, 12), (6, 8, 12)),
    "resnet": (0.12, ("classification", "classification", "multilabel"), (2, 12), (6, 8)),
    "residual_mlp": (0.06, ("classification", "regression", "binary"), (2, 16), (24, 32)),
    "transformer": (0.14, ("language", "language", "classification", "sequence"), (1, 4), (16, 24)),
    "recurrent": (0.1, ("language", "language", "sequence"), (1, 2), (16, 24)),
    "autoencoder": (0.08, ("reconstruction",), (2, 8), (32, 48)),
    "unet": (0.06, ("segmentation",), (1, 3), (4, 6)),
}
# Faults: in the model or its weights, in the data, or in the loop.
FAULTS = (
    "zero_weights",
    "constant_weights",
    "dead_biases",
    "deep_sigmoid",
    "probabilities_in",
    "inputs_unscaled",
    "targets_unscaled",
    "no_zero_grad",
    "never_steps",
    "strong_decay",
    "tiny_clip",
    "ascent",
    "momentum_0.999",
    "rate_dies",
    "bounded_output",
    "huge_weights",
)


def draw(seed: int) -> dict[str, Any]:
    """Describes the program of that seed in plain data."""
    rng = random.Random(seed)
    family = rng.choices(list(FAMILIES), [share for share, *_ in FAMILIES.values()])[0]
    _, tasks, depths, widths = FAMILIES[family]
    optimizer = rng.choices(list(USUAL_LR), [3, 3, 1, 4, 2, 1, 1, 1])[0]
    decades = rng.gauss(0, 0.7) if rng.random() < 0.55 else rng.uniform(-4, 2)
    spec: dict[str, Any] = {
        "seed": seed,
        "family": family,
        "task": rng.choice(tasks),
        "depth": rng.randint(*depths),
        "width": rng.choice(widths),
        "activation": rng.choices(list(ACTIVATIONS), [8, 2, 3, 1, 3, 1, 1])[0],
        "norm": rng.random() < (0.7 if family == "transformer" else 0.25),
        "dropout": rng.choice([0.1, 0.3, 0.5]) if rng.random() < 0.15 and family in ("mlp", "cnn") else 0.0,
        "hidden": rng.random() < 0.5,
        "cell": rng.choice(["rnn", "lstm", "gru"]),
        "init": rng.choices(["default", "he", "xavier", "orthogonal", "normal"], [4, 4, 2, 1, 4])[0],
        "init_std": float(f"{10 ** rng.uniform(-2.3, -0.3):.2g}"),
        "optimizer": optimizer,
        "lr": float(f"{USUAL_LR[optimizer] * 10**decades:.2g}"),
        "momentum": rng.choice([0.9, 0.9, 0.9, 0.8, 0.95, 0.99]) if optimizer in ("momentum", "nesterov") else 0.0,
        "weight_decay": float(f"{10 ** rng.uniform(-5, -0.5):.2g}") if rng.random() < 0.35 else 0.0,
        "clip": float(f"{10 ** rng.uniform(-2, 1):.2g}") if rng.random() < 0.2 else None,
        "schedule": rng.choice(["cosine", "warmup", "step"]) if rng.random() < 0.2 else None,
        "fault": rng.choice(FAULTS) if rng.random() < 0.25 else None,
    }
    return _with_fault(spec)


def _with_fault(spec: dict[str, Any]) -> dict[str, Any]:
    """Faults that are choices of the program itself are written into it."""
    fault = spec["fault"]
    if fault == "zero_weights":
        spec["init"] = "zeros"
    elif fault == "constant_weights":
        spec["init"] = "constant"
    elif fault == "huge_weights":
        spec |= {"init": "normal", "init_std": 0.5 if spec["depth"] > 3 else 2.0}
    elif fault == "deep_sigmoid":
        spec |= {
            "activation": "sigmoid",
            "depth": max(spec["depth"], 6 if spec["family"] in ("mlp", "cnn") else 2),
            "norm": False,
        }
    elif fault == "strong_decay":
        spec["weight_decay"] = 0.5 if spec["optimizer"] != "adamw" else 50.0
    elif fault == "tiny_clip":
        spec["clip"] = 1e-6
    elif fault == "momentum_0.999":
        spec |= {"optimizer": "momentum", "momentum": 0.999}
    elif fault == "rate_dies":
        spec["schedule"] = "dies"
    elif fault == "targets_unscaled" and spec["task"] not in ("regression", "reconstruction"):
        spec["fault"] = None
    return spec


def _optimizer(spec: dict[str, Any], parameters: list[Tensor]) -> torch.optim.Optimizer:
    lr, decay, name = spec["lr"], spec["weight_decay"], spec["optimizer"]
    if name in ("sgd", "momentum", "nesterov"):
        return torch.optim.SGD(parameters, lr, momentum=spec["momentum"], weight_decay=decay, nesterov=name == "nesterov")
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr, weight_decay=decay)
    kind = {"adam": "Adam", "adamw": "AdamW", "adagrad": "Adagrad", "adadelta": "Adadelta"}[name]
    return getattr(torch.optim, kind)(parameters, lr=lr, weight_decay=decay)


def _scheduler(spec: dict[str, Any], optimizer: torch.optim.Optimizer, steps: int) -> Any:
    factor = {
        "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))),
        "warmup": lambda step: min(1.0, (step + 1) / (steps // 8)),
        "step": lambda step: 0.1 ** (2 * step // steps),
        "dies": lambda step: 0.5**step,
    }
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor[spec["schedule"]]) if spec["schedule"] else None


class _Then(nn.Module):
    def __init__(self, body: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.after = body, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.body(x))


def build(spec: dict[str, Any], *, steps: int = 300) -> Program:
    """Makes the program that `draw` describes; the same spec gives the same weights and batches.

    Args:
        spec: of `draw`.
        steps: length of the run, for its schedule.
    """
    torch.manual_seed(spec["seed"])
    kind, fault = task(spec["task"]), spec["fault"]
    inputs, targets = kind.inputs, kind.targets
    chance, floor, loss_fn = kind.chance, kind.floor, kind.loss_fn
    if fault == "inputs_unscaled" and inputs.is_floating_point():
        inputs = 300.0 * inputs + 400.0
    if fault == "targets_unscaled":
        targets, chance, floor = 1e3 * targets + 5e3, 1e6 * chance, 1e6 * floor
    model = _net(spec, kind.outputs)
    _initialise(model, spec)
    if fault == "dead_biases":
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and name.endswith("bias") and "head" not in name:
                nn.init.constant_(parameter, -10.0)
    if fault == "probabilities_in":
        squash = torch.sigmoid if loss_fn is F.binary_cross_entropy_with_logits else functools.partial(F.softmax, dim=-1)
        model = _Then(model, squash if loss_fn is not F.mse_loss else torch.sigmoid)
    if fault == "bounded_output":
        model = _Then(model, torch.tanh if loss_fn is F.mse_loss else torch.relu)
    optimizer = _optimizer(spec, list(model.parameters()))
    order = torch.Generator().manual_seed(spec["seed"])

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            permutation = torch.randperm(len(inputs), generator=order)
            for start in range(0, len(inputs) - kind.batch + 1, kind.batch):
                index = permutation[start : start + kind.batch]
                yield inputs[index], targets[index]

    size = {32: 128, 16: 48, 8: 24}[kind.batch]
    return Program(
        model=model,
        loss_fn=loss_fn,
        optimizer=optimizer,
        scheduler=_scheduler(spec, optimizer, steps),
        batches=batches(),
        reference=(inputs[:size], targets[:size]),
        chance=chance,
        floor=floor,
        clip=spec["clip"],
        fault=fault,
    )


def train_step(program: Program, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The body of the program's loop."""
    inputs, targets = batch
    program.model.train()
    loss = program.loss_fn(program.model(inputs), targets)
    if program.fault != "no_zero_grad":
        program.optimizer.zero_grad()
    (-loss if program.fault == "ascent" else loss).backward()
    if program.clip is not None:
        nn.utils.clip_grad_norm_(program.model.parameters(), program.clip)
    if program.fault != "never_steps":
        program.optimizer.step()
    if program.scheduler is not None:
        program.scheduler.step()
    return loss.detach()
