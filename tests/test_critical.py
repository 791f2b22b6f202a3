"""The critical step: closed forms against measurement."""

import copy
import math

import pytest
import torch
from torch import nn

from trainability.doctor.measure.critical import LARGEST, SMALLEST, along_update


def stepped(parameters: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, loss) -> list[torch.Tensor]:
    """Takes one step; returns the values before it."""
    before = [p.detach().clone() for p in parameters.values()]
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    return before


@pytest.mark.parametrize("lr", [1e-6, 1e-3, 0.03, 0.3, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("curvature", [0.5, 8.0])
def test_on_a_quadratic_it_is_two_over_rate_times_curvature(lr: float, curvature: float) -> None:
    w = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))

    def loss() -> torch.Tensor:
        return 0.5 * curvature * w.square().sum()

    found = along_update({"w": w}, stepped({"w": w}, torch.optim.SGD([w], lr), loss), loss)
    assert found.multiple == pytest.approx(2 / (lr * curvature), rel=0.02)
    assert not found.at_limit
    assert found.num_evaluations <= 8


def test_momentum_decay_and_clipping_are_in_the_update_measured() -> None:
    lr, decay, clip = 0.1, 0.5, 0.25
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr, momentum=0.9, weight_decay=decay)

    def loss() -> torch.Tensor:
        return 0.5 * w.square().sum()

    velocity = 0.0
    for _ in range(4):
        start = w.item()
        before = [w.detach().clone()]
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_([w], clip)
        optimizer.step()
        velocity = 0.9 * velocity + min(start, clip) + decay * start
        found = along_update({"w": w}, before, loss)
        assert found.update_norm == pytest.approx(lr * velocity)
        assert found.multiple == pytest.approx(2 * start / (lr * velocity), rel=0.02)


def test_beyond_the_search_it_says_so() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    slope = along_update({"w": w}, [w.detach() + 1e-9], lambda: w.sum() * 0 + 1.0)
    assert slope.multiple is None  # the update was lost in rounding
    line = along_update({"w": w}, [w.detach() + 0.5], lambda: w.sum())
    assert (line.multiple, line.at_limit) == (LARGEST, True)
    wall = along_update({"w": w}, [w.detach() - 0.5], lambda: 1e9 * (w - 0.5).sum() + 1.0)
    assert (wall.multiple, wall.at_limit) == (SMALLEST, True)


def test_a_rise_within_rounding_is_none() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    noise = iter([1.0, 1.0 + 1e-7, *[0.9] * 20])
    found = along_update({"w": w}, [w.detach() + 0.1], lambda: torch.tensor(next(noise)))
    assert found.multiple == LARGEST


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite(value: float) -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    assert along_update({"w": w}, [w.detach() + 0.1], lambda: w.sum() * value).multiple is None

    def cliff() -> torch.Tensor:
        return torch.where(w < 0.5, torch.tensor(value), w).sum()

    found = along_update({"w": w}, [w.detach() + 0.1], cliff)
    assert found.multiple == pytest.approx(6.0, rel=0.5)


def test_an_update_that_is_not_finite() -> None:
    w = nn.Parameter(torch.tensor([math.nan]))
    found = along_update({"w": w}, [torch.ones(1)], lambda: w.sum())
    assert found.multiple is None
    assert found.loss_before == 1.0


def test_dropout_drops_the_same_units_and_all_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Tanh(), nn.Linear(64, 3))
    x, y = torch.randn(16, 8), torch.randint(3, (16,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(x), y)

    before = stepped(dict(model.named_parameters()), optimizer, loss)
    after, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = along_update(dict(model.named_parameters()), before, loss)
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    # The units that this pass drops are not those of the step, so that its fall is not the step's own; it is no noise either.
    assert found.multiple is not None
    assert found.multiple > 100


def test_ratios_are_those_of_the_step() -> None:
    model = nn.Linear(4, 3)
    nn.init.zeros_(model.bias)
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        model.weight.mul_(1.01)
    found = along_update(dict(model.named_parameters()), before, lambda: model.weight.square().sum())
    assert [name for name, _ in found.update_ratios] == ["weight"]
    assert found.update_ratios[0][1] == pytest.approx(0.01, rel=1e-4)


def test_half_precision_weights() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(64, 1).bfloat16(), torch.randn(32, 64).bfloat16()
    twin = copy.deepcopy(model).double()
    multiples = []
    for net in (model, twin):
        inputs = x.to(net.weight.dtype)

        def loss(net: nn.Module = net, inputs: torch.Tensor = inputs) -> torch.Tensor:
            return net(inputs).double().square().mean()

        before = stepped(dict(net.named_parameters()), torch.optim.SGD(net.parameters(), 0.05), loss)
        multiples.append(along_update(dict(net.named_parameters()), before, loss).multiple)
    assert multiples[0] == pytest.approx(multiples[1], rel=0.2)
