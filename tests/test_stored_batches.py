"""Steps that write to their batch: of loaders that keep their batches, and of those that make them anew."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.stored_batches import copied_batches

X = torch.randn(128, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * 2


class Net(nn.Module):
    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change, self.net = change, nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        changed = self.change(x)
        return self.net(changed if isinstance(changed, Tensor) else x)


def scaled(x: Tensor) -> None:
    x[:, :3] *= 0.5


def kept() -> Any:
    x, y = X.clone(), Y.clone()
    return [(x[k : k + 32], y[k : k + 32]) for k in range(0, 128, 32)]


def made() -> Any:
    return DataLoader(TensorDataset(X.clone(), Y.clone()), 32, shuffle=True)


@pytest.mark.parametrize(
    ("loader", "change", "told"),
    [
        (kept, scaled, True),
        (kept, lambda x: x.add_(1.0), True),
        (made, scaled, False),
        (kept, lambda x: x.clamp_(-1, 1), False),  # the second run changes nothing any more
        (kept, lambda x: x * 0.5, False),
        (kept, lambda x: scaled(x.clone()), False),
    ],
)
def test_what_a_step_leaves_in_a_batch(loader: Callable, change: Callable, told: bool) -> None:
    batches = loader()
    facts = facts_of(Net(change), next(iter(batches)), loss_fn=F.mse_loss, batches=batches)
    assert facts is not None
    found = facts.readings.overwritten
    assert (found is not None) is told
    if found is not None:
        assert (found.kind, found.place, found.num_examples, found.num_changed) == ("step", "[0]", 32, 32)


def test_objects_that_steps_go_on_with_are_not_copied() -> None:
    environment, x = object(), X.clone()
    (one,), (other,) = copied_batches([{"x": x, "in": environment, "more": (x, "name")}]), copied_batches(({"x": x},))
    assert one["in"] is environment
    assert one["x"].data_ptr() != x.data_ptr()
    assert torch.equal(one["more"][0], x)
    assert torch.equal(other["x"], x)
    assert copied_batches(DataLoader(TensorDataset(x))).dataset.tensors[0] is x


@pytest.mark.parametrize("change", [scaled, lambda x: x.clamp_(-1, 1)])
def test_check_leaves_the_batches_as_they_are(change: Callable) -> None:
    model, batches = Net(change), kept()
    said = trainability.check(model, batches, F.mse_loss, torch.optim.Adam(model.parameters(), lr=1e-3))
    assert ("overwritten_data.step" in [found.code for found in said.findings]) is (change is scaled)
    assert torch.equal(torch.cat([x for x, _ in batches]), X)
