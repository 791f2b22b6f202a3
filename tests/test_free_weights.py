"""Mixtures whose weights are not normalised, in several layouts, beside sound ones and losses that look like one."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F

from trainability.doctor.measure.free_weights import free_weights

N, K = 32, 4
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
Y = torch.randn(N, 1, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(N) % K


class Parts(nn.Module):
    """Weights, means and log deviations from layers of their own."""

    def __init__(self, is_normalised: bool) -> None:
        super().__init__()
        self.weights, self.means, self.scales = (nn.Linear(3, K) for _ in range(3))
        self.is_normalised = is_normalised

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weights(x)
        return self.means(x), self.scales(x), weights.log_softmax(1) if self.is_normalised else weights


def density(means: Tensor, scales: Tensor) -> Tensor:
    return Normal(means, scales.clamp(-5, 3).exp()).log_prob(Y)


def of_parts(out: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    means, scales, weights = out
    return -torch.logsumexp(weights + density(means, scales), dim=1).mean()


def chunks(is_normalised: bool) -> Callable[[Tensor], Tensor]:
    def loss(out: Tensor) -> Tensor:
        weights, means, scales = out.chunk(3, dim=1)
        return -torch.logsumexp((weights.log_softmax(1) if is_normalised else weights) + density(means, scales), dim=1).sum()

    return loss


def interleaved(out: Tensor) -> Tensor:
    means, weights, scales = out.view(N, K, 3).unbind(2)
    return -torch.logsumexp(weights + density(means, scales), dim=1).mean()


def by_class(out: Tensor) -> Tensor:
    weights, means, scales = out.chunk(3, dim=1)
    mixture = MixtureSameFamily(Categorical(logits=weights), Normal(means, scales.clamp(-5, 3).exp()))
    return -mixture.log_prob(Y[:, 0]).mean()


def wide() -> nn.Module:
    return nn.Linear(3, 3 * K)


CLASSES = {
    "cross entropy": lambda out: F.cross_entropy(out[:, :K], LABELS),
    "likelihood of log-probabilities": lambda out: F.nll_loss(out[:, :K].log_softmax(1), LABELS),
    "regression": lambda out: F.mse_loss(out[:, :1], Y),
    "critic": lambda out: -out[:, 0].mean(),
    "policy": lambda out: -(Categorical(logits=out[:, :K]).log_prob(LABELS) * Y[:, 0]).mean(),
    "energy": lambda out: (torch.logsumexp(out[N // 2 :], dim=1) - torch.logsumexp(out[: N // 2], dim=1)).mean(),
    "smooth maximum": lambda out: (torch.logsumexp(out, dim=1) - Y[:, 0]).square().mean(),
}


@pytest.mark.parametrize(
    ("model", "loss", "found"),
    [
        (lambda: Parts(False), of_parts, (2, K)),
        (wide, chunks(False), (0, K)),
        (wide, interleaved, (0, K)),
        (lambda: Parts(True), of_parts, None),
        (wide, chunks(True), None),
        (wide, by_class, None),
        *((wide, loss, None) for loss in CLASSES.values()),
    ],
)
def test_weights_of_mixtures(model: Callable[[], nn.Module], loss: Callable, found: tuple[int, int] | None) -> None:
    torch.manual_seed(0)
    net = model()
    assert free_weights(net, X, lambda m, x: loss(m(x))) == found


def test_the_loss_falls_by_what_is_added() -> None:
    """The closed form that the measurement rests on."""
    torch.manual_seed(0)
    weights, logs = torch.randn(N, K), torch.randn(N, K)
    moved = -torch.logsumexp(weights + 20 + logs, dim=1).mean()
    assert float(moved) == pytest.approx(float(-torch.logsumexp(weights + logs, dim=1).mean()) - 20, abs=1e-4)
    assert math.isclose(float((weights + logs).softmax(1).sum()), N, rel_tol=1e-5)
