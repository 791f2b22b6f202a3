"""An average of the weights that still holds much of its random start when the run is over, and sound averages."""

import copy
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import Rehearsal, SlowAverage
from trainability.loops.monitor import Monitor

PLANNED = 3000
Move = Callable[[int], None]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def loader(batches: int = 20) -> DataLoader:
    x = torch.randn(16 * batches, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x[:, :1] * x[:, 1:2]), batch_size=16)


class Both(nn.Module):
    """Trains `net`; in evaluation the average answers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()
        self.ema = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if self.training else self.ema(x)


@torch.no_grad()
def follow(average: nn.Module, trained: nn.Module, rate: float) -> None:
    for a, w in zip(average.parameters(), trained.parameters(), strict=True):
        a.lerp_(w, rate)


def stepped(model: Any, optimizer: Any, batch: Any, loss: Callable[[Any], Tensor] | None = None) -> Tensor:
    found = (model(batch[0]) - batch[1]).square().mean() if loss is None else loss(model)
    optimizer.zero_grad()
    found.backward()
    optimizer.step()
    return found


def rehearsed(model: Any, step: Callable, trained: Any = None, planned: int | None = PLANNED, batches: int = 20) -> Rehearsal:
    optimizer = torch.optim.Adam((trained or model).parameters(), lr=1e-3)
    return rehearse(model, optimizer, loader(batches), step=step, planned_steps=planned, max_steps=30)


def severities(rehearsal: Rehearsal) -> list[str]:
    return [f.severity for f in diagnose(Evidence(rehearsal=rehearsal)).findings if f.rule == "slow_average"]


def inside(rate: Callable[[int], float], every: int = 1) -> Rehearsal:
    """An average that is a part of the model."""
    torch.manual_seed(0)
    model, count = Both(), [0]

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = stepped(model, optimizer, batch)
        count[0] += 1
        if count[0] % every == 0:
            follow(model.ema, model.net, rate(count[0]))
        return loss

    return rehearsed(model, step, model.net)


def test_an_average_of_a_longer_run_is_found() -> None:
    found = inside(lambda n: 1e-4)
    average = found.slow_average
    assert average is not None
    assert (average.name, average.twin, average.is_used, average.batches) == ("model.ema", "model.net", False, 20)
    assert average.rate == pytest.approx(1e-4, rel=0.02)
    assert severities(found) == ["warning"]
    assert severities(dataclasses.replace(found, planned_steps=30_000)) == []


@pytest.mark.parametrize(("batches", "expected"), [(20, ["hint"]), (1000, [])])
def test_of_unknown_length_the_passes_tell(batches: int, expected: list[str]) -> None:
    average = SlowAverage(name="model.ema", twin="model.net", rate=1e-4, is_used=False, batches=batches)
    found = dataclasses.replace(inside(lambda n: 0.5), slow_average=average, planned_steps=None)
    assert severities(found) == expected
    assert severities(dataclasses.replace(found, slow_average=dataclasses.replace(average, is_used=True))) == []


@pytest.mark.parametrize(
    "rate",
    [
        lambda n: 0.01,
        lambda n: 0.005,
        lambda n: 0.001,  # 5 % of the start is left
        lambda n: 1 - min(0.9999, (1 + n) / (10 + n)),
        lambda n: 1 / (n + 1),
        lambda n: max(1e-4, 0.01 / n),  # a decay that rises
    ],
)
def test_sound_averages(rate: Callable[[int], float]) -> None:
    assert severities(inside(rate)) == []


def test_copies_every_few_steps() -> None:
    assert inside(lambda n: 1.0, every=5).slow_average is None
    assert inside(lambda n: 1e-4, every=5).slow_average is None


class Shadow:
    """An average as loose tensors, by name."""

    def __init__(self, model: nn.Module, decay: float, *, zero: bool = False) -> None:
        self.decay = decay
        self.shadow = {name: p.detach().clone() * (not zero) for name, p in model.named_parameters()}

    def update(self, model: nn.Module) -> None:
        for name, p in model.named_parameters():
            self.shadow[name] = self.decay * self.shadow[name] + (1 - self.decay) * p.detach()


@pytest.mark.parametrize(
    ("decay", "zero", "expected"),
    [(0.9999, False, ["warning"]), (0.995, False, []), (0.9999, True, [])],  # zeros at the start are taken out later
)
def test_loose_tensors(decay: float, zero: bool, expected: list[str]) -> None:
    torch.manual_seed(0)
    model = net()
    ema = Shadow(model, decay, zero=zero)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = stepped(model, optimizer, batch)
        ema.update(model)
        return loss

    found = rehearsed(model, step)
    assert severities(found) == expected
    assert found.slow_average is None or found.slow_average.name == "ema.shadow"


@pytest.mark.parametrize(("decay", "expected"), [(0.9999, ["warning"]), (0.999, []), (None, [])])
def test_averaged_model(decay: float | None, expected: list[str]) -> None:
    torch.manual_seed(0)
    model = net()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay) if decay is not None else None)
    start = copy.deepcopy(average.state_dict())

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = stepped(model, optimizer, batch)
        average.update_parameters(model)
        return loss

    assert severities(rehearsed(model, step)) == expected
    assert all(torch.equal(value, start[name]) for name, value in average.state_dict().items())


@pytest.mark.parametrize(("rate", "expected"), [(2e-4, ["hint"]), (0.005, []), (0.004, [])])
def test_a_loss_that_depends_on_it(rate: float, expected: list[str]) -> None:
    """A target network; as a rule they follow by half a percent."""
    torch.manual_seed(0)
    model = Both()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            goal = batch[1] + 0.9 * model.ema(batch[0].flip(0))
        loss = stepped(model, optimizer, batch, lambda m: (m.net(batch[0]) - goal).square().mean())
        follow(model.ema, model.net, rate)
        return loss

    found = rehearsed(model, step, model.net)
    assert severities(found) == expected
    assert found.slow_average is None or found.slow_average.is_used


def test_a_loss_that_reads_its_numbers() -> None:
    """Without a call of the module: a pull to the average."""
    torch.manual_seed(0)
    model = Both()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        pairs = list(zip(model.net.parameters(), model.ema.parameters(), strict=True))
        pull = sum((w - a.detach()).square().sum() for w, a in pairs)
        loss = stepped(model, optimizer, batch, lambda m: (m(batch[0]) - batch[1]).square().mean() + 0.1 * pull)
        follow(model.ema, model.net, 1e-4)
        return loss

    found = rehearsed(model, step, model.net).slow_average
    assert found is not None
    assert found.is_used


def test_weights_that_were_trained_before() -> None:
    torch.manual_seed(0)
    model = Both()
    with torch.no_grad():
        for p in model.net.parameters():
            p.mul_(1.5).add_(0.05 * torch.randn_like(p))
    model.ema.load_state_dict(model.net.state_dict())

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = stepped(model, optimizer, batch)
        follow(model.ema, model.net, 1e-4)
        return loss

    assert rehearsed(model, step, model.net).slow_average is None


def batches(count: int) -> Iterator[Any]:
    held = list(loader())
    for k in range(count):
        yield held[k % len(held)]


@pytest.mark.parametrize(("rate", "moved_late", "expected"), [(1e-3, False, ["warning"]), (0.05, False, []), (1e-3, True, [])])
def test_a_watched_loop(rate: float, moved_late: bool, expected: list[str], request: pytest.FixtureRequest) -> None:
    """Nothing in the model or the optimizer leads to the average; what earlier runs left in cycles is no average."""
    request.addfinalizer(gc.enable)
    gc.disable()
    for _ in range(100):
        left = net()
        left.hold = [left]
    begun = nn.Linear.__new__(nn.Linear)  # as of a class whose __init__ failed
    begun.hold = [begun]
    stepper = torch.optim.SGD.__new__(torch.optim.SGD)
    stepper.hold = [stepper]
    torch.manual_seed(0)
    model = net()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, asks_step=False) as monitor:
        for k, batch in enumerate(batches(300)):
            loss = (model(batch[0]) - batch[1]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            follow(average, model, 1.0 if moved_late and k == 250 else rate)
    found = [f for f in monitor.diagnose().findings if f.rule == "slow_average"]
    assert [f.severity for f in found] == expected
    assert not any(m._forward_pre_hooks for m in average.modules())
    assert not expected or "0.001 of the way to model" in found[0].seen
