"""Labels and a teacher's scores as targets of the same outputs: scores of other examples, and what looks like them."""

from typing import Any

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of

CLASSES, N = 5, 600
RNG = torch.Generator().manual_seed(0)
CENTRES = 2 * torch.randn(CLASSES, 8, generator=RNG)
Y = torch.randint(CLASSES, (N,), generator=RNG)
X = CENTRES[Y] + torch.randn(N, 8, generator=RNG)
ORDER = torch.randperm(N, generator=RNG)
SCORES = X @ CENTRES.T - 0.5 * CENTRES.square().sum(dim=1)


def divergence(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
    soft = F.kl_div(F.log_softmax(output / 3, dim=1), F.softmax(scores / 3, dim=1), reduction="batchmean")
    return 0.9 * 9 * soft + 0.1 * F.cross_entropy(output, labels)


def squares(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
    return F.mse_loss(output, scores) + F.cross_entropy(output, labels)


def soft_labels(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
    return F.cross_entropy(output, scores.softmax(dim=1)) + F.cross_entropy(output, labels)


def asked(loss: Any, x: Tensor, labels: Tensor, scores: Tensor) -> Facts:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    loader = DataLoader(TensorDataset(x, labels, scores), batch_size=64, shuffle=True)

    def step(model: Any, batch: Any) -> Tensor:
        return loss(model(batch[0]), *batch[1:])

    return facts_of(model, next(iter(loader)), training_step=step, batches=loader)


@pytest.mark.parametrize("loss", [divergence, squares, soft_labels])
def test_scores_that_were_kept_in_another_order(loss: Any) -> None:
    wrong, right = asked(loss, X, Y, SCORES[ORDER]), asked(loss, X, Y, SCORES)
    assert wrong.notes == right.notes == ()
    assert wrong.scores_of_others is not None
    assert wrong.scores_of_others[:2] == ("[1]", "[2]")
    assert right.scores_of_others is None
    (found,) = diagnose(fact(scores_of_others=wrong.scores_of_others)).findings
    assert found.code == "shuffled_labels.scores"


def test_inputs_that_were_mixed_have_the_partners_classes_as_second_targets() -> None:
    def mixed(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return 0.5 * F.cross_entropy(output, labels) + 0.5 * F.cross_entropy(output, scores)

    partners = F.one_hot(Y[ORDER], CLASSES).float()
    assert asked(mixed, 0.5 * X + 0.5 * X[ORDER], Y, partners).scores_of_others is None


def test_a_teacher_that_is_right_in_a_third_of_the_cases() -> None:
    weak = SCORES + 4 * SCORES.std() * torch.randn(N, CLASSES, generator=RNG)
    right = float((weak.argmax(dim=1) == Y).float().mean())
    assert 0.2 < right < 0.45
    assert asked(divergence, X, Y, weak).scores_of_others is None


def test_numbers_that_only_one_of_two_losses_reads_are_no_scores() -> None:
    noise = torch.randn(N, CLASSES, generator=RNG)

    def weighed(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return (F.cross_entropy(output, labels, reduction="none") * scores[:, 0].sigmoid()).mean()

    def repelled(output: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return F.cross_entropy(output + scores, labels)

    for loss in (weighed, repelled):
        assert asked(loss, X, Y, noise).scores_of_others is None
