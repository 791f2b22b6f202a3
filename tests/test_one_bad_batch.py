"""A loss that is NaN because of what one batch holds, and one that is NaN because steps were too large."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check


class Pools(nn.Module):
    """Attention over marked places, or their mean."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.out = kind, nn.Linear(8, 3)
        self.score = nn.Linear(8, 1) if kind == "attention" else nn.Identity()

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        if self.kind == "attention":
            weights = self.score(x)[..., 0].masked_fill(~there, -torch.inf).softmax(dim=1)
        else:
            weights = there / there.sum(dim=1, keepdim=True)
        return self.out((weights[:, :, None] * x).sum(dim=1))


def watched(model: nn.Module, optimizer: torch.optim.Optimizer, *, empty_at: int | None, scale: float = 1.0) -> list[str]:
    torch.manual_seed(0)
    with Monitor(model, optimizer, every=5) as monitor:
        for step in range(1, 16):
            x, there = scale * torch.randn(16, 5, 8), torch.rand(16, 5) < 0.8
            there[:, 0] = True
            if step == empty_at:
                there[3] = False
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, there), torch.randint(3, (16,)))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    found = monitor.diagnose().findings
    return [f.code for f in found[:1]] + [f.cause for f in found[:1]]


@pytest.mark.parametrize("kind", ["attention", "mean"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_an_example_without_a_place_is_no_large_step(kind: str, optimizer: type[torch.optim.Optimizer]) -> None:
    model = Pools(kind)
    code, cause = watched(model, optimizer(model.parameters(), lr=5e-3), empty_at=7)
    assert code == "not_finite"
    assert "no step was too large" in cause


def test_steps_that_are_too_large_are_still_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(30):
            optimizer.zero_grad()
            loss = F.mse_loss(model(3 * torch.randn(16, 8)), 10 * torch.randn(16, 8))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert not loss.isfinite()
    assert monitor.diagnose().findings[0].code == "exploding_gradient"


def weighted(model: nn.Module, batch: tuple[Tensor, ...], how: str) -> Tensor:
    x, y, given = batch
    each = F.cross_entropy(model(x), y, reduction="none")
    if how == "div":
        return (each / given).mean()
    if how == "log":
        return (each - given.log()).mean()
    return (each * given).mean()


@pytest.mark.parametrize("how", ["div", "log", "mul"])
@pytest.mark.parametrize("where", ["first", "later"])
def test_check_names_the_tensor_whose_zeros_a_function_cannot_take(how: str, where: str) -> None:
    torch.manual_seed(0)
    x, given = torch.randn(640, 8), torch.rand(640) + 0.5
    given[0 if where == "first" else 400] = 0.0
    loader = DataLoader(TensorDataset(x, x[:, :3].argmax(dim=1), given), 32, shuffle=False)
    model = nn.Linear(8, 3)
    report = check(
        model,
        loader,
        training_step=lambda model, batch: weighted(model, batch, how),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )
    (found,) = [f for f in report.findings if f.rule == "not_finite"] or [None]
    assert (None if found is None else found.code) == (None if how == "mul" else "not_finite.zeros")
    assert found is None or "[2]" in found.cause
