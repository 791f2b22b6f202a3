"""Policy gradients whose returns are added up from the first step on, beside ones that are right."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_followed_scripts import followed
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from trainability import Setup, check
from trainability.doctor.measure.chances import Chances

GAMMA, STEPS, GAMES = 0.97, 24, 6


class Walk:
    """Some walks side by side that are to stay near zero."""

    def __init__(self, num: int, *, alike: bool) -> None:
        self.num, self.alike = num, alike

    def reset(self) -> Tensor:
        self.at = torch.zeros(self.num, 2)
        return self.at

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        self.at = self.at + 0.3 * torch.randn(self.num, 2) + 0.1 * (2 * action[:, None].float() - 1)
        return self.at, torch.ones(self.num) if self.alike else -self.at.square().sum(1)


def sums(rewards: Any, *, forwards: bool) -> list[Any]:
    found: list[Any] = []
    running = 0.0
    for r in rewards if forwards else reversed(rewards):
        running = r + GAMMA * running
        found.append(running)
    return found if forwards else found[::-1]


def played(model: nn.Module, world: Walk) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    state, states, actions, rewards = world.reset(), [], [], []
    for _ in range(STEPS):
        with torch.no_grad():
            action = Categorical(logits=model(state)).sample()
        states.append(state)
        actions.append(action)
        state, reward = world.step(action)
        rewards.append(reward)
    return states, actions, rewards


def together(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """(steps, games) at once, with normalised returns."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    returns = torch.stack(sums(rewards, forwards=forwards))
    returns = (returns - returns.mean()) / (returns.std() + 1e-6)
    logp = Categorical(logits=model(torch.stack(states))).log_prob(torch.stack(actions))
    return -(logp * returns).mean()


def one_by_one(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """Episodes of several lengths, one after another, whose rewards are lists of numbers."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    s, a, r = torch.stack(states), torch.stack(actions), torch.stack(rewards)
    lengths = [STEPS - 2 * k for k in range(GAMES)]
    episodes = [(s[:n, k], a[:n, k], r[:n, k].tolist()) for k, n in enumerate(lengths)]
    R = torch.tensor([g for e in episodes for g in sums(e[2], forwards=forwards)])
    logp = Categorical(logits=model(torch.cat([e[0] for e in episodes]))).log_prob(torch.cat([e[1] for e in episodes]))
    return -(logp * (R - R.mean())).mean()


def in_a_loop(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """A number of each step, kept while it is played."""
    world = Walk(1, alike=alike)
    state, logs, rewards = world.reset(), [], []
    for _ in range(STEPS):
        choice = Categorical(logits=model(state))
        action = choice.sample()
        logs.append(choice.log_prob(action))
        state, reward = world.step(action)
        rewards.append(reward.item())
    terms = [-log * g for log, g in zip(logs, sums(rewards, forwards=forwards), strict=True)]
    return torch.stack(terms).sum()


def from_the_end(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """Everything from the last step to the first: sums that grow with each reward that comes later."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    found, running = [], torch.zeros(GAMES)
    for r in reversed(rewards):
        running = r + GAMMA * running
        found.append(running)
    states, actions = states[::-1], actions[::-1]
    logp = Categorical(logits=model(torch.stack(states))).log_prob(torch.stack(actions))
    return -(logp * torch.stack(found)).mean()


def at_once(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """A bandit: each reward is of one action alone."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    reward = torch.stack(rewards)
    logp = Categorical(logits=model(torch.stack(states))).log_prob(torch.stack(actions))
    return -(logp * (reward - reward.mean())).mean()


def discounted_twice(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """The sum from each step on, times the discount of the step."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    returns = torch.stack(sums(rewards, forwards=False)) * GAMMA ** torch.arange(STEPS)[:, None]
    logp = Categorical(logits=model(torch.stack(states))).log_prob(torch.stack(actions))
    return -(logp * returns).mean()


def whole(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """The sum of an episode for each of its steps."""
    states, actions, rewards = played(model, Walk(GAMES, alike=alike))
    returns = torch.stack(rewards).sum(0, keepdim=True).expand(STEPS, GAMES)
    logp = Categorical(logits=model(torch.stack(states))).log_prob(torch.stack(actions))
    return -(logp * (returns - returns.mean())).mean()


def at_each_step(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """(episodes, steps) of a tensor, normalised over the episodes at each step."""
    states, actions, rewards = tensors_of(model, 16)
    returns = filled(rewards, forwards=forwards)
    returns = (returns - returns.mean(0)) / (returns.std(0) + 1e-8)
    return -(Categorical(logits=model(states)).log_prob(actions) * returns).mean()


def less_a_baseline(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """The mean of the other episodes at this step is taken off, and all are divided by one number."""
    states, actions, rewards = tensors_of(model, 12)
    returns = filled(rewards, forwards=forwards)
    returns = returns - (returns.sum(0) - returns) / 11
    return -(Categorical(logits=model(states)).log_prob(actions) * returns / returns.std()).sum(1).mean()


def tensors_of(model: nn.Module, num: int) -> tuple[Tensor, Tensor, Tensor]:
    states = torch.randn(num, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = actions.eq(states.argmax(-1)).float()
    rewards[:, 0] = 1.0  # alike in all episodes
    return states, actions, rewards


def filled(rewards: Tensor, *, forwards: bool) -> Tensor:
    returns, running = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in range(10) if forwards else reversed(range(10)):
        running = rewards[:, t] + GAMMA * running
        returns[:, t] = running
    return returns


def own_rewards(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """Of contexts in a row, each answered by its own reward."""
    states = torch.randn(16, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = actions.eq(states.argmax(-1)).float() + 0.1 * torch.randn(16, 10)
    weights = (rewards - rewards.mean(0)) / rewards.std(0)
    return -(Categorical(logits=model(states)).log_prob(actions) * weights).mean()


def turned(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """All backwards in time: sums over what is behind are sums of what comes later."""
    states = torch.randn(16, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = (actions.eq(states.argmax(-1)).float() + 0.1 * torch.randn(16, 10)).flip(1)
    logp = Categorical(logits=model(states)).log_prob(actions).flip(1)
    returns = rewards.cumsum(1)
    return -(logp * (returns - returns.mean(0))).mean()


def turned_actions(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    states = torch.randn(16, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = (actions.eq(states.argmax(-1)).float() + 0.1 * torch.randn(16, 10)).flip(1)
    returns = rewards.cumsum(1)
    logp = Categorical(logits=model(states.flip(1))).log_prob(actions.flip(1))
    return -(logp * (returns / returns.std())).mean()


def at_the_end(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """A reward for all steps together, which comes with the last one."""
    states = torch.randn(16, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = torch.zeros(16, 10)
    rewards[:, -1] = actions.float().mean(1) + 0.1 * torch.randn(16)
    returns = rewards.flip(1).cumsum(1).flip(1)
    weights = (returns - returns.mean(0)) / returns.std(0)
    return -(Categorical(logits=model(states)).log_prob(actions) * weights).mean()


def of_groups(model: nn.Module, *, forwards: bool, alike: bool) -> Tensor:
    """Each episode's sum beside those of its group."""
    states = torch.randn(16, 10, 2)
    actions = Categorical(logits=model(states)).sample()
    rewards = torch.randn(16, 10)
    whole = rewards.sum(1).reshape(4, 4)
    weights = ((whole - whole.mean(1, keepdim=True)) / whole.std(1, keepdim=True)).reshape(16, 1).expand(16, 10)
    return -(Categorical(logits=model(states)).log_prob(actions) * weights).mean()


WAYS: dict[str, Callable[..., Tensor]] = {f.__name__: f for f in (together, one_by_one, in_a_loop)}
WAYS |= {f.__name__: f for f in (at_each_step, less_a_baseline)}
SOUND: dict[str, Callable[..., Tensor]] = {f.__name__: f for f in (from_the_end, at_once, discounted_twice, whole)}
SOUND |= {f.__name__: f for f in (own_rewards, turned, turned_actions, at_the_end, of_groups)}


def credited(loss: Callable[..., Tensor], *, forwards: bool, alike: bool) -> tuple[str, float] | None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    with Chances() as chances:
        loss(model, forwards=forwards, alike=alike).backward()
    return chances.credit.found()


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_sums_up_to_a_step_are_told_from_those_from_it_on(way: str, alike: bool) -> None:
    found = credited(WAYS[way], forwards=True, alike=alike)
    assert found is not None
    assert found[1] == GAMMA
    assert credited(WAYS[way], forwards=False, alike=alike) is None


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("way", SOUND)
def test_other_weights_are_left_alone(way: str, alike: bool) -> None:
    assert credited(SOUND[way], forwards=True, alike=alike) is None


@pytest.mark.parametrize("forwards", [True, False])
def test_check_says_it(forwards: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        loss = together(model, forwards=forwards, alike=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    found = check(Setup(model=model, train_loader=[torch.zeros(1)] * 20, step=step, optimizer=optimizer))
    assert ("unread_ends.backward" in [f.code for f in found.findings]) is forwards


@pytest.mark.parametrize("way", [*WAYS, *SOUND])
@pytest.mark.parametrize("forwards", [True, False])
def test_run_says_it_of_a_loop_and_changes_no_bit_of_it(way: str, forwards: bool) -> None:
    loss_of = (WAYS | SOUND)[way]

    def loop() -> list[float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
        for _ in range(16):
            loss = loss_of(model, forwards=forwards, alike=False)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    alone, watched = loop(), list[float]()
    (found,) = followed(lambda: watched.extend(loop())).values()
    assert ("unread_ends.backward" in [f.code for f in found.findings]) is (forwards and way in WAYS)
    assert watched == alone
    assert not hasattr(Categorical.log_prob, "__wrapped__")  # it is PyTorch's own again


def at_once(model: nn.Module, again: bool) -> Tensor:
    policy = Categorical(logits=model(torch.randn(32, 2)))
    taken = policy.sample()
    reward = torch.randn(32, 2).gather(1, taken[:, None])[:, 0]
    return -(policy.log_prob(policy.sample() if again else taken) * (reward - reward.mean())).mean()


def one_by_one(model: nn.Module, again: bool) -> Tensor:
    """With a world that is no tensor."""
    logs, rewards = [], []
    for _ in range(12):
        policy = Categorical(logits=model(torch.randn(2)))
        taken = policy.sample()
        rewards.append(float(taken.item() == 1) - 0.3)
        logs.append(policy.log_prob(policy.sample() if again else taken))
    return -(torch.stack(logs) * torch.tensor(rewards)).sum()


def of_numbers(model: nn.Module, again: bool) -> Tensor:
    """Actions that are numbers, with a bonus for an entropy that is estimated from draws of its own."""
    policy = Normal(model(torch.randn(32, 2)), 1.0)
    taken = policy.sample()
    reward = -(taken.clamp(-1, 1) - 0.5).square().sum(dim=1)
    log = policy.log_prob(policy.sample() if again else taken).sum(dim=1)
    return -(log * reward).mean() + 0.01 * policy.log_prob(policy.sample()).mean()


def kept(model: nn.Module, again: bool) -> Tensor:
    """Actions that were taken before; a draw beside them says what the policy would do now."""
    states, taken, reward = torch.randn(32, 2), torch.arange(32) % 2, torch.randn(32)
    policy = Categorical(logits=model(states))
    now = policy.sample()
    log = policy.log_prob(now if again else taken)
    return -(log * reward).mean() + 0 * (now == taken).float().mean()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("loss", [at_once, one_by_one, of_numbers, kept])
def test_an_action_that_is_drawn_twice_is_told(loss: Callable[[nn.Module, bool], Tensor], again: bool) -> None:
    torch.manual_seed(0)
    with Chances() as chances:
        loss(nn.Linear(2, 2), again)
    assert chances.credit.drawn_again() is (again and loss is not kept)
