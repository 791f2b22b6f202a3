"""Places that are rarely marked, beside places that are not, tags, candidates, and losses that weigh them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

STEPS = 60
Loss = Callable[[Tensor, Tensor], Tensor]


class Squeezed(nn.Module):
    def __init__(self, *layers: nn.Module, dim: int = 1) -> None:
        super().__init__()
        self.layers, self.dim = nn.Sequential(*layers), dim

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(self.dim)


class PerStep(nn.Module):
    """A recurrent network that answers step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        state, answers = x.new_zeros(len(x), 8), []
        for step in x.transpose(1, 2).unbind(dim=1):
            state = self.cell(step, state)
            answers.append(self.head(state))
        return torch.cat(answers, dim=1)


def frames() -> nn.Module:
    return Squeezed(nn.Conv1d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv1d(8, 1, 1))


def marks(share: float, *shape: int) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(3)) < share).float()


def found(model: nn.Module, x: Tensor, y: Tensor, loss: Loss = F.binary_cross_entropy_with_logits) -> list[tuple[str, str]]:
    loader = DataLoader(TensorDataset(x, y), batch_size=16)

    def step(model: Any, batch: Any) -> Tensor:
        return loss(model(batch[0]), batch[1])

    before = [p.detach().clone() for p in model.parameters()]
    facts = facts_of(model, next(iter(loader)), training_step=step, batches=loader)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    findings = diagnose(Evidence(facts=facts)).findings
    return [(f.remedy, f.severity) for f in findings if f.code == "class_imbalance.places"]


@pytest.mark.parametrize(("share", "says"), [(0.02, "pos_weight"), (0.03, "pos_weight"), (0.06, ""), (0.3, "")])
def test_frames(share, says):
    told = found(frames(), torch.randn(160, 1, STEPS), marks(share, 160, STEPS))
    assert [severity for _, severity in told] == (["hint"] if says else [])
    assert all(says in remedy for remedy, _ in told)


@pytest.mark.parametrize("reduction", ["sum", "per example"])
def test_sums(reduction):
    def summed(output: Tensor, y: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(output, y, reduction="sum")
        return loss if reduction == "sum" else loss / len(y)

    assert found(frames(), torch.randn(160, 1, STEPS), marks(0.02, 160, STEPS), summed)


def test_masks_steps_and_probabilities():
    masks = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    assert found(masks, torch.randn(64, 3, 12, 12), marks(0.01, 64, 1, 12, 12))
    assert found(PerStep(), torch.randn(64, 1, STEPS), marks(0.02, 64, STEPS))
    told = found(Squeezed(frames(), nn.Sigmoid()), torch.randn(160, 1, STEPS), marks(0.02, 160, STEPS), F.binary_cross_entropy)
    assert "binary_cross_entropy(output, target, weight)" in told[0][0]


def dice(output: Tensor, y: Tensor) -> Tensor:
    p = output.sigmoid()
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def focal(output: Tensor, y: Tensor) -> Tensor:
    each = F.binary_cross_entropy_with_logits(output, y, reduction="none")
    return ((1 - torch.exp(-each)) ** 2 * each).mean()


@pytest.mark.parametrize(
    "loss",
    [
        dice,
        focal,
        lambda output, y: dice(output, y) + F.binary_cross_entropy_with_logits(output, y),
        lambda output, y: F.binary_cross_entropy_with_logits(output, y, pos_weight=torch.tensor(40.0)),
        lambda output, y: F.binary_cross_entropy_with_logits(output, y, weight=1 + 39 * y),
        F.mse_loss,
    ],
)
def test_silent_with_other_losses(loss):
    assert found(frames(), torch.randn(160, 1, STEPS), marks(0.02, 160, STEPS), loss) == []


def test_silent_for_tags_candidates_and_several_kinds_of_places():
    x = torch.randn(160, 20)
    assert found(nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, STEPS)), x, marks(0.02, 160, STEPS)) == []
    right = F.one_hot(torch.arange(160) % STEPS, STEPS).float()  # one of the candidates
    assert found(Squeezed(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1), dim=2), torch.randn(160, STEPS, 5), right) == []
    assert found(nn.Conv1d(1, 4, 3, padding=1), torch.randn(160, 1, STEPS), marks(0.02, 160, 4, STEPS)) == []
    assert found(nn.Linear(20, 1), x, marks(0.02, 160, 1)) == []


def test_silent_for_an_autoencoder_of_sparse_pictures():
    pictures = marks(0.02, 64, 1, 12, 12)
    assert found(nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)), pictures, pictures.clone()) == []


def test_silent_for_soft_targets_and_few_examples():
    assert found(frames(), torch.randn(160, 1, STEPS), 0.05 * torch.rand(160, STEPS)) == []
    assert found(frames(), torch.randn(8, 1, STEPS), marks(0.02, 8, STEPS)) == []
