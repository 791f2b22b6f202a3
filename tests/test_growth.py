"""Growth of the weights and its noise: against singular values, against batches drawn one by one, and with dropout."""

import math

import pytest
import torch
from rule_examples import SGD
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import Growth, Rehearsal, RehearsedStep
from trainability.doctor.stay import QUICK_STEPS, growing_steps, mean_growth, noise_over_signal

CLASSES, FEATURES, SIZE = 4, 12, 16


def net(p: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 32, bias=False), nn.ReLU(), nn.Dropout(p), nn.Linear(32, CLASSES, bias=False))


def examples(count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    labels = torch.arange(count) % CLASSES
    return 2 * F.one_hot(labels, FEATURES) + torch.randn(count, FEATURES), labels


def growth_of(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Growth | None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return rehearse(model, optimizer, batches, loss_fn=F.cross_entropy, max_steps=1).growth


def ratios(model: nn.Module, inputs: Tensor, labels: Tensor, less: list[Tensor] | None = None) -> tuple[float, list[Tensor]]:
    weights = list(model.parameters())
    found = list(torch.autograd.grad(F.cross_entropy(model(inputs), labels), weights))
    moved = found if less is None else [g - mean for g, mean in zip(found, less, strict=True)]
    norm = lambda x: torch.linalg.matrix_norm(x.detach(), 2)  # noqa: E731
    return sum(float(norm(g) / norm(w)) for g, w in zip(moved, weights, strict=True)), found


def test_where_all_batches_agree_growth_is_that_of_the_gradient_and_there_is_no_noise() -> None:
    inputs, labels = examples(SIZE)
    model = net()
    found = growth_of(model, [(inputs, labels)] * 16)
    expected, gradient = ratios(model, inputs, labels)
    assert found is not None
    assert found.batches == 8
    assert found.signal == pytest.approx(expected, rel=0.1)  # singular values of weights are found within a tenth
    assert found.noise == pytest.approx(0.0, abs=1e-5 * expected)
    assert found.norm == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in gradient)), rel=1e-4)


def test_noise_is_that_of_batches_drawn_one_by_one() -> None:
    inputs, labels = examples(64 * SIZE)
    batches = list(zip(inputs.split(SIZE), labels.split(SIZE), strict=True))
    model = net()
    found = growth_of(model, batches)
    signal, mean = ratios(model, inputs, labels)
    drawn = [ratios(model, *batch, less=mean) for batch in batches]
    assert found is not None
    assert found.noise == pytest.approx(sum(noise for noise, _ in drawn) / len(drawn), rel=0.3)
    assert found.signal == pytest.approx(signal, rel=0.3)
    norms = [sum(float(g.square().sum()) for g in gradient) for _, gradient in drawn]
    assert found.norm == pytest.approx(math.sqrt(sum(norms) / len(norms)), rel=0.3)


def test_dropout_is_noise_and_no_signal() -> None:
    batches = list(zip(*(part.split(SIZE) for part in examples(64 * SIZE)), strict=True))
    plain, dropped = growth_of(net(), batches), growth_of(net(0.5), batches)
    assert plain is not None
    assert dropped is not None
    assert dropped.signal == pytest.approx(plain.signal)
    assert dropped.noise > 1.2 * plain.noise


def test_where_it_is_not_measured() -> None:
    batches = list(zip(*(part.split(SIZE) for part in examples(64 * SIZE)), strict=True))
    model = net()
    adam = torch.optim.Adam(model.parameters(), lr=0.0)
    assert rehearse(model, adam, batches, loss_fn=F.cross_entropy, max_steps=1).growth is None
    assert growth_of(net(), [(inputs[:3], labels[:3]) for inputs, labels in batches[:2]]) is None  # six examples


def test_steps_of_growth_follow_rate_momentum_and_clip() -> None:
    growth = Growth(signal=2.0, noise=4.0, norm=5.0, batches=4.0)
    seen = Rehearsal(steps=(RehearsedStep(step=1),), growth=growth)
    assert growing_steps(seen, SGD) == pytest.approx(1 / (0.01 / (1 - 0.9) * 2.0))
    clipped = SGD.__class__(name="SGD", lr=0.01, momentum=0.9, clip=1.0)
    assert growing_steps(seen, clipped) == pytest.approx(5 * 5.0)
    assert growing_steps(Rehearsal(steps=()), SGD) is None
    assert noise_over_signal(growth, 16.0) == pytest.approx(4.0 / 2.0 / 4)
    hidden = Growth(signal=0.0, noise=4.0, norm=5.0, batches=4.0)  # a tenth of the reference's noise may be signal
    assert noise_over_signal(hidden, 1.0) == pytest.approx(20.0)
    assert mean_growth(0.0, 20.0 - QUICK_STEPS) == pytest.approx(math.sqrt(QUICK_STEPS * 20.0))
