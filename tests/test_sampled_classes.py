"""Batches of few classes in a watched loop: also with samples at one place of a pass, or at a border of classes."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability


def codes(labels: Tensor, *, per_batch: int, every: int = 10, passes: int = 12) -> dict[str, str]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with trainability.Monitor(model, optimizer, every=every, asks_step=False) as monitor:
        for _ in range(passes):
            for part in labels.split(per_batch):
                loss = F.cross_entropy(model(torch.randn(len(part), 6)), part)
                optimizer.zero_grad()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
    return {f.code: f.severity for f in monitor.diagnose().findings if f.rule == "class_order"}


SORTED = torch.arange(8).repeat_interleave(20)  # ten batches of 16, in each of which one class ends and another begins, or one


@pytest.mark.parametrize(
    ("labels", "per_batch", "every", "severity"),
    [
        (torch.arange(10).repeat_interleave(16) % 8, 16, 10, "error"),  # a pass is as long as the interval
        (SORTED, 16, 7, "warning"),
        (SORTED[torch.randperm(160, generator=torch.Generator().manual_seed(0))], 16, 7, None),
    ],
)
def test_sorted_classes_are_seen_in_few_samples(labels: Tensor, per_batch: int, every: int, severity: str | None) -> None:
    found = codes(labels, per_batch=per_batch, every=every)
    assert found == ({"class_order": severity} if severity else {})


def test_data_of_one_class_stays_a_hint() -> None:
    assert codes(torch.zeros(160, dtype=torch.long), per_batch=16) == {"class_order.one_class": "hint"}
