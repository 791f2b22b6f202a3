"""Actions: a policy by its gradient, with and without a critic, and the value of actions, on a bandit with states."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, states
from programs.program import LARGE_STEPS, Program, but, fault


def policy() -> nn.Sequential:
    """States (n, 4) to logits of four actions."""
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))


class ActorCritic(nn.Module):
    """Logits of four actions, and the value of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = nn.Sequential(nn.Linear(4, 32), nn.ReLU()), nn.Linear(32, 4), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States (n, 4) to logits (n, 4) and values (n, 1)."""
        h = self.body(x)
        return self.actor(h), self.critic(h)


class Blind(ActorCritic):
    """Its body runs under no_grad, and is too narrow for what it holds at random to do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 4), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States (n, 4) to logits (n, 4) and values (n, 1)."""
        with torch.no_grad():
            h = self.body(x)
        return self.actor(h), self.critic(h)


def reward(state: Tensor, action: Tensor) -> Tensor:
    """1 for the largest of the four, 0 for the others."""
    return (action == state.argmax(dim=1)).float()


def greed(model: nn.Module, data: Data) -> float:
    """Reward of the likeliest action, from chance."""
    logits = model(data[0])
    logits = logits[0] if isinstance(logits, tuple) else logits
    return (float(reward(data[0], logits.argmax(dim=1)).mean()) - 0.25) / 0.75


def reinforce(sign: float = -1.0, *, weighs=lambda r: r - 0.25):
    """Minus log-probability times reward above a baseline."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        chosen = torch.distributions.Categorical(logits=model(batch[0]))
        action = chosen.sample()
        return (sign * chosen.log_prob(action) * weighs(reward(batch[0], action))).mean()

    return step


def actor_critic(*, columns: bool = False):
    """Policy gradient with a learned baseline."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        logits, value = model(batch[0])
        chosen = torch.distributions.Categorical(logits=logits)
        action = chosen.sample()
        gain = reward(batch[0], action) - (value if columns else value[:, 0])
        return -(chosen.log_prob(action) * gain.detach()).mean() + gain.square().mean()

    return step


def values(scale: float = 1.0):
    """Squared error of the value of a random action."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        action = torch.randint(4, (len(batch[0]),))
        said = model(batch[0]).gather(1, action[:, None])[:, 0]
        return F.mse_loss(said, scale * reward(batch[0], action))

    return step


def _spread(r: Tensor) -> Tensor:
    return (r - r.mean()) / r.std()


def _always_one(r: Tensor) -> Tensor:
    same = torch.ones_like(r)
    return (same - same.mean()) / same.std()


BANDIT = Program(
    model=policy,
    train=lambda: states(True),
    held_out=lambda: states(False),
    score=greed,
    training_step=reinforce(),
    options={"lr": 0.01},
    batch=64,
    steps=300,
)
CRITIC = but(BANDIT, model=ActorCritic, training_step=actor_critic())
VALUES = but(BANDIT, training_step=values())

SOUND = {
    "policy": BANDIT,
    "policy with spread rewards": but(BANDIT, training_step=reinforce(weighs=_spread)),
    "actor and critic": CRITIC,
    "values": VALUES,
}

FAULTS = {
    "policy climbs down": fault(BANDIT, "the minus is missing", "wrong_sign", training_step=reinforce(1.0)),
    "advantages of all pairs": fault(
        CRITIC,
        "(n,) minus (n, 1): every reward against every value",
        "target_broadcast",
        training_step=actor_critic(columns=True),
    ),
    "rewards without spread": fault(
        BANDIT,
        "rewards that are all one are divided by their standard deviation",
        "not_finite",
        training_step=reinforce(weighs=_always_one),
    ),
    "policy at rate 3": fault(
        BANDIT,
        "lr=3 under Adam",
        LARGE_STEPS,
        options={"lr": 3.0},
    ),
    "rewards of a million": fault(
        but(VALUES, optimizer=torch.optim.SGD, options={"lr": 0.3}),
        "rewards of 0 and 1,000,000",
        "target_scale",
        training_step=values(1e6),
    ),
    "policy detached": fault(
        CRITIC, "the body runs under no_grad in the actor's and the critic's place", "unreached_parameter.detached", model=Blind
    ),
}
