"""Losses of yes and no that go by no answer to a no, beside those that keep a margin, count it for less, or rank."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.facts import look

DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(256, 6, generator=DRAWS)
Y = (X[:, 0] + 0.3 * torch.randn(256, generator=DRAWS) > 0).float()
Loss = Callable[[Tensor, Tensor], Tensor]


def chance(answer: Tensor) -> Tensor:
    return answer.sigmoid().clamp(1e-6, 1 - 1e-6)


def normalised(answer: Tensor, y: Tensor) -> Tensor:
    """A choice among the examples of the batch: those that are not chosen count in the sum."""
    return -(y * answer.log_softmax(0)).sum() / y.sum()


WRONG: dict[str, Loss] = {
    "hinge": lambda a, y: (1 - y * a).clamp(min=0).mean(),
    "squared hinge": lambda a, y: (1 - y * a).relu().square().mean(),
    "logistic": lambda a, y: F.softplus(-y * a).mean(),
    "half of the cross-entropy": lambda a, y: -(y * chance(a).log()).mean(),
}
SOUND: dict[str, Loss] = {
    "hinge of signs": lambda a, y: (1 - (2 * y - 1) * a).clamp(min=0).mean(),
    "cross-entropy": F.binary_cross_entropy_with_logits,
    "a margin for those that differ": lambda a, y: (y * a.square() + (1 - y) * (2 - a.abs()).relu().square()).mean(),
    "a tenth of the weight": lambda a, y: -(y * chance(a).log() + 0.1 * (1 - y) * (1 - chance(a)).log()).mean(),
    "among the batch": normalised,
    "focal": lambda a, y: (
        -(y * (1 - chance(a)) ** 2 * chance(a).log() + (1 - y) * chance(a) ** 2 * (-chance(a)).log1p())
    ).mean(),
}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))


@pytest.mark.parametrize("name", [*WRONG, *SOUND])
def test_a_target_of_zero_that_no_answer_goes_by(name: str) -> None:
    loss = WRONG.get(name) or SOUND[name]
    facts = look(model(), (X, Y), lambda model, batch: loss(model(batch[0]), batch[1]))
    assert facts.readings.unread_zeros is (name in WRONG), facts.notes


def test_a_hinge_of_zeros_comes_first() -> None:
    torch.manual_seed(0)
    net = model()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    assert check(net, loader, WRONG["hinge"], optimizer, rehearse_seconds=1).findings[0].code == "label_range.signs"
