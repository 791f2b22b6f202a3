"""Errors against the slow obvious definition, and against the ways in which a metric can be wrong."""

import math

import pytest
import torch

from trainability.evaluation.metrics import chance, correct_counts, errors, ranks


def test_counts_equal_topk() -> None:
    logits, labels = torch.randn(500, 20), torch.randint(0, 20, (500,))
    top = logits.topk(5, 1).indices
    expected = [(top[:, 0] == labels).sum().item(), (top == labels[:, None]).any(1).sum().item()]
    assert correct_counts(logits, labels).tolist() == expected


def test_any_batching_gives_one_value() -> None:
    logits, labels = torch.randn(103, 12), torch.randint(0, 12, (103,))
    whole = correct_counts(logits, labels)
    for size in (1, 7, 100):
        parts = zip(logits.split(size), labels.split(size), strict=True)
        assert torch.equal(sum(correct_counts(a, b) for a, b in parts), whole)


def test_a_constant_predictor_scores_the_share_of_the_first_class() -> None:
    labels = torch.arange(10).repeat(3)
    top1, top5 = correct_counts(torch.zeros(30, 10), labels).tolist()
    assert (top1, top5) == (3, 15)


def test_nan_is_never_right() -> None:
    logits = torch.full((4, 10), math.nan)
    assert correct_counts(logits, torch.zeros(4, dtype=torch.long)).tolist() == [0, 0]
    logits = torch.zeros(1, 10)
    logits[0, 3] = math.nan
    assert ranks(logits, torch.tensor([5])).item() == 10


def test_examples_of_weight_zero_do_not_count() -> None:
    logits = torch.eye(4)[[0, 1, 2]]
    assert correct_counts(logits, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.0, 1.0])).tolist() == [1, 2]


def test_top5_below_five_classes_is_not_defined() -> None:
    assert errors(1.0, 1, 2, 2, 4).top5_error is None
    assert errors(1.0, 1, 2, 2, 5).top5_error == 0
    assert chance(4).top5_error is None


def test_chance() -> None:
    level = chance(1000)
    assert (level.loss, level.top1_error, level.top5_error) == pytest.approx((math.log(1000), 0.999, 0.995))
