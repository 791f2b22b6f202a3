"""Actions over time: a cart on a rail by policy gradient, by actor and critic with two optimizers, by values, by imitation."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, SMALL
from programs.program import Data, Loop, Program, but, explained, fault

HORIZON = 8


def starts(train: bool) -> Data:
    """Where the cart is and how fast, (n, 2)."""
    rng = torch.Generator().manual_seed(240 if train else 241)
    return (2 * torch.rand(1500 if train else 300, 2, generator=rng) - 1,)


def move(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
    """The cart after a push (n,) between -1 and 1, and its reward: near the middle and at rest is best."""
    place, speed = state.unbind(dim=1)
    speed = 0.8 * speed + 0.5 * push
    place = place + 0.5 * speed
    return torch.stack([place, speed], dim=1), -(place.square() + 0.1 * speed.square())


def policy() -> nn.Sequential:
    """States (n, 2) to logits of left, rest and right."""
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3))


def gaussian() -> nn.Sequential:
    """States (n, 2) to mean and log-deviation of a push."""
    return nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))


def value() -> nn.Sequential:
    """States (n, 2) to a value (n, 1)."""
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))


def _returns(rewards: list[Tensor]) -> Tensor:
    """What is still to come, (steps, n)."""
    return torch.stack(rewards).flip(0).cumsum(dim=0).flip(0)


def reinforce(*, sign: float = -1.0, spreads: bool = True, rolls: bool = False):
    """Minus log-probability of each push times what came of it, less the mean."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        state, logs, rewards = batch[0], [], []
        for _ in range(HORIZON):
            chosen = torch.distributions.Categorical(logits=model(state))
            action = chosen.sample()
            logs.append(chosen.log_prob(action))
            state, reward = move(state, action - 1.0)
            rewards.append(reward)
        gain = _returns(rewards)
        gain = (gain - gain.mean(dim=1, keepdim=True)) / (gain.std(dim=1, keepdim=True) + 1e-6) if spreads else gain
        gain = gain.roll(17, dims=1) if rolls else gain
        return (sign * torch.stack(logs) * gain.detach()).mean()

    return step


def reward_of(model: Any, data: Data) -> float:
    """How much of the loss of a cart that is left alone the likeliest pushes save, of the 0.94 that can be."""
    actor = model["actor"] if isinstance(model, dict) else model
    state, idle = data[0], data[0]
    got, alone = torch.zeros(()), torch.zeros(())
    for _ in range(HORIZON):
        state, reward = move(state, actor(state).argmax(dim=1) - 1.0)
        idle, nothing = move(idle, torch.zeros(len(idle)))
        got, alone = got + reward.mean(), alone + nothing.mean()
    return float(1 - got / alone) / 0.94


def acts(*, columns: bool = False, sign: float = -1.0):
    """An episode; the actor by advantages, the critic by returns, each with its optimizer."""

    def body(model: dict[str, nn.Module], optimizer: dict[str, Any], batch: list[Tensor], loop: Loop) -> Tensor:
        state, states, logs, rewards = batch[0], [], [], []
        for _ in range(HORIZON):
            chosen = torch.distributions.Categorical(logits=model["actor"](state))
            action = chosen.sample()
            states.append(state)
            logs.append(chosen.log_prob(action))
            state, reward = move(state, action - 1.0)
            rewards.append(reward)
        wanted, seen = _returns(rewards).flatten() / 4, model["critic"](torch.cat(states))
        seen = seen if columns else seen[:, 0]
        advantage = wanted - seen
        critic_loss = advantage.square().mean()
        optimizer["critic"].zero_grad()
        critic_loss.backward()
        loop.seen(critic_loss, "critic")
        optimizer["critic"].step()
        optimizer["actor"].zero_grad()
        chosen_logs = torch.cat(logs)[:, None] if columns else torch.cat(logs)
        loss = (sign * chosen_logs * advantage.detach()).mean()
        loss.backward()
        loop.seen(loss, "actor")
        optimizer["actor"].step()
        return loss

    return body


def each(models: dict[str, nn.Module]) -> dict[str, list]:
    """The parameters of each for its own optimizer."""
    return {name: list(model.parameters()) for name, model in models.items()}


def adams(groups: dict[str, list], lr: float) -> dict[str, torch.optim.Optimizer]:
    """Adam for each."""
    return {name: torch.optim.Adam(group, lr=lr) for name, group in groups.items()}


class Values(nn.Module):
    """Values of three pushes, and a slow copy that gives the targets."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = policy()
        self.slow = copy.deepcopy(self.fast).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """States (n, 2) to values (n, 3)."""
        return self.fast(x)


def bootstraps(*, scale: float = 1.0, discount: float = 0.7):
    """Squared error of a random push's value against its reward and the best of the next state's."""

    def step(model: Any, batch: list[Tensor]) -> Tensor:
        action = torch.randint(3, (len(batch[0]),))
        following, reward = move(batch[0], action - 1.0)
        with torch.no_grad():
            best = model.slow(following).amax(dim=1)
        said = model(batch[0]).gather(1, action[:, None])[:, 0]
        return F.smooth_l1_loss(said, scale * reward + discount * best)

    return step


def follows(model: Any, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """The usual loop, then the slow copy moves a tenth of the way."""
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    with torch.no_grad():
        for fast, slow in zip(model.fast.parameters(), model.slow.parameters(), strict=True):
            slow.lerp_(fast, 0.1)
    return loss


def expert(train: bool) -> Data:
    """States (n, 2), and what a good driver pushes, with some noise, (n, 1)."""
    (state,) = starts(train)
    rng = torch.Generator().manual_seed(242 if train else 243)
    push = torch.tanh(-2.5 * state[:, 0] - 1.6 * state[:, 1] + torch.sin(4 * state[:, 0]))
    return state, (push + 0.1 * torch.randn(len(push), generator=rng))[:, None]


def imitates(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian push: below zero once it is sure."""
    mean, log_std = output.chunk(2, dim=1)
    return (log_std + 0.5 * ((target - mean) / log_std.exp()).square()).mean()


def _surest(output: Tensor, target: Tensor) -> Tensor:
    """The logarithm of the deviation is left out."""
    mean, log_std = output.chunk(2, dim=1)
    return 0.5 * ((target - mean) / log_std.exp()).square().mean()


def _driven(model: nn.Module, data: Data) -> float:
    return explained(lambda x: model(x)[:, :1], data)


RAIL = Program(
    model=policy,
    train=lambda: starts(True),
    held_out=lambda: starts(False),
    score=reward_of,
    training_step=reinforce(),
    options={"lr": 0.01},
    batch=64,
    steps=250,
)
CRITIC = but(
    RAIL, model=lambda: {"actor": policy(), "critic": value()}, body=acts(), training_step=None, trained=each, optimizer=adams
)
DEEP_Q = but(
    RAIL,
    model=Values,
    training_step=bootstraps(),
    body=follows,
    trained=lambda model: model.fast.parameters(),
    optimizer=torch.optim.RMSprop,
    options={"lr": 3e-3},
    steps=400,
)
DRIVER = Program(
    model=gaussian,
    train=lambda: expert(True),
    held_out=lambda: expert(False),
    score=_driven,
    loss=imitates,
    options={"lr": 3e-3},
    batch=64,
    steps=300,
)

SOUND = {
    "cart by policy gradient": RAIL,
    "cart by plain returns": but(RAIL, training_step=reinforce(spreads=False), batch=256),
    "cart by actor and critic": CRITIC,
    "cart by values": DEEP_Q,
    "driver imitated": DRIVER,
}

FAULTS = {
    "cart driven away": fault(
        RAIL, "the minus before log-probability is missing", "wrong_sign", training_step=reinforce(sign=1.0)
    ),
    "returns of other carts": fault(
        RAIL, "returns are rolled against actions", "shuffled_labels", training_step=reinforce(rolls=True)
    ),
    "values against all steps": fault(
        CRITIC,
        "returns (n,) minus values (n, 1): every return against every value",
        "target_broadcast confirmed_change.target_shape",
        body=acts(columns=True),
    ),
    "advantage of the wrong sign": fault(
        CRITIC, "plus where minus belongs in the actor's loss", "wrong_sign", body=acts(sign=1.0)
    ),
    "cart at rate 5": fault(RAIL, "lr=5 under Adam", LARGE, options={"lr": 5.0}),
    "cart at rate 1e-8": fault(CRITIC, "lr=1e-8 under Adam for both", SMALL, options={"lr": 1e-8}),
    "rewards in cents of a cent": fault(
        but(DEEP_Q, optimizer=torch.optim.SGD, options={"lr": 0.3, "momentum": 0.9}),
        "rewards are multiplied by a million",
        "target_scale",
        training_step=bootstraps(scale=1e6),
    ),
    "surer and surer": fault(
        but(DRIVER, options={"lr": 0.015}),
        "the deviation's logarithm is left out of the likelihood",
        "wrong_sign loss_below_floor",
        loss=_surest,
    ),
}
