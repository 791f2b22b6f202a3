"""Targets that go around, each beside sound ones that look like it, and losses that do and do not know of it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.measure.circular import circular, goes_around
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.other_targets import is_on_a_line

DRAWS = torch.Generator().manual_seed(3)
ANGLES = 2 * math.pi * torch.rand(1200, generator=DRAWS)
LINE = torch.rand(1200, 1, generator=DRAWS)
NOISE = torch.randn(1200, 6, generator=DRAWS)
HALVES = (ANGLES / math.pi).floor()[:, None]
COIN = torch.rand(1200, generator=DRAWS) < 0.5


def ring(angles: Tensor, sensors: int = 6, noise: float = 0.1) -> Tensor:
    places = torch.arange(sensors) * 2 * math.pi / sensors
    return torch.cos(angles[:, None] - places) + noise * NOISE[: len(angles), :sensors]


def bumps(x: Tensor, first: float, last: float, num: int, width: float, *, goes_around: bool = False) -> Tensor:
    """Sensors along a line, or around a circle, each of which answers near its own place."""
    apart = x[:, None] - torch.linspace(first, last, num + goes_around)[:num]
    if goes_around:
        apart = (apart + 0.5) % 1 - 0.5
    noise = torch.randn(len(x), num, generator=torch.Generator().manual_seed(4))
    return torch.exp(-apart.square() / (2 * width**2)) + 0.01 * noise


@pytest.mark.parametrize(
    ("inputs", "targets", "period"),
    [
        (ring(ANGLES), ANGLES, 2 * math.pi),
        (ring(ANGLES, 4, 0.0), ANGLES, 2 * math.pi),
        (ring(ANGLES, 6, 0.0), ANGLES, 2 * math.pi),
        (ring(ANGLES, 4, 0.3), ANGLES, 2 * math.pi),
        (ring(ANGLES, 4, 0.7), ANGLES, 2 * math.pi),
        (bumps(ANGLES / (2 * math.pi), 0.0, 1.0, 16, 0.08, goes_around=True), ANGLES, 2 * math.pi),  # the same, on a circle
        (ring(ANGLES, noise=0.7), ANGLES, 2 * math.pi),  # a tenth of the neighbours are far
        (ring(ANGLES[:300], noise=0.3), ANGLES[:300], 2 * math.pi),
        (ring(ANGLES), (ANGLES * 18 / math.pi).round() * 10, 360.0),  # read to ten degrees
        (ring(ANGLES), (ANGLES + 2) % (2 * math.pi) - math.pi, 2 * math.pi),
        (torch.cat([ring(ANGLES), torch.randn(1200, 10, generator=DRAWS)], 1), ANGLES * 12 / math.pi, 24.0),
        (NOISE[:, :2], torch.atan2(NOISE[:, 0], NOISE[:, 1]), 2 * math.pi),
        (ring(ANGLES), torch.where(COIN, ANGLES, 0.3 * (ANGLES - math.pi) % (2 * math.pi)), None),
    ],
)
def test_angles(inputs: Tensor, targets: Tensor, period: float | None) -> None:
    (found,) = goes_around(inputs, targets[:, None])
    assert (found is not None) is (period is not None)
    if found is not None and period is not None:
        assert found.around == pytest.approx(period, rel=0.04)
        assert found.gap < 0.25
        assert found.astray < 0.15


def mirrored(x: Tensor) -> Tensor:
    """From -1 at 0.5 up to 0, and from 1 at 0.5 down to 0, as of a swerve to either side."""
    return torch.sign(x - 0.5) * (1 - (2 * x - 1).abs())


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (LINE, LINE[:, 0]),
        (LINE, LINE[:, 0] + 0.2 * NOISE[:, 0]),
        (NOISE, NOISE.sum(1)),
        (LINE, torch.sin(12 * LINE[:, 0])),
        (LINE, NOISE[:, 0]),  # nothing to do with each other
        (LINE, torch.rand(1200, generator=DRAWS)),
        (LINE, (LINE[:, 0] > 0.5).float() + 0.05 * NOISE[:, 0]),  # two clusters
        (LINE, COIN.float()),
        (LINE, 0.5 * (LINE[:, 0] > 0.5) + 0.5 * torch.rand(1200, generator=DRAWS)),  # a step
        (LINE, (LINE[:, 0] + 0.37) % 1),  # one jump, of a line that is open elsewhere
        (LINE, mirrored(LINE[:, 0])),
        (LINE, torch.where(COIN, LINE[:, 0], -LINE[:, 0])),  # the size is told, and the sign is not
        (torch.cos(ANGLES)[:, None], ANGLES),
        (LINE, LINE[:, 0] * NOISE[:, 0]),  # how far, and not where
        (LINE, torch.tan(3.1 * (LINE[:, 0] - 0.5))),  # a long tail at both ends, that are one point
        (LINE, -torch.log(LINE[:, 0])),
        (ring(2 * ANGLES), ANGLES),  # told but for half a turn
        (ring(0.75 * ANGLES), ANGLES),  # three quarters of a turn
        (torch.arange(1200)[:, None] % 125 + 3 * NOISE[:, :1], 125.0 - torch.arange(1200) % 125),  # times until an event
        (bumps(LINE[:, 0], 0.15, 0.85, 12, 0.1), LINE[:, 0]),  # sensors that cover the middle, and fade out at both ends
        (bumps(LINE[:, 0], 0.15, 0.85, 30, 0.06), LINE[:, 0]),
        (bumps(36 * LINE[:, 0] - 2, 0, 31, 32, 2.5), LINE[:, 0]),  # a car that enters a view, and leaves it
        (bumps(1.3 * LINE[:, 0] - 0.15, 0, 1, 64, 0.05), LINE[:, 0]),
        (torch.cat([torch.cos(ANGLES[:, None] + torch.arange(12)), HALVES], 1), ANGLES),  # one column tells the halves
        (ring(ANGLES), (ANGLES * 3).floor()),  # few values
        (ring(ANGLES[:250]), ANGLES[:250]),
        (torch.ones(1200, 2), ANGLES),
        (torch.full((1200, 2), math.nan), ANGLES),
    ],
)
def test_numbers_on_a_line(inputs: Tensor, targets: Tensor) -> None:
    assert goes_around(inputs, targets.float()[:, None]) == [None]


def mixture(output: Tensor, y: Tensor) -> Tensor:
    """Two normal distributions, either of which may have made the number."""
    weights, means, scales = output[:, :2], output[:, 2:4], output[:, 4:]
    likely = -0.5 * ((y[:, None] - means) * torch.exp(-scales)) ** 2 - scales
    return -torch.logsumexp(likely + torch.log_softmax(weights, 1), 1).mean()


def of_fixed_width(output: Tensor, y: Tensor) -> Tensor:
    """Three normal distributions, which begin in nearly one place: there the loss is a square."""
    return -torch.logsumexp(output[:, :3].log_softmax(1) - (y[:, None] - output[:, 3:]).square() / 0.1, 1).mean()


def of_one_of_two(output: Tensor, y: Tensor) -> Tensor:
    """The nearer of two answers, which begin in nearly one place."""
    return (y[:, None] - output[:, :2]).abs().amin(1).mean()


def wrapped(output: Tensor, y: Tensor) -> Tensor:
    apart = torch.remainder(output[:, 0] - y + math.pi, 2 * math.pi) - math.pi
    return apart.square().mean()


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda o, y: F.mse_loss(o[:, 0], y), True),
        (lambda o, y: ((o[:, 0] - y) ** 2).mean(), True),
        (lambda o, y: F.mse_loss(o[:, 0], (y - 3.1) / 1.8), True),  # standardised
        (lambda o, y: F.l1_loss(o[:, 0], y), True),
        (lambda o, y: F.huber_loss(o[:, 0], y), True),
        (lambda o, y: F.smooth_l1_loss(o[:, 0], y, beta=0.1), True),
        (lambda o, y: F.gaussian_nll_loss(o[:, 0], y, o[:, 1].exp()), True),
        (lambda o, y: (1 - torch.cos(o[:, 0] - y)).mean(), False),
        (wrapped, False),
        (lambda o, y: torch.minimum((o[:, 0] - y).abs(), 2 * math.pi - (o[:, 0] - y).abs()).mean(), False),
        (lambda o, y: F.mse_loss(o[:, :2], torch.stack([torch.sin(y), torch.cos(y)], 1)), False),
        (mixture, False),
        (of_fixed_width, False),
        (of_one_of_two, False),
        (lambda o, y: of_fixed_width(o, (57 * y - 180) / 104), False),  # degrees, standardised
        (lambda o, y: (o[:, 0] - y).cosh().log().mean(), True),
        (lambda o, y: F.gaussian_nll_loss(o[:, 0], 57 * y, (57 * o[:, 1]).exp()), True),  # degrees: no answers but its own
        (lambda o, y: F.cross_entropy(o, (y / 1.1).long().clamp(0, 5)), False),
        (lambda o, y: (o[:, 0] * y).mean(), False),  # a weight, as an advantage is
    ],
)
def test_losses(loss: Callable[[Tensor, Tensor], Tensor], told: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 6))
    nn.init.normal_(model[2].weight, std=1e-3)
    nn.init.zeros_(model[2].bias)
    loader = DataLoader(TensorDataset(ring(ANGLES), ANGLES), 64, shuffle=True)
    batch = next(iter(loader))

    def forward(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return loss(model(batch[0]), batch[1])

    seen = ForwardPass(model, batch)
    with seen:
        forward(model, batch)
    state = torch.get_rng_state()
    assert (circular(model, batch, forward, seen, loader) is not None) is told
    assert is_on_a_line(model, batch, forward, seen) is told
    assert torch.equal(torch.get_rng_state(), state)


def test_one_column_of_a_pose() -> None:
    pose = torch.stack([NOISE[:, 0], NOISE[:, 1], ANGLES], 1)
    loader = DataLoader(TensorDataset(torch.cat([ring(ANGLES, noise=0.0), NOISE[:, :2]], 1), pose), 64, shuffle=True)
    model, batch = nn.Linear(8, 3), next(iter(loader))
    seen = ForwardPass(model, batch)

    def forward(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return F.mse_loss(model(batch[0]), batch[1])

    with seen:
        forward(model, batch)
    found = circular(model, batch, forward, seen, loader)
    assert found is not None
    assert found.column == 2


def test_check() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    before = [p.clone() for p in model.parameters()]
    loader = DataLoader(TensorDataset(ring(ANGLES), ANGLES), 64, shuffle=True)
    found = check(model, loader, F.mse_loss, torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=0.0)
    assert "unreachable_target.circular" in [f.code for f in found.findings]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.training


@pytest.mark.parametrize("on_circle", [False, True])
def test_watched_loop(on_circle: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with Monitor(model, optimizer, every=2) as monitor:
        for x, angle in DataLoader(TensorDataset(ring(ANGLES), ANGLES), 64, shuffle=True):
            apart = model(x)[:, 0] - angle
            loss = (1 - torch.cos(apart)).mean() if on_circle else apart.square().mean()
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("unreachable_target.circular" in [f.code for f in monitor.diagnose().findings]) is not on_circle
