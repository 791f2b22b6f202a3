"""Terms of a loss that step functions of outputs give, beside terms that train and numbers that are only read."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.doctor.measure.certain import facts_of

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(dim=1)


def errors(logits: Tensor) -> Tensor:
    return (logits.argmax(dim=1) != Y).float().mean()


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "share of errors": (lambda z: F.cross_entropy(z, Y) + errors(z), "argmax"),
    "weighted, in place": (lambda z: F.cross_entropy(z, Y).add_(2.0 * errors(z)), "argmax"),
    "accuracy taken off": (lambda z: F.cross_entropy(z, Y) - 0.5 * (z.argmax(dim=1) == Y).float().mean(), "argmax"),
    "comparison": (lambda z: F.cross_entropy(z, Y) + 3 * (z.softmax(dim=1).amax(dim=1) < 0.9).float().mean(), "lt"),
    "of three terms": (lambda z: F.cross_entropy(z, Y) + z.square().mean() + errors(z), "argmax"),
    "probabilities": (lambda z: F.cross_entropy(z, Y) + (1 - z.softmax(dim=1)[range(64), Y]).mean(), None),
    "a mask": (lambda z: F.cross_entropy(z, Y) + (z * (z > 0)).mean(), None),
    "only read": (lambda z: F.cross_entropy(z, Y) + 0 * errors(z), None),
    "detached": (lambda z: F.cross_entropy(z, Y) + z.square().mean().detach(), None),
    "chosen by class": (lambda z: F.cross_entropy(z, Y) + z[range(64), z.argmax(dim=1)].mean(), None),
    "straight through": (lambda z: F.mse_loss(z + (z.round() - z).detach(), torch.ones_like(z)), None),
}


class Hard(torch.autograd.Function):
    """A comparison with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        return (m > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def huber(z: Tensor) -> Tensor:
    size = (z - 1).abs()
    big = size > 1
    return (0.5 * size[~big] ** 2).sum() + size[big].sum() - 0.5 * big.sum()


def truncated(z: Tensor) -> Tensor:
    error, is_out = z - 1, (z - 1).abs() > 1
    return (error[~is_out] ** 2).sum() + is_out.float().mean()


def surrogate(z: Tensor) -> Tensor:
    loss = F.cross_entropy(z, Y)
    return errors(z) + (loss - loss.detach())


def gate(z: Tensor) -> Tensor:
    p = z.mean().sigmoid()
    return F.cross_entropy(z, Y) + ((p > 0.5).float() - p.detach() + p)


MEANT = {"own gradient": lambda z: F.cross_entropy(z, Y) + Hard.apply(z.mean()), "huber": huber, "truncated": truncated}
MEANT |= {"surrogate": surrogate, "gate": gate}
LOSSES |= {name: (made, None) for name, made in MEANT.items()}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("name", LOSSES)
def test_terms_without_a_slope(name: str) -> None:
    made, step = LOSSES[name]

    def training_step(model: Any, batch: Any) -> Tensor:
        return made(model(batch[0]))

    found = facts_of(net(), (X, Y), training_step=training_step).readings.idle_term
    assert (found[0] if found else None) == step
    assert found is None or 0 < found[1] < 1


def test_one_is_named_with_its_share() -> None:
    model = net()

    def training_step(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1]) + 5 * (model(batch[0]).argmax(dim=1) != batch[1]).float().mean()

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    report = trainability.check(model, [(X, Y)], training_step=training_step, optimizer=optimizer)
    (finding,) = [f for f in report.findings if f.rule == "idle_term"]
    assert finding.severity == "warning"
    assert finding.measurements[0].value > 0.3
