"""Eleven healthy programs, probed and watched: nothing above a hint, and each does train."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import Evidence, Monitor, audit_data, diagnose
from trainability.doctor.measure.probe import probe

CLASSES, SIZE = 4, 16


def batches(num: int, batch_size: int, seed: int = 0):
    """Four kinds of smooth pattern under noise: learnable in tens of steps, not in one."""
    generator = torch.Generator().manual_seed(seed)
    patterns = F.interpolate(
        torch.randn(CLASSES, 3, 4, 4, generator=torch.Generator().manual_seed(7)), size=SIZE, mode="bilinear"
    )
    patterns = patterns / patterns.std()
    for _ in range(num):
        labels = torch.randint(CLASSES, (batch_size,), generator=generator)
        noise = torch.randn(batch_size, 3, SIZE, SIZE, generator=generator)
        yield 0.8 * patterns[labels] + 0.6 * noise, labels


def vgg(layout: str, scheme: str) -> nn.Sequential:
    """VGG of four-channel-multiple width: digits are channels / 4, M is a pool."""
    layers: list[nn.Module] = []
    channels = 3
    for token in layout:
        if token == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, 4 * int(token), 3, padding=1), nn.ReLU(inplace=True)]
        channels = 4 * int(token)
    layers += [nn.Flatten(), nn.LazyLinear(32), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(32, CLASSES)]
    net = nn.Sequential(*layers)
    net(torch.zeros(1, 3, SIZE, SIZE))
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight) if scheme == "he" else nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return net


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.bodies = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
            for _ in range(3)
        )
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for body in self.bodies:
            x = F.relu(x + body(x))
        return self.head(x.mean(dim=(2, 3)))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, stride=4)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).mT + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))


def mlp(activation: type[nn.Module], depth: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    width = 3 * SIZE * SIZE
    for _ in range(depth):
        layers += [nn.Linear(width, 48), activation()]
        width = 48
    net = nn.Sequential(*layers, nn.Linear(width, CLASSES))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight) if activation is nn.ReLU else nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return net


def default_initialised() -> nn.Sequential:
    """Eight layers exactly as PyTorch makes them: gain 1/6 each, and biases; the most common program there is."""
    layers: list[nn.Module] = []
    channels = 3
    for width, pool in ((16, True), (32, True), (32, False), (32, False), (32, True)):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
        channels = width
    head = (nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    return nn.Sequential(*layers, nn.Flatten(), *head)


def normalised() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width in (16, 16, 32):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4, CLASSES))


def sgd(lr):
    return lambda net: torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)


def adamw(net):
    return torch.optim.AdamW(net.parameters(), lr=2e-3)


# name: model, optimizer, clip, steps
PROGRAMS = {
    "vgg-a he": (lambda: vgg("4M4M66M66M", "he"), sgd(0.01), None, 130),
    "vgg-b he clipped": (lambda: vgg("44M44M66M66M", "he"), sgd(0.01), 1.0, 130),
    "vgg-b xavier": (lambda: vgg("88M88M88M", "xavier"), sgd(0.03), None, 120),
    "vgg-d he": (lambda: vgg("44M44M666M666M", "he"), sgd(0.01), 1.0, 130),
    "vgg-e he adam": (lambda: vgg("44M44M6666M6666M", "he"), adamw, None, 100),
    "default init, adam": (default_initialised, adamw, None, 80),
    "batch norm": (normalised, sgd(0.05), None, 60),
    "residual": (Residual, sgd(0.02), None, 80),
    "mlp": (lambda: mlp(nn.ReLU, 4), sgd(0.01), None, 120),
    "tanh mlp": (lambda: mlp(nn.Tanh, 4), sgd(0.01), None, 60),
    "transformer": (Transformer, adamw, None, 60),
}


# Without a rehearsal, only the predicted stay at chance can promise anything: of plain ReLU nets under SGD, with zero biases.
TOLD_BY_THE_CLOSED_FORM = {"vgg-a he", "vgg-b he clipped", "vgg-b xavier", "vgg-d he", "mlp"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_healthy_program_gets_no_finding_above_a_hint(name):
    build, make_optimizer, clip, num_steps = PROGRAMS[name]
    torch.manual_seed(0)
    net = build()
    optimizer = make_optimizer(net)
    images, labels = next(batches(1, 64, seed=1))
    report = probe(net, F.cross_entropy, images, labels, optimizer=optimizer, clip=clip, planned_steps=num_steps)
    before = diagnose(Evidence(probe=report, data=audit_data(batches(8, 64), batches(2, 64, seed=2)), num_classes=CLASSES))
    assert not before.worse_than_hint, str(before)
    assert before.verdict == ("will train" if name in TOLD_BY_THE_CLOSED_FORM else "cannot tell"), str(before)
    with Monitor(net, optimizer, every=20, num_classes=CLASSES) as monitor:
        for images, labels in batches(num_steps, 32):
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    seen = monitor.evidence()
    assert not any("watching" in line or "look at" in line for line in seen.problems)
    after = diagnose(Evidence(**{**vars(seen), "probe": report}))
    assert not after.worse_than_hint, str(after)
    assert after.verdict in ("has learned", "was still training when it ended"), str(after)
    last = sum(record.loss for record in seen.steps[-10:]) / 10
    assert last < 0.9 * math.log(CLASSES)
