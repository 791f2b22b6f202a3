"""Weights that are to undo an imbalance of classes, and make it worse."""

from typing import Any

import pytest
import torch
from torch import Tensor

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.loss_arguments import weighs_examples, wrong_argument


def marks(positives: int, count: int = 32) -> Tensor:
    return (torch.arange(count) < positives).float()


def classes(*counts: int) -> Tensor:
    return torch.cat([torch.full((count,), c) for c, count in enumerate(counts)])


@pytest.mark.parametrize(
    ("positives", "weight", "found"),
    [
        (4, 0.1, True),
        (4, 0.5, True),
        (4, 0.6, False),
        (4, 9.0, False),
        (9, 0.1, False),
        (0, 0.1, True),
        (28, 9.0, True),
        (28, 0.1, False),
    ],
)
def test_positives_that_are_rare_weigh_more(positives: int, weight: float, found: bool) -> None:
    given = (torch.zeros(32), marks(positives))
    word = wrong_argument("binary_cross_entropy_with_logits", given, {"pos_weight": torch.tensor(weight)})
    assert (word == ("binary_cross_entropy_with_logits", "rare_lighter")) is found


def test_each_mark_has_a_weight_of_its_own() -> None:
    target = torch.stack([marks(3), marks(5)], dim=1)
    for weight, found in (([0.1, 0.2], True), ([9.0, 5.0], False)):
        word = wrong_argument("binary_cross_entropy_with_logits", (target, target), {"pos_weight": torch.tensor(weight)})
        assert (word is not None) is found


@pytest.mark.parametrize(
    ("counts", "weights", "found"),
    [
        ((60, 12, 8), (0.75, 0.15, 0.1), True),
        ((60, 12, 8), (1.0, 5.0, 7.5), False),
        ((60, 12, 8), (3.0, 5.0, 1.0), False),  # of one pair the rarer weighs more
        ((30, 28, 22), (3.0, 2.0, 1.0), False),  # as chance has it
        ((12, 3, 1), (0.75, 0.2, 0.05), False),  # too few to say
        ((60, 12, 8), (1.0, 1.0, 0.0), False),  # a class is left out
    ],
)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_rare_classes_weigh_more(name: str, counts: Any, weights: Any, found: bool) -> None:
    labels = classes(*counts)
    word = wrong_argument(name, (torch.zeros(len(labels), 3), labels, torch.tensor(weights)), {})
    assert (word == (name, "rare_lighter")) is found


@pytest.mark.parametrize(
    ("settings", "weighs"),
    [
        ({"weight": torch.tensor([1.0, 9.0, 30.0])}, True),
        ({"reduction": "none"}, True),
        ({"weight": torch.ones(3)}, False),
        ({"weight": None, "reduction": "mean"}, False),
    ],
)
def test_a_loss_may_count_some_classes_for_more(settings: dict[str, Any], weighs: bool) -> None:
    given = torch.zeros(4, 3), torch.tensor([0, 0, 1, 2])
    assert weighs_examples("cross_entropy", given, settings) is weighs
    assert not weighs_examples("mse_loss", given, settings)


def test_a_loss_of_marks_may_count_the_positive_ones_for_more() -> None:
    given, settings = (torch.zeros(4), marks(1, 4)), {"pos_weight": torch.tensor(3.0)}
    assert weighs_examples("binary_cross_entropy_with_logits", given, settings)
    assert not weighs_examples("binary_cross_entropy_with_logits", given, {"pos_weight": None})


@pytest.mark.parametrize(("positives", "found"), [(19, True), (21, False), (181, True), (179, False), (0, False)])
@pytest.mark.parametrize("kind", ["column", "row", "classes"])
def test_a_rare_label_of_two_is_a_hint(positives: int, found: bool, kind: str) -> None:
    labels = marks(positives, 200)
    labels = labels.long() if kind == "classes" else labels[:, None] if kind == "column" else labels
    data = audit_data([(torch.randn(200, 5, generator=torch.Generator().manual_seed(0)), labels)])
    assert data.train.positive == (pytest.approx(positives / 200) if positives else None)
    told = [f for f in diagnose(Evidence(data=data)).findings if f.code == "class_imbalance"]
    assert [f.severity for f in told] == ["hint"] * found
    weighed = Evidence(data=data, facts=Facts(weighs_examples=True))
    assert not [f for f in diagnose(weighed).findings if f.code == "class_imbalance"]
