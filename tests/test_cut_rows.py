"""Units of a layer that the loss goes by without handing a gradient back: told beside what rests for good reasons."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.cat([X[:, :1].sin(), X[:, 1:3], (X[:, 3:4] > 0).float()], dim=1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))


def poses(model: Any, batch: Any, *, how: str = "tensors") -> Tensor:
    """The place by its square error, and the angle's by its cosine."""
    out = model(batch[0])
    angle = out[:, 0]
    if how == "list":
        angle = torch.tensor(angle.tolist())
    if how == "numpy":
        angle = torch.from_numpy(angle.detach().numpy().copy())
    turned = 1 - torch.cos(angle - batch[1][:, 0])
    return turned.mean() + (out[:, 1:] - batch[1][:, 1:]).square().mean()


def densities(model: Any, batch: Any, *, how: str = "tensors") -> Tensor:
    """A normal distribution of the first target, whose width is a number where it is read by `item`."""
    out = model(batch[0])
    width = out[:, 1].exp() if how == "tensors" else torch.tensor([w.exp().item() for w in out[:, 1]])
    return (0.5 * ((batch[1][:, 0] - out[:, 0]) / width) ** 2 + width.log()).mean() + out[:, 2:].square().mean()


@pytest.mark.parametrize(("loss", "how"), [(poses, "list"), (poses, "numpy"), (densities, "item")])
def test_units_that_enter_the_loss_as_numbers_are_told(loss: Callable[..., Tensor], how: str) -> None:
    facts = look(net(), (X, Y), lambda model, batch: loss(model, batch, how=how))
    assert facts.cut_rows == ("2.weight", 1, 4)
    found = diagnose(Evidence(facts=facts)).findings
    assert found[0].code == "unreached_parameter.detached"
    assert found[0].severity == "warning"


def unused(model: Any, batch: Any) -> Tensor:
    return (model(batch[0])[:, :2] - batch[1][:, :2]).square().mean()


def chosen(model: Any, batch: Any) -> Tensor:
    """The last unit chooses examples by its sign."""
    out = model(batch[0])
    kept = (out[:, 3] > 0).float()
    return (kept * (out[:, 0] - batch[1][:, 0]).square()).sum() / 32


def has_a_term_of_its_own(model: Any, batch: Any) -> Tensor:
    """Certainty weighs the errors as a number, and is taught by them."""
    out = model(batch[0])
    errors = (out[:, :3] - batch[1][:, :3]).square().mean(dim=1)
    return (errors * out[:, 3].detach().sigmoid()).mean() + F.mse_loss(out[:, 3], errors.detach())


def bootstraps(model: Any, batch: Any) -> Tensor:
    """Values of one net along a path, the last of which is only ever a goal."""
    values = model(batch[0].view(8, 4, 6))[..., 0]
    return (values[:, :-1] - 0.9 * values[:, 1:].detach() - 1).square().mean()


@pytest.mark.parametrize("loss", [poses, densities, unused, chosen, has_a_term_of_its_own, bootstraps])
def test_what_rests_for_good_reasons_is_left_alone(loss: Callable[[Any, Any], Tensor]) -> None:
    assert look(net(), (X, Y), loss).cut_rows is None


def test_dead_units_are_left_alone_and_weights_are_put_back() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    nn.init.constant_(model[0].bias[:4], -50.0)  # type: ignore[arg-type]
    before = [p.detach().clone() for p in model.parameters()]
    facts: Facts = look(model, (X, Y), lambda m, batch: F.mse_loss(m(batch[0]), batch[1]))
    assert facts.cut_rows is None
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
