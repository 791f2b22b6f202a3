"""A warm-up that is counted in another unit than it is stepped in, or that ends within the run."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LinearLR, OneCycleLR

from trainability import Monitor, check
from trainability.doctor.diagnosis import Diagnosis

EXAMPLES, EPOCHS = 512, 15  # 16 steps an epoch


def linear(optimizer: Any, steps: int) -> Any:
    return LinearLR(optimizer, start_factor=1e-3, total_iters=steps)


def one_cycle(optimizer: Any, steps: int) -> Any:
    return OneCycleLR(optimizer, max_lr=0.01, total_steps=4 * steps, div_factor=100, anneal_strategy="linear")


def by_hand(optimizer: Any, steps: int) -> Any:
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / steps))


def program() -> tuple[nn.Module, Any, Any]:
    torch.manual_seed(0)
    x = torch.randn(EXAMPLES, 6)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.01), batches(x, (x[:, :1] * x[:, 1:2]))


def watched(made: Any, warm: int, *, stops: bool = False) -> Diagnosis:
    model, optimizer, loader = program()
    schedule, monitor = made(optimizer, warm), Monitor(model, optimizer, every=20)
    try:
        with monitor:
            for _ in range(EPOCHS):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.mse_loss(model(x), y)
                    loss.backward()
                    monitor.after_backward(loss)
                    optimizer.step()
                    schedule.step()
            if stops:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    return monitor.diagnose()


def told(diagnosis: Diagnosis) -> bool:
    return any(f.code == "long_warm_up" and f.severity == "warning" for f in diagnosis.findings)


@pytest.mark.parametrize("made", [linear, one_cycle])
def test_a_run_that_ends_within_its_warm_up_is_told(made: Any) -> None:
    assert told(watched(made, 5 * EXAMPLES))
    assert not told(watched(made, 5 * EXAMPLES // 32))


@pytest.mark.parametrize("made", [linear, by_hand])
def test_a_run_that_was_stopped_is_not_judged(made: Any) -> None:
    assert not told(watched(made, 5 * EXAMPLES, stops=True))


@pytest.mark.parametrize(
    ("warm", "planned", "found"),
    [(3000, None, True), (24, None, False), (3000, 100, True), (3000, 2500, False), (100, 400, False)],
)
def test_a_warm_up_is_measured_before_the_run(warm: int, planned: int | None, found: bool) -> None:
    model, optimizer, loader = program()
    report = check(model, loader, F.mse_loss, optimizer, scheduler=linear(optimizer, warm), planned_steps=planned)
    assert told(report) == found


@pytest.mark.parametrize(("warm", "found"), [(20_000, True), (400_000, True), (50, False)])
def test_a_function_is_read_far_enough(warm: int, found: bool) -> None:
    model, optimizer, loader = program()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm))
    assert told(check(model, loader, F.mse_loss, optimizer, scheduler=scheduler, planned_steps=500)) == found
