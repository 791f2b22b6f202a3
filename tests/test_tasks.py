"""Kinds of task: recognised by their loss, their chance and their floor against closed forms and a search."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.tasks import chance_by_search, output_form, probability_floor, recognise

torch.manual_seed(0)
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 4, 4])
LOGITS = torch.randn(8, 5)
MAPS, MAP_LABELS = torch.randn(8, 5, 3, 3), torch.randint(5, (8, 3, 3))
TEXT, TOKENS = torch.randn(8, 6, 5), torch.randint(5, (8, 6))
YES, BITS = (torch.rand(8, 1) < 0.4).float(), (torch.rand(8, 4) < 0.3).float()
NUMBERS = torch.randn(8, 3) * 2 + 1

CASES: dict[str, tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor], str, str]] = {
    "labels": (LOGITS, LABELS, F.cross_entropy, "classification", "cross_entropy"),
    "module": (LOGITS, LABELS, nn.CrossEntropyLoss(), "classification", "cross_entropy"),
    "log probabilities": (LOGITS.log_softmax(1), LABELS, F.nll_loss, "classification", "cross_entropy"),  # the same
    "pixels": (MAPS, MAP_LABELS, F.cross_entropy, "pixel_classification", "cross_entropy"),
    "tokens": (
        TEXT,
        TOKENS,
        lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
        "token_classification",
        "cross_entropy",
    ),
    "next token": (
        TEXT,
        TOKENS,
        lambda o, t: F.cross_entropy(o[:, :-1].flatten(0, 1), t[:, 1:].flatten()),
        "token_classification",
        "cross_entropy",
    ),
    "flattened": (TEXT, TOKENS.flatten(), lambda o, t: F.cross_entropy(o.flatten(0, 1), t), "classification", "cross_entropy"),
    "yes or no": (
        torch.randn(8, 1),
        YES,
        F.binary_cross_entropy_with_logits,
        "binary",
        "binary_cross_entropy_with_logits",
    ),
    "probability": (torch.rand(8, 1), YES, F.binary_cross_entropy, "binary", "binary_cross_entropy"),
    "squeezed": (
        torch.randn(8, 1),
        YES[:, 0],
        lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t),
        "binary",
        "binary_cross_entropy_with_logits",
    ),
    "bits": (
        torch.randn(8, 4),
        BITS,
        F.binary_cross_entropy_with_logits,
        "multilabel",
        "binary_cross_entropy_with_logits",
    ),
    "numbers": (torch.randn(8, 3), NUMBERS, F.mse_loss, "regression", "mse_loss"),
    "distances": (torch.randn(8, 3), NUMBERS, F.l1_loss, "regression", "l1_loss"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_kind_is_recognised_by_its_loss(case: tuple) -> None:
    output, target, loss_fn, kind, loss = case
    task = recognise(output, [("[0]", torch.randn(8, 2)), ("[1]", target)], float(loss_fn(output, target)))
    assert (task.kind, task.loss, task.target) == (kind, loss, "[1]")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_another_loss_is_unknown(case: tuple) -> None:
    output, target, loss_fn, *_ = case
    task = recognise(output, [("[1]", target)], 1.1 * float(loss_fn(output, target)) + 0.1)
    assert (task.kind, task.chance, task.floor) == ("unknown", None, None)


@pytest.mark.parametrize("name", ["labels", "yes or no", "bits", "numbers", "distances"])
def test_chance_is_the_best_constant_answer(name: str) -> None:
    output, target, loss_fn, *_ = CASES[name]
    task = recognise(output, [("", target)], float(loss_fn(output, target)))
    searched = chance_by_search(lambda answer: loss_fn(answer, target), output, "values")
    assert task.chance == pytest.approx(searched, rel=2e-3)


def test_chance_of_labels_is_their_entropy() -> None:
    share = torch.tensor([3, 2, 1, 2]) / 8
    task = recognise(LOGITS, [("", LABELS)], float(F.cross_entropy(LOGITS, LABELS)))
    assert task.chance == pytest.approx(float(-(share * share.log()).sum()), rel=1e-5)
    assert task.floor == 0.0


def test_ignored_labels_count_for_nothing() -> None:
    labels = LABELS.clone()
    labels[:3] = -100
    task = recognise(LOGITS, [("", labels)], float(F.cross_entropy(LOGITS, labels)))
    share = torch.tensor([2, 1, 2]) / 5
    assert task.chance == pytest.approx(float(-(share * share.log()).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("form", "make"),
    [
        ("probabilities", lambda x: x.softmax(1)),
        ("probabilities", lambda x: torch.sigmoid(x).squeeze(-1)),
        ("log_probabilities", lambda x: x.log_softmax(1)),
        ("tanh", lambda x: torch.tanh(x).reshape(2, -1)),
        ("nonnegative", torch.relu),
        ("values", lambda x: torch.relu(x) + 1),
        ("values", lambda x: x * 2),
    ],
)
def test_the_form_is_read_off_the_graph(form: str, make: Callable[[Tensor], Tensor]) -> None:
    assert output_form(make(torch.randn(8, 1, requires_grad=True))) == form


def searched_floor(loss: Callable[[Tensor], Tensor], free: Tensor, steps: int = 1500) -> float:
    free = free.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([free], 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(free)
        value.backward()
        optimizer.step()
    return float(value.detach())


FLOORS = {
    "softmax twice": (lambda x: x.softmax(1), LOGITS, LABELS, F.cross_entropy),
    "sigmoid twice": (torch.sigmoid, torch.randn(8, 4), BITS, F.binary_cross_entropy_with_logits),
    "targets beyond tanh": (torch.tanh, torch.randn(8, 3), NUMBERS, F.mse_loss),
    "negative targets, ReLU": (F.relu, torch.rand(8, 3) + 0.1, NUMBERS, F.mse_loss),
}


@pytest.mark.parametrize("case", FLOORS.values(), ids=FLOORS)
def test_the_floor_of_bounded_outputs(case: tuple) -> None:
    shape, free, target, loss_fn = case
    output = shape(free.clone().requires_grad_())
    task = recognise(output, [("", target)], float(loss_fn(output, target).detach()))
    assert task.floor is not None
    assert task.floor > 0.1
    assert task.floor == pytest.approx(searched_floor(lambda x: loss_fn(shape(x), target), free), rel=0.02)


def test_softmax_twice_over_ten_classes() -> None:
    assert probability_floor(10) == pytest.approx(1.4612, abs=1e-4)


def test_a_loss_without_a_floor_has_no_chance_level() -> None:
    assert chance_by_search(lambda answer: answer.mean(), LOGITS, "values") is None
    assert chance_by_search(lambda answer: answer.mean() * math.nan, LOGITS, "values") is None
    assert chance_by_search(lambda answer: answer.square().mean(), TEXT, "values") is None
