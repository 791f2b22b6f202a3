"""The doctor on a CUDA device: it finds there what it finds on a CPU, changes no bit, and waits at sampled steps only."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, Setup, confirm
from trainability.checking.check import check_setup

pytestmark = pytest.mark.gpu

EVERY, STEPS = 4, 10


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)
    )


def recurrent() -> nn.Module:
    torch.manual_seed(0)
    return Tagger()


class Tagger(nn.Module):
    """The class of a sequence of 8 places."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(48, 32, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x.reshape(len(x), 8, 48))[0][:, -1])


def loop(
    make: Callable[[], nn.Module], *, watch: bool, after_sampled: str = "default", clip: float | None = 1.0
) -> tuple[nn.Module, list[int]]:
    """Ten steps; between sampled ones under the mode of synchronisation that is named. Also the steps that a monitor saw."""
    model = make().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, capturable=True)
    x = torch.randn(32, 3, 8, 16, generator=torch.Generator().manual_seed(1)).cuda()
    y = torch.arange(32, device="cuda") % 10
    monitor = Monitor(model, optimizer, EVERY, clip=clip) if watch else None
    if monitor:
        monitor.__enter__()
    for step in range(1, STEPS + 1):
        is_sampled = step % EVERY in (1, 2)  # the step that is sampled, and what is told of it when the next begins
        torch.cuda.set_sync_debug_mode("default" if is_sampled or step <= 2 else after_sampled)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if monitor:
            monitor.after_backward(loss)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.set_sync_debug_mode("default")
    if monitor is None:
        return model, []
    monitor.__exit__(None, None, None)
    assert not monitor.evidence().problems
    return model, [step.step for step in monitor.evidence().steps]


@pytest.fixture
def no_waiting():
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("make", [convolutional, recurrent])
def test_monitor_waits_at_sampled_steps_only(make, no_waiting) -> None:
    _, seen = loop(make, watch=True, after_sampled="error")  # any wait between sampled steps raises
    assert seen == list(range(1, STEPS + 1))


@pytest.mark.parametrize("make", [convolutional, recurrent])
def test_monitor_changes_no_bit(make, monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    (plain, _), (watched, _) = loop(make, watch=False), loop(make, watch=True)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def setup(*, std: float | None = None, device: str = "cuda", data_on_device: bool = True) -> Setup:
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Linear(8, 8), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight) if std is None else nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
    x = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    place = device if data_on_device else "cpu"
    loader = DataLoader(TensorDataset(x.to(place), y.to(place)), 32, shuffle=True)
    optimizer = torch.optim.SGD(model.to(device).parameters(), 0.1, momentum=0.9)
    return Setup(model=model, train_loader=loader, optimizer=optimizer, loss_fn=F.cross_entropy, rehearse_seconds=60)


@pytest.mark.parametrize("data_on_device", [True, False])
@pytest.mark.parametrize("std", [0.01, None])
def test_check_says_what_it_says_on_a_cpu_and_restores_the_model(std: float | None, data_on_device: bool) -> None:
    made = setup(std=std, data_on_device=data_on_device)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    state = torch.cuda.get_rng_state()
    diagnosis, on_cpu = check_setup(made), check_setup(setup(std=std, device="cpu"))
    assert [finding.code for finding in diagnosis.findings] == [finding.code for finding in on_cpu.findings]
    assert [finding.code for finding in diagnosis.findings if finding.severity != "hint"] == (["slow_start"] if std else [])
    assert torch.equal(torch.cuda.get_rng_state(), state)
    for name, value in made.model.state_dict().items():
        assert value.device.type == "cuda"
        assert torch.equal(value, before[name]), name


def test_experiments_confirm_the_cause() -> None:
    cause = confirm(lambda: setup(std=0.01), seconds=60).findings[0]
    assert cause.code == "slow_start"
    assert cause.tested is not None
    assert cause.tested.outcome == "confirmed"
