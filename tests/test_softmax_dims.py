"""A softmax over another dimension than that of the classes, under every loss that looks classes up."""

from collections.abc import Callable

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.graph import nodes_of_loss
from trainability.doctor.measure.softmax_dims import softmax_astray

ASTRAY = "misread_logits.other_dimension"


def logarithm(z: Tensor, dim: int) -> Tensor:
    return torch.log(z.softmax(dim) + 1e-8)


class Head(nn.Module):
    """Layers, and a softmax over one dimension."""

    def __init__(self, net: nn.Module, over: Callable[[Tensor, int], Tensor], dim: int) -> None:
        super().__init__()
        self.net, self.over, self.dim = net, over, dim

    def forward(self, x: Tensor) -> Tensor:
        return self.over(self.net(x), self.dim)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0])


def of_pixels(over: Callable[[Tensor, int], Tensor], dim: int, loss: nn.Module) -> tuple[nn.Module, Tensor, Tensor, nn.Module]:
    x = torch.rand(64, 1, 8, 10, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    return Head(net, over, dim), x, (x[:, 0] > 0.3).long() + (x[:, 0] > 0.7).long(), loss


@pytest.mark.parametrize(
    ("over", "loss"), [(F.log_softmax, nn.NLLLoss()), (logarithm, nn.NLLLoss()), (F.softmax, nn.CrossEntropyLoss())]
)
@pytest.mark.parametrize("dim", [-1, 2, 1, 0])
def test_maps_of_classes(over: Callable[[Tensor, int], Tensor], loss: nn.Module, dim: int) -> None:
    torch.manual_seed(0)
    model, x, y, loss_fn = of_pixels(over, dim, loss)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    found = check(model, batches(x, y), loss_fn, optimizer, rehearse_seconds=0.0).findings
    assert (found[0].code if found else None) == (ASTRAY if dim != 1 else "softmax_twice" if over is F.softmax else None)


def transposed(z: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(z.transpose(1, 2), y)


def flat(z: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(z[:, 1:].reshape(-1, 5), y[:, 1:].reshape(-1))


def aligned(z: Tensor, y: Tensor) -> Tensor:
    lengths = torch.full((len(z),), z.shape[1])
    return F.ctc_loss(z.permute(1, 0, 2), 1 + y[:, :3] % 4, lengths, torch.full((len(z),), 3))


@pytest.mark.parametrize("loss", [transposed, flat, aligned])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_sequences_of_classes(loss: Callable[[Tensor, Tensor], Tensor], dim: int) -> None:
    torch.manual_seed(0)
    z, y = Head(Recurrent(), F.log_softmax, dim)(torch.randn(6, 9, 8)), torch.randint(5, (6, 9))
    found = softmax_astray(nodes_of_loss(loss(z, y).grad_fn))
    assert found == (None if dim == 2 else ((6, 9, 5), dim, 2))


def test_rows_and_columns_normalised_in_turn_are_meant() -> None:
    z = torch.randn(4, 6, 5, requires_grad=True)
    for dim in (1, 2, 1, 2):
        z = F.log_softmax(z, dim=dim)
    assert softmax_astray(nodes_of_loss(F.nll_loss(z.flatten(0, 1), torch.randint(5, (24,))).grad_fn)) is None


def test_a_matching_of_as_many_as_there_are_is_meant() -> None:
    z = F.log_softmax(torch.randn(4, 6, 6, requires_grad=True), dim=1)
    assert softmax_astray(nodes_of_loss(F.cross_entropy(z.flatten(0, 1), torch.randint(6, (24,))).grad_fn)) is None
