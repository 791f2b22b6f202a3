"""Moving averages whose batch norms keep the statistics of their start, where that counts, and where it does not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor import Diagnosis

RNG = torch.Generator().manual_seed(0)
X = 4 * torch.randn(640, 8, generator=RNG) + 9
Y = (X[:, :1] - 9) * (X[:, 1:2] - 9) / 16
Step = Callable[[Any, Any, Any], Tensor]
Refresh = Callable[[nn.Module, nn.Module, int], None]


def net(norm: type[nn.Module] = nn.BatchNorm1d, outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), norm(32), nn.ReLU(), nn.Linear(32, 32), norm(32), nn.ReLU(), nn.Linear(32, outputs))


class Both(nn.Module):
    """Trains `net`; in evaluation the average answers."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm1d, *, by_average: bool = True) -> None:
        super().__init__()
        self.net = net(norm)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.by_average = by_average

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if self.training or not self.by_average else self.ema(x)


@torch.no_grad()
def follow(average: nn.Module, trained: nn.Module, rate: float = 0.03) -> None:
    for a, w in zip(average.parameters(), trained.parameters(), strict=True):
        a.lerp_(w, rate)


@torch.no_grad()
def take_buffers(average: nn.Module, trained: nn.Module, count: int = 0) -> None:
    for a, w in zip(average.buffers(), trained.buffers(), strict=True):
        a.copy_(w)


def now_and_then(average: nn.Module, trained: nn.Module, count: int) -> None:
    if count % 5 == 0:
        take_buffers(average, trained)


def nothing(average: nn.Module, trained: nn.Module, count: int) -> None:
    pass


def averaging(refresh: Refresh = nothing, *, moves: bool = True) -> Step:
    count = [0]

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.mse_loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count[0] += 1
        if moves:
            follow(model.ema, model.net)
        refresh(model.ema, model.net, count[0])
        return loss.detach()

    return step


def teaching(refresh: Refresh = nothing, *, in_eval: bool = True) -> Step:
    """A mean teacher, whose answers to the noised input are targets, too."""
    count = [0]

    def step(models: Any, optimizer: Any, batch: Any) -> Tensor:
        student, teacher = models["student"].train(), models["teacher"].train(not in_eval)
        with torch.no_grad():
            told = teacher(batch[0] + 0.1 * torch.randn_like(batch[0]))
        answer = student(batch[0])
        loss = F.mse_loss(answer, batch[1]) + F.mse_loss(answer, told)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count[0] += 1
        follow(teacher, student, 0.05)
        refresh(teacher, student, count[0])
        return loss.detach()

    return step


def pair(norm: type[nn.Module] = nn.BatchNorm1d) -> dict[str, nn.Module]:
    student = net(norm)
    return {"student": student, "teacher": copy.deepcopy(student).requires_grad_(False)}


def swa() -> tuple[nn.Module, Step]:
    """PyTorch's own average, whose statistics `update_bn` measures behind the last step."""
    model = net()
    average = AveragedModel(model)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.mse_loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        return loss.detach()

    return model, step


def checked(model: Any, step: Step, *, size: int = 32, inputs: Tensor = X) -> Diagnosis:
    parts = list(model.values()) if isinstance(model, dict) else [model]
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters() if p.requires_grad], 3e-3)
    loader = DataLoader(TensorDataset(inputs, Y), size, shuffle=True, generator=torch.Generator().manual_seed(0))
    return trainability.check(model, loader, optimizer=optimizer, step=step, planned_steps=500, rehearse_seconds=6)


def found(diagnosis: Diagnosis) -> str | None:
    return {f.code: f.severity for f in diagnosis.findings}.get("evaluation_path.average")


SOUND: dict[str, Callable[[], tuple[Any, Step]]] = {
    "buffers are copied": lambda: (Both(), averaging(take_buffers)),
    "buffers are copied now and then": lambda: (Both(), averaging(now_and_then)),
    "the trained net evaluates": lambda: (Both(by_average=False), averaging()),
    "layer norms": lambda: (Both(nn.LayerNorm), averaging()),
    "a copy that stays as it is": lambda: (Both(), averaging(moves=False)),
    "PyTorch's average": swa,
    "a teacher in training mode": lambda: (pair(), teaching(in_eval=False)),
    "a teacher with buffers": lambda: (pair(), teaching(take_buffers)),
    "a teacher with layer norms": lambda: (pair(nn.LayerNorm), teaching()),
}


def test_an_average_that_evaluates() -> None:
    model = Both()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    diagnosis = checked(model, averaging())
    assert found(diagnosis) == "warning"
    assert diagnosis.evidence.rehearsal is not None
    left = diagnosis.evidence.rehearsal.left_statistics
    assert left is not None
    assert (left.name, left.twin, left.count, left.in_loss) == ("model.ema", "model.net", 2, False)
    assert left.mean_square > 10
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(module.training for module in model.modules())


def test_an_average_in_the_loss() -> None:
    diagnosis = checked(pair(), teaching())
    assert found(diagnosis) == "warning"
    assert diagnosis.evidence.rehearsal is not None
    assert diagnosis.evidence.rehearsal.left_statistics is not None
    assert diagnosis.evidence.rehearsal.left_statistics.in_loss


@pytest.mark.parametrize("name", SOUND)
def test_sound_averages(name: str) -> None:
    assert found(checked(*SOUND[name]())) is None
