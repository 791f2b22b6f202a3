"""Q-learning from transitions: the value of the action that was taken, and of the one that the net prefers."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of, facts_of_step

N, ACTIONS = 32, 3
RNG = torch.Generator().manual_seed(2)
STATES, AFTER = torch.randn(N, 5, generator=RNG), torch.randn(N, 5, generator=RNG)
TAKEN = torch.randint(ACTIONS, (N,), generator=RNG)
REWARDS, ENDS = torch.randn(N, generator=RNG), (torch.rand(N, generator=RNG) < 0.2).float()
BATCH = (STATES, TAKEN, REWARDS, AFTER, ENDS)
Step = Callable[[Any, Any], Tensor]


def net(outputs: int = ACTIONS) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, outputs))


def goal(net: Any, batch: Any) -> Tensor:
    with torch.no_grad():
        return batch[2] + 0.9 * net(batch[3]).amax(dim=1) * (1 - batch[4])


def of_taken(m: Any, b: Any) -> Tensor:
    return F.smooth_l1_loss(m(b[0]).gather(1, b[1][:, None])[:, 0], goal(m, b))


def of_marked(m: Any, b: Any) -> Tensor:
    return ((m(b[0]) * F.one_hot(b[1], ACTIONS)).sum(dim=1) - goal(m, b)).square().mean()


def of_largest(m: Any, b: Any) -> Tensor:
    return F.smooth_l1_loss(m(b[0]).max(dim=1).values, goal(m, b))


def of_preferred(m: Any, b: Any) -> Tensor:
    values = m(b[0])
    return (values.gather(1, values.argmax(dim=1, keepdim=True))[:, 0] - goal(m, b)).square().mean()


def of_bags(m: Any, b: Any) -> Tensor:
    """The largest of an example's scores against a mark, beside whole numbers that are no actions."""
    return F.binary_cross_entropy_with_logits(m(b[0]).amax(dim=1), b[4])


def of_states(m: Any, b: Any) -> Tensor:
    """What states come to, whatever is done there."""
    with torch.no_grad():
        after = b[2][:, None] + 0.9 * m(b[3])
    return F.mse_loss(m(b[0]), after)


def of_classes(m: Any, b: Any) -> Tensor:
    return F.cross_entropy(m(b[0]), b[1])


def margin(m: Any, b: Any) -> Tensor:
    """The largest output less that of the class."""
    values = m(b[0])
    return F.relu(1 + values.amax(dim=1) - values.gather(1, b[1][:, None])[:, 0]).mean()


STEPS = [
    (of_taken, False),
    (of_marked, False),
    (of_largest, True),
    (of_preferred, True),
    (of_bags, False),
    (of_states, False),
    (of_classes, False),
    (margin, False),
]


@pytest.mark.parametrize(("step", "fires"), STEPS)
def test_the_action_that_was_taken_is_asked(step: Step, fires: bool) -> None:
    found = diagnose(Evidence(facts=facts_of(net(), BATCH, training_step=step))).findings
    assert ("target_broadcast.one_for_all" in [f.code for f in found if f.severity == "warning"]) == fires
    if fires:
        assert "batch[1]" in next(f for f in found if f.code == "target_broadcast.one_for_all").remedy


@pytest.mark.parametrize(("step", "fires"), [(of_taken, False), (of_largest, True)])
def test_a_body_with_a_net_of_targets_of_its_own(step: Step, fires: bool) -> None:
    model = net()
    slow = copy.deepcopy(model)

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            target = batch[2] + 0.9 * slow(batch[3]).amax(dim=1) * (1 - batch[4])
        values = model(batch[0])
        chosen = values.amax(dim=1) if fires else values.gather(1, batch[1][:, None])[:, 0]
        loss = F.smooth_l1_loss(chosen, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    found = facts_of_step(model, BATCH, step=body, optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3))
    assert found is not None
    assert found.largest_output == ((ACTIONS, "[1]") if fires else None)


def rebuilt(m: Any, b: Any) -> Tensor:
    """An autoencoder whose target is its input, and a weight for each example."""
    return ((m(b[0]) - b[3]).square().mean(dim=1) * b[2].exp()).mean()


@pytest.mark.parametrize(
    ("step", "after", "outputs", "fires"),
    [
        (of_taken, STATES, ACTIONS, True),
        (of_taken, AFTER, ACTIONS, False),
        (of_taken, torch.cat([AFTER[:1], STATES[1:]]), ACTIONS, False),
        (rebuilt, STATES, 5, False),
    ],
)
def test_states_that_are_one_array_never_change(step: Step, after: Tensor, outputs: int, fires: bool) -> None:
    batch = (STATES, TAKEN, REWARDS, after.clone(), ENDS)
    found = diagnose(Evidence(facts=facts_of(net(outputs), batch, training_step=step, batches=[batch]))).findings
    assert ("unread_ends.same" in [f.code for f in found]) == fires
