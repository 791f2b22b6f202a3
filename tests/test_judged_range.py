"""Data outside the range of the generator that is to imitate them, beside sound generators, critics and data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.bodies import look_at_body

Change = Callable[[Tensor], Tensor]


class Makes(nn.Module):
    """Points from noise, through a last function."""

    def __init__(self, last: Change) -> None:
        super().__init__()
        self.body, self.last = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6)), last

    def forward(self, noise: Tensor) -> Tensor:
        return self.last(self.body(noise))


def players(last: Change) -> tuple[nn.ModuleDict, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"maker": Makes(last), "judge": nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(), nn.Linear(16, 1))})
    return parts, [torch.optim.Adam(part.parameters(), lr=1e-3) for part in parts.values()]


def turns(before: Change = lambda x: x) -> Callable[[Any, Any, Any], Tensor]:
    """A turn of each; `before` is done to whatever is judged."""

    def step(parts: Any, optimizers: Any, batch: Any) -> Tensor:
        maker, judge = parts["maker"], parts["judge"]
        made = maker(torch.randn(len(batch[0]), 4)).detach()
        loss = F.softplus(-judge(before(batch[0]))).mean() + F.softplus(judge(before(made))).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        F.softplus(-judge(before(maker(torch.randn(len(batch[0]), 4))))).mean().backward()
        optimizers[0].step()
        return loss

    return step


NORMAL = torch.randn(640, 6, generator=torch.Generator().manual_seed(0))
INSIDE = NORMAL.clamp(-1, 1)
FEW = torch.where(torch.rand(640, 6, generator=torch.Generator().manual_seed(1)) < 0.02, 2.0, INSIDE)


@pytest.mark.parametrize(
    ("last", "data", "before", "found"),
    [
        (torch.tanh, NORMAL, lambda x: x, "tanh"),
        (lambda x: torch.tanh(x).view(-1, 6), 4 * NORMAL, lambda x: x, "tanh"),
        (torch.sigmoid, INSIDE, lambda x: x, "sigmoid"),
        (torch.relu, NORMAL, lambda x: x, "relu"),
        (F.softplus, NORMAL, lambda x: x, "softplus"),
        (torch.relu, NORMAL.abs(), lambda x: x, None),
        (torch.relu, NORMAL.abs() - 0.05, lambda x: x, None),  # noise around zero
        (torch.tanh, INSIDE, lambda x: x, None),
        (torch.tanh, INSIDE + 0.02 * NORMAL, lambda x: x, None),
        (torch.tanh, FEW, lambda x: x, None),
        (lambda x: 4 * torch.tanh(x), 3 * INSIDE, lambda x: x, None),
        (lambda x: x, NORMAL, lambda x: x, None),
        (torch.tanh, INSIDE, lambda x: x + torch.randn_like(x), None),  # noise on both
    ],
)
def test_what_is_judged_is_compared_with_what_can_be_made(
    last: Change, data: Tensor, before: Change, found: str | None
) -> None:
    parts, optimizers = players(last)
    batches = [(rows,) for rows in data.split(64)]
    outside = (look_at_body(parts, optimizers, turns(before), batches) or {})["judged_outside"]
    assert (outside[0] if outside is not None and outside[1] >= 0.05 else None) == found
    by_name = {name: optimizers[k] for k, name in enumerate(parts)}
    body = turns(before)

    def named(models: Any, steppers: Any, batch: Any) -> Tensor:
        return body(models, list(steppers.values()), batch)

    diagnosis = check(dict(parts.items()), batches, step=named, optimizer=by_name, rehearse_seconds=None)
    assert ("unreachable_target.generated" in {f.code for f in diagnosis.findings}) == (found is not None)


def test_states_that_a_value_network_is_given_beside_an_actors_answers_are_no_data_to_make() -> None:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"actor": nn.Sequential(nn.Linear(3, 2), nn.Tanh()), "critic": nn.Linear(5, 1)})
    optimizers = [torch.optim.Adam(part.parameters()) for part in parts.values()]

    def step(models: Any, steppers: Any, batch: Any) -> Tensor:
        state, action, value = batch
        loss = F.mse_loss(models["critic"](torch.cat([state, action], dim=1)), value)
        steppers[1].zero_grad()
        loss.backward()
        steppers[1].step()
        steppers[0].zero_grad()
        (-models["critic"](torch.cat([state, models["actor"](state)], dim=1)).mean()).backward()
        steppers[0].step()
        return loss

    batches = [(5 * torch.randn(64, 3), 3 * torch.randn(64, 2), torch.randn(64, 1)) for _ in range(4)]
    assert (look_at_body(parts, optimizers, step, batches) or {})["judged_outside"] is None
