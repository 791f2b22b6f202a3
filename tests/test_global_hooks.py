"""Hooks of the whole process are gone when what set them is over."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as module_hooks

import trainability
from trainability.doctor.measure.global_hooks import on_every_call


def hooks() -> dict[str, int]:
    names = [name for name in vars(module_hooks) if name.startswith("_global_") and "hook" in name]
    return {name: len(getattr(module_hooks, name) or ()) for name in names}


def test_a_removed_hook_leaves_nothing_behind() -> None:
    before, calls = hooks(), []
    for always in (False, True):
        handle = on_every_call(lambda module, args, kwargs, output: calls.append(kwargs), always_call=always)
        nn.Linear(2, 2)(input=torch.ones(1, 2))
        handle.remove()
    assert [list(kwargs) for kwargs in calls] == [["input"], ["input"]]
    assert hooks() == before


def test_a_check_and_a_monitored_loop_leave_no_hook_behind() -> None:
    torch.manual_seed(0)
    before = hooks()
    x = torch.randn(128, 6)
    batches = list(zip(x.split(32), (x[:, 0] > 0).long().split(32), strict=True))
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainability.check(model, batches, loss_fn=F.cross_entropy, optimizer=optimizer, rehearse_seconds=1)
    assert hooks() == before
    with trainability.Monitor(model, optimizer, every=2) as monitor:
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    monitor.diagnose()
    assert hooks() == before
