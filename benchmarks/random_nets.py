"""Random nets, plans and inputs, and what is measured on them over what the closed form predicts.

Convolutional and fully-connected, 1 to 11 weight layers, widths 24 to 64, four activations, batch norm, residual sums, max and
average pools, dropout, five kinds of plan, smooth and rough inputs of any scale.
"""

import random

import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import input_moments, predict, weight_moments
from trainability.doctor.theory.signal import logit_gradient_rms
from trainability.doctor.theory.trace import trace


class _Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x):
        return torch.relu(x + self.body(x))


ACTIVATIONS = {"relu": nn.ReLU, "leaky": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def random_net(rng: random.Random) -> tuple[nn.Sequential, tuple[int, ...]]:
    make = ACTIVATIONS[rng.choice(["relu", "relu", "relu", "leaky", "tanh", "gelu"])]
    norm, residual, dropout = rng.random() < 0.2, rng.random() < 0.2, rng.random() < 0.2
    pool = rng.choice([nn.MaxPool2d, nn.MaxPool2d, nn.AvgPool2d])
    width = rng.choice([24, 32, 48, 64])
    layers: list[nn.Module] = []
    if rng.random() < 0.7:
        size, channels = rng.choice([8, 16, 32]), 3
        shape: tuple[int, ...] = (32, 3, size, size)
        for _ in range(rng.randint(1, 3)):
            for _ in range(rng.randint(1, 3)):
                kernel = rng.choice([1, 3, 3, 3, 5])
                layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
                layers += [nn.BatchNorm2d(width), make()] if norm else [make()]
                channels = width
                if residual and rng.random() < 0.5:
                    body = [nn.Conv2d(width, width, 3, padding=1), make(), nn.Conv2d(width, width, 3, padding=1)]
                    layers.append(_Residual(nn.Sequential(*body)))
            layers.append(pool(2))
            size //= 2
        if rng.random() < 0.5:
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
        else:
            layers += [nn.Flatten(), nn.Linear(channels * size * size, width), make()]
            layers += [nn.Dropout(0.5)] if dropout else []
            layers.append(nn.Linear(width, 10))
    else:
        shape, features = (32, 32), 32
        for _ in range(rng.randint(1, 10)):
            layers.append(nn.Linear(features, width))
            layers += [nn.BatchNorm1d(width), make()] if norm else [make()]
            layers += [nn.Dropout(0.5)] if dropout else []
            features = width
        layers.append(nn.Linear(features, 10))
    return nn.Sequential(*layers), shape


def initialise(net: nn.Module, rng: random.Random) -> None:
    plan = rng.choice(["he", "xavier", "default", "normal", "mixed"])
    for module in net.modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)) or plan == "default":
            continue
        scheme = rng.choice(["he", "xavier", "normal"]) if plan == "mixed" else plan
        if scheme == "he":
            nn.init.kaiming_normal_(module.weight)
        elif scheme == "xavier":
            nn.init.xavier_uniform_(module.weight)
        else:
            nn.init.normal_(module.weight, std=10 ** rng.uniform(-2, -0.7))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def random_input(shape: tuple[int, ...], rng: random.Random) -> torch.Tensor:
    x = torch.randn(shape)
    if len(shape) == 4 and rng.random() < 0.67:
        x = F.interpolate(torch.randn(shape[0], 3, 5, 5), size=shape[2:], mode="bicubic")
    return x / x.std() * 10 ** rng.uniform(-0.5, 1)


def measured_over_predicted(seed: int) -> dict[str, float]:
    """Ratios of the logits' rms and of the rms of the gradient at the first layer's output, on one random net."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net, shape = random_net(rng)
    initialise(net, rng)
    images, labels = random_input(shape, rng), torch.randint(10, (shape[0],))
    prediction = predict(trace(net, shape), weight_moments(net), input_moments(images))
    ratio = prediction.layers[0].gradient_ratio
    assert prediction.logit_rms is not None
    assert ratio is not None
    seen: dict[str, float] = {}

    def keep(module: nn.Module, args: object, output: torch.Tensor) -> None:
        output.register_hook(lambda g: seen.update(gradient=float(g.square().mean().sqrt())))

    next(m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))).register_forward_hook(keep)
    logits = net(images)
    F.cross_entropy(logits, labels).backward()
    return {
        "logits": float(logits.detach().square().mean().sqrt()) / prediction.logit_rms,
        "gradient": seen["gradient"] / (ratio * logit_gradient_rms(prediction.logit_rms, 10, shape[0])),
    }
