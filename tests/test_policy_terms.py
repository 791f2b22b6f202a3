"""Policies: advantages that hand a gradient to their critic, clipped objectives, and what only looks like either."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
STATES = torch.randn(32, 6, generator=G)
ACTIONS = torch.randint(3, (32,), generator=G)
OLD = torch.full((32,), -1.2) + 0.1 * torch.randn(32, generator=G)
RETURNS = (STATES[:, 0] > 0).float() + 0.1 * torch.randn(32, generator=G)


class Player(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.policy, self.value, self.q = nn.Linear(32, 3), nn.Linear(32, 1), nn.Linear(32, 3)
        self.mean, self.weigh = nn.Linear(32, 2), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.policy(h), self.value(h).squeeze(1)


Loss = Callable[[Player], Tensor]


def chances(m: Player) -> tuple[Categorical, Tensor, Tensor]:
    logits, value = m(STATES)
    found = Categorical(logits=logits)
    return found, found.log_prob(ACTIONS), value


def actor_critic(m: Player, *, cut: bool, scaled: bool = False) -> Tensor:
    dist, log_prob, value = chances(m)
    advantage = RETURNS - (value.detach() if cut else value)
    if scaled:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    return -(log_prob * advantage).mean() + 0.5 * F.mse_loss(value, RETURNS) - 0.01 * dist.entropy().mean()


def squared_advantage(m: Player, *, cut: bool) -> Tensor:
    _, log_prob, value = chances(m)
    advantage = RETURNS - value
    return -(log_prob * (advantage.detach() if cut else advantage)).mean() + 0.5 * advantage.pow(2).mean()


def continuous(m: Player, *, cut: bool) -> Tensor:
    mean, value = m.mean(m.trunk(STATES)), m(STATES)[1]
    log_prob = Normal(mean, 0.5).log_prob(STATES[:, :2]).sum(-1)
    advantage = RETURNS - (value.detach() if cut else value)
    return F.smooth_l1_loss(value, RETURNS) - (advantage * log_prob).mean()


def ppo(m: Player, form: str) -> Tensor:
    _, log_prob, value = chances(m)
    advantage = RETURNS - (value if form == "uncut" else value.detach())
    ratio = (log_prob - OLD).exp()
    one, other = ratio * advantage, torch.clamp(ratio, 0.8, 1.2) * advantage
    policy = {
        "paper": lambda: -torch.min(one, other).mean(),
        "uncut": lambda: -torch.min(one, other).mean(),
        "losses": lambda: torch.max(-one, -other).mean(),
        "losses, made as such": lambda: torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean(),
        "larger": lambda: -torch.max(one, other).mean(),
        "smaller losses": lambda: torch.min(-one, -other).mean(),
        "larger, scaled": lambda: -0.5 * torch.maximum(other, one).mean(),
    }[form]()
    kept = (value - RETURNS).pow(2)
    clipped = (RETURNS * 0.1 + value.clamp(-0.2, 0.2) - RETURNS).pow(2)
    return policy + 0.5 * torch.max(kept, clipped).mean()


def soft_actor(m: Player) -> Tensor:
    h = m.trunk(STATES)
    log_chances, q = F.log_softmax(m.policy(h), dim=1), m.q(h)
    actor = (log_chances.exp() * (0.2 * log_chances - q)).sum(dim=1).mean()
    return actor + F.mse_loss(q.gather(1, ACTIONS[:, None]).squeeze(1), RETURNS)


def bags(m: Player) -> Tensor:
    h = m.trunk(STATES)
    weights, log_chances = m.weigh(h).softmax(dim=0), F.log_softmax(m.policy(h), dim=1)
    return -(weights * log_chances).sum() + weights.pow(2).sum()


def divergence(m: Player) -> Tensor:
    h = m.trunk(STATES)
    one, other = F.log_softmax(m.policy(h), dim=1), F.log_softmax(m.q(h), dim=1)
    return (one.exp() * (one - other)).sum(dim=1).mean() + F.mse_loss(m.q(h)[:, 0], RETURNS)


def unsure(m: Player) -> Tensor:
    h = m.trunk(STATES)
    log_variance = m.weigh(h).squeeze(1)
    cost = F.cross_entropy(m.policy(h), ACTIONS, reduction="none")
    return (cost * torch.exp(-log_variance) + log_variance).mean() + 1e-3 * log_variance.pow(2).mean()


def reinforced(m: Player) -> Tensor:
    _, log_prob, _ = chances(m)
    return -(log_prob * RETURNS).mean()


ADVANTAGES: dict[str, Loss] = {
    "not detached": lambda m: actor_critic(m, cut=False),
    "standardised, not detached": lambda m: actor_critic(m, cut=False, scaled=True),
    "squared, not detached": lambda m: squared_advantage(m, cut=False),
    "continuous actions": lambda m: continuous(m, cut=False),
    "clipped": lambda m: ppo(m, "uncut"),
}
CLIPS = ("larger", "smaller losses", "larger, scaled")
SOUND: dict[str, Loss] = {
    "detached": lambda m: actor_critic(m, cut=True),
    "standardised": lambda m: actor_critic(m, cut=True, scaled=True),
    "squared": lambda m: squared_advantage(m, cut=True),
    "continuous": lambda m: continuous(m, cut=True),
    "clipped": lambda m: ppo(m, "paper"),
    "clipped losses": lambda m: ppo(m, "losses"),
    "clipped losses, made as such": lambda m: ppo(m, "losses, made as such"),
    "a soft actor": soft_actor,
    "attention over a bag": bags,
    "a divergence": divergence,
    "learned uncertainty": unsure,
    "no critic": reinforced,
}


def told(loss: Loss) -> list[tuple[str, str]]:
    facts = facts_of(Player(), (STATES, ACTIONS), training_step=lambda model, batch: loss(model))
    assert facts.notes == ()
    found = [(f.code, f.severity) for f in diagnose(Evidence(facts=facts)).findings]
    return [(code, severity) for code, severity in found if code in ("own_target.advantage", "wrong_sign.clip")]


@pytest.mark.parametrize("name", ADVANTAGES)
def test_an_advantage_with_a_gradient(name: str) -> None:
    assert told(ADVANTAGES[name]) == [("own_target.advantage", "warning")]


@pytest.mark.parametrize("form", CLIPS)
def test_the_better_of_two_objectives(form: str) -> None:
    assert told(lambda m: ppo(m, form)) == [("wrong_sign.clip", "warning")]


@pytest.mark.parametrize("name", SOUND)
def test_sound_policies(name: str) -> None:
    assert told(SOUND[name]) == []
