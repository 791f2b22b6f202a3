"""Goals made of the place of the largest output, and places that are meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.bodies import look_at_body
from trainability.doctor.measure.certain import facts_of

N, CHOICES = 32, 4
Values = Callable[[Tensor], Tensor]


def transitions() -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    before, after = torch.randn(N, 6, generator=rng), torch.randn(N, 6, generator=rng)
    action, reward = torch.randint(CHOICES, (N,), generator=rng), torch.randn(N, generator=rng)
    return [before, action, reward, after, (torch.rand(N, generator=rng) < 0.2).float()]


PLACES: dict[str, Values] = {
    "second of max": lambda q: q.max(1)[1],
    "indices": lambda q: q.max(dim=1).indices,
    "argmax": lambda q: q.argmax(dim=-1).float(),
    "a column": lambda q: q.argmax(1, keepdim=True).squeeze(1),
    "topk": lambda q: q.topk(1, dim=1)[1].view(-1),
}
VALUES: dict[str, Values] = {
    "first of max": lambda q: q.max(1)[0],
    "amax": lambda q: q.amax(dim=1),
    "smaller of two": lambda q: torch.min(q[:, :1], q[:, 1:2])[:, 0],
    "larger of one and the next": lambda q: torch.max(q[:, :1], other=q[:, 1:2]).squeeze(1),
    "gathered by argmax": lambda q: q.gather(1, q.argmax(1)[:, None])[:, 0],
    "indexed by argmax": lambda q: q[torch.arange(len(q)), q.argmax(1)],
    "expected": lambda q: (q.softmax(1) * q).sum(1),
    "a bonus for the last choice": lambda q: q.amax(1) + (q.argmax(1) == CHOICES - 1).float(),
}


def goal(values: Values, model: nn.Module, batch: Any) -> Tensor:
    _, _, reward, after, done = batch
    with torch.no_grad():
        return reward + 0.9 * values(model(after)) * (1 - done)


def loss_of(values: Values, cost: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda model, batch: cost(model(batch[0]).gather(1, batch[1][:, None]).squeeze(1), goal(values, model, batch))


def by_hand(own: Tensor, goals: Tensor) -> Tensor:
    return (goals - own).square().mean()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, CHOICES))


@pytest.mark.parametrize("cost", [F.mse_loss, F.smooth_l1_loss, by_hand])
@pytest.mark.parametrize("values", [*PLACES, *VALUES])
def test_a_place_in_place_of_a_value(values: str, cost: Any) -> None:
    facts = facts_of(net(), transitions(), training_step=loss_of({**PLACES, **VALUES}[values], cost))
    assert facts.index_goals == (CHOICES if values in PLACES else None)


@pytest.mark.parametrize("values", ["second of max", "first of max"])
def test_in_a_body_that_is_known_as_a_whole(values: str) -> None:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of({**PLACES, **VALUES}[values], F.mse_loss)(model, batch)
        loss.backward()
        optimizer.step()
        return loss

    model = net()
    found = look_at_body(model, torch.optim.SGD(model.parameters(), lr=0.1), step, [transitions()])
    assert found is not None
    assert found["index_goals"] == (CHOICES if values in PLACES else None)


def counted(model: Any, batch: Any) -> Tensor:
    """Labels of a teacher, and how often it is right beside the loss."""
    logits = model(batch[0])
    labels = logits.detach().argmax(1)
    return F.cross_entropy(logits, labels) + 0.0 * (labels == batch[1]).float().mean()


def ordinal(model: Any, batch: Any) -> Tensor:
    """The most likely grade, reported beside a loss on the expected one."""
    logits = model(batch[0])
    expected = (logits.softmax(1) * torch.arange(CHOICES)).sum(1)
    error = (logits.argmax(1).float() - batch[1].float()).abs().mean()
    return F.mse_loss(expected, batch[1].float()) + 0.0 * error.detach()


@pytest.mark.parametrize("step", [counted, ordinal])
def test_places_that_are_meant(step: Any) -> None:
    assert facts_of(net(), transitions(), training_step=step).index_goals is None
