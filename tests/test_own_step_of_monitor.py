"""Monitor records one step of a loop by hand, and asks it when the loop is over: the program goes on as if it had not."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability import Monitor


def parts(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    x = torch.randn(256, 6)
    loader = DataLoader(TensorDataset(x, x.sum(dim=1)), batch_size=32, shuffle=True)
    return model, torch.optim.Adam(model.parameters(), 1e-2), loader


def right(output: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(output.squeeze(1), y)


def trained(
    loss_fn: Callable[[Tensor, Tensor], Tensor], *, num_epochs: int = 5, **words: Any
) -> tuple[Monitor | None, list[Any]]:
    """Train with a monitor, or without one where `words` are none, ask it, and return all that the program has by then."""
    model, optimizer, loader = parts()
    monitor = Monitor(model, optimizer, **words) if words else None
    losses = []
    if monitor is not None:
        monitor.__enter__()
    for _ in range(num_epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            if monitor is not None:
                monitor.after_backward(loss)
            optimizer.step()
            losses.append(loss.item())
    if monitor is not None:
        monitor.__exit__(None, None, None)
        monitor.diagnose()
    kept = [*model.state_dict().values(), *(p.grad for p in model.parameters()), torch.get_rng_state()]
    kept += [torch.tensor(losses), torch.tensor([module.training for module in model.modules()])]
    of_numpy = np.random.get_state(legacy=False)["state"]["key"]
    kept += [torch.from_numpy(of_numpy.astype(np.int64)), torch.tensor(random.getstate()[1])]
    return monitor, kept


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_program_computes_the_same_bits_and_goes_on_as_it_would() -> None:
    _, alone = trained(F.mse_loss)
    monitor, watched = trained(F.mse_loss, every=20)
    assert monitor is not None
    assert monitor.of_step is not None
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize(("every", "asks"), [(1, True), (20, True), (20, False)])
def test_targets_of_others_are_told_where_the_step_is_asked(every: int, asks: bool) -> None:
    monitor, _ = trained(lambda output, y: right(output, y.roll(1)), every=every, asks_step=asks)
    assert monitor is not None
    codes = [finding.code for finding in monitor.diagnose().findings]
    assert ("shuffled_labels.misaligned" in codes) is asks


def test_a_sound_loop_is_left_alone() -> None:
    monitor, _ = trained(right, every=20)
    assert monitor is not None
    assert monitor.of_step is not None
    assert not monitor.diagnose().asks_for_change


def test_nothing_is_asked_twice() -> None:
    model, optimizer, loader = parts()
    before = trainability.check(model, loader, right, optimizer=optimizer, rehearse_seconds=None)
    monitor, _ = trained(right, every=20, before=before)
    assert monitor is not None
    assert monitor.of_step is None


def test_whoever_interrupts_a_loop_does_not_wait() -> None:
    model, optimizer, loader = parts()
    monitor = Monitor(model, optimizer, every=20)
    monitor.__enter__()
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            loss = right(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    monitor.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert monitor.diagnose().evidence.steps
    assert monitor.of_step is None
    assert torch._C._len_torch_function_stack() == 0


def test_two_networks_that_take_turns_have_no_step_of_one() -> None:
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    made, judged = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
    asks: Any = {"every": 20}
    with Monitor(maker, made, **asks) as of_maker, Monitor(judge, judged, **asks) as of_judge:
        for _ in range(60):
            real, fake = torch.randn(16, 2), maker(torch.randn(16, 2))
            judged.zero_grad()
            loss = F.softplus(judge(fake.detach())).mean() + F.softplus(-judge(real)).mean()
            loss.backward()
            of_judge.after_backward(loss)
            judged.step()
            made.zero_grad()
            loss = F.softplus(-judge(fake)).mean()
            loss.backward()
            of_maker.after_backward(loss)
            made.step()
    assert not any(monitor.diagnose().asks_for_change for monitor in (of_maker, of_judge))
