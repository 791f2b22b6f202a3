"""A student that is taught soft answers, with and without the square of their temperature."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.diagnosis import Diagnosis

WORDS, CLASSES, T = 50, 4, 15.0
RNG = torch.Generator().manual_seed(0)
BAGS = torch.randint(WORDS, (256, 12), generator=RNG)
KINDS = torch.randint(CLASSES, (WORDS,), generator=RNG)
TEACHER = F.one_hot(KINDS, CLASSES).float() * 2.0
TAUGHT = TEACHER[BAGS].sum(dim=1)  # logits of a teacher that counts words of each kind
LABELS = TAUGHT.argmax(dim=1)


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(WORDS, 8), nn.Linear(8, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(torch.tanh(self.table(words).mean(dim=1)))


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def soft(answer: Tensor, taught: Tensor, temperature: float = T, reduction: str = "batchmean") -> Tensor:
    return F.kl_div(F.log_softmax(answer / temperature, dim=1), (taught / temperature).softmax(dim=1), reduction=reduction)


def in_logarithms(answer: Tensor, taught: Tensor) -> Tensor:
    made, asked = ((x * (1 / T)).log_softmax(dim=-1) for x in (answer, taught))
    return nn.KLDivLoss(reduction="batchmean", log_target=True)(made, asked)


def by_hand(answer: Tensor, taught: Tensor) -> Tensor:
    asked = F.softmax(taught / T, dim=1)
    return (asked * (asked.log() - F.log_softmax(answer / T, dim=1))).sum(dim=1).mean()


LOSSES: dict[str, tuple[Loss, bool]] = {
    "without the square": (lambda a, t, y: soft(a, t), True),
    "of every number a mean": (lambda a, t, y: soft(a, t, reduction="sum") / a.numel(), True),
    "in logarithms": (lambda a, t, y: in_logarithms(a, t), True),
    "by hand": (lambda a, t, y: by_hand(a, t), True),
    "by hand, with the square": (lambda a, t, y: T**2 * by_hand(a, t), False),
    "with the square": (lambda a, t, y: soft(a, t) * T * T, False),
    "beside labels": (lambda a, t, y: 0.5 * soft(a, t) + 0.5 * F.cross_entropy(a, y), False),
    "at a temperature of 2": (lambda a, t, y: soft(a, t, 2.0), False),
    "labels alone": (lambda a, t, y: F.cross_entropy(a, y), False),
}
NAMED = "capped_loss.temperature"


def sgd(model: nn.Module, rate: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate)


def watched(loss_of: Loss, make: Callable[[nn.Module], torch.optim.Optimizer] = sgd, steps: int = 120) -> Diagnosis:
    torch.manual_seed(0)
    model = Student()
    optimizer = make(model)
    with Monitor(model, optimizer, every=40) as monitor:
        for step in range(steps):
            rows = torch.arange(32 * step, 32 * step + 32) % len(BAGS)
            optimizer.zero_grad()
            loss = loss_of(model(BAGS[rows]), TAUGHT[rows], LABELS[rows])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.diagnose()


@pytest.mark.parametrize("name", LOSSES)
def test_a_divergence_at_a_temperature(name: str) -> None:
    loss_of, found = LOSSES[name]
    said = [f for f in watched(loss_of).findings if f.code == NAMED]
    assert bool(said) is found
    if found:
        assert "15 ** 2 * divergence" in (said[0].remedy or "")


def test_steps_of_any_length_are_left_alone() -> None:
    loss_of = LOSSES["without the square"][0]
    for make in (lambda m: torch.optim.Adam(m.parameters(), lr=3e-3), lambda m: sgd(m, 0.05 * T * T)):
        assert not [f for f in watched(loss_of, make).findings if f.code == NAMED]


@pytest.mark.parametrize(("rate", "found"), [(0.05, True), (0.05 * T * T, False)])
def test_check_names_the_square(rate: float, found: bool) -> None:
    torch.manual_seed(0)
    model = Student()

    def step(model: Any, batch: Any) -> Tensor:
        return soft(model(batch[0]), batch[1])

    loader = DataLoader(TensorDataset(BAGS, TAUGHT), 32, shuffle=True)
    said = check(model, loader, optimizer=sgd(model, rate), training_step=step, rehearse_seconds=3.0).findings
    assert any(f.code == NAMED and f.severity == "warning" for f in said) is found
