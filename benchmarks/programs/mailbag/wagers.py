"""Actions and what they earn: a stick to be balanced by values, a walk by policy gradient, and a helm steered by its critic."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT
from programs.program import Body, Data, Loop, Program, fault, usual
from programs.unseen.causes import DETACHED, SATURATED, UNRELATED, UNSCALED
from programs.workshop.forgers import dense, each

HORIZON, WALK, GAMMA = 60, 8, 0.9


def pushed(state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A stick (n, 2) of place and speed after a push to the left or right (n,), and whether it has fallen."""
    place, speed = state.unbind(dim=1)
    push = 2.0 * (2 * action.float() - 1)
    after = torch.stack([place + 0.15 * speed, speed + 0.15 * (2 * place + push) + noise], dim=1)
    return after, after[:, 0].abs() > 1


@functools.cache
def trials(train: bool) -> Data:
    """States (n, 2), actions, rewards of 1.0, states after them, and ends, 1.0 or 0.0; after an end comes a fresh start."""
    rng = torch.Generator().manual_seed(8241 if train else 8242)
    n = 4000 if train else 400
    state = torch.stack([2 * torch.rand(n, generator=rng) - 1, 3 * torch.rand(n, generator=rng) - 1.5], dim=1)
    action = torch.randint(2, (n,), generator=rng)
    after, fell = pushed(state, action, 0.05 * torch.randn(n, generator=rng))
    fresh = 0.6 * torch.rand(n, 2, generator=rng) - 0.3
    return state, action, torch.ones(n), torch.where(fell[:, None], fresh, after), fell.float()


@functools.cache
def starts(train: bool) -> Data:
    """Where a walk begins and where a lamp hangs, (n, 2) from -2 to 2."""
    return (4 * torch.rand(2000 if train else 400, 2, generator=torch.Generator().manual_seed(8243 if train else 8244)) - 2,)


@functools.cache
def logs(train: bool) -> Data:
    """Winds (n, 3), helms (n, 1) from -1 to 1, what they earned (n, 1), and the best helm (n, 1)."""
    rng = torch.Generator().manual_seed(8245 if train else 8246)
    n = 3000 if train else 400
    wind = torch.randn(n, 3, generator=rng)
    best = 0.8 * torch.sin(wind[:, :1] + wind[:, 1:2])
    helm = 2 * torch.rand(n, 1, generator=rng) - 1
    return wind, helm, 1 - (helm - best) ** 2 + 0.05 * torch.randn(n, 1, generator=rng), best


def in_knots(train: bool) -> Data:
    """The same with winds in tenths of a knot, up to a thousand."""
    wind, helm, earned, best = logs(train)
    return 300 * wind, helm, earned, best


class Values(nn.Module):
    """Values of two actions, and a slow copy that makes the goals."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.slow = dense(2, 64, 64, 2, slope=0.01), dense(2, 64, 64, 2, slope=0.01)
        self.slow.load_state_dict(self.online.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2) to values (n, 2)."""
        return self.online(x)


def learns_values(model: Any, batch: Any, *, ends: bool = True, both: bool = False) -> Tensor:
    """The error of the values of the actions that were taken."""
    state, action, reward, after, fell = batch
    with torch.no_grad():
        goal = reward + GAMMA * model.slow(after).max(dim=1).values * ((1 - fell) if ends else 1.0)
    values = model(state)
    if both:
        return F.smooth_l1_loss(values, goal[:, None])
    return F.smooth_l1_loss(values.gather(1, action[:, None])[:, 0], goal)


def follows(share: float) -> Body:
    """The usual loop, after which the slow copy comes nearer by a share."""

    def body(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        loss = usual(model, optimizer, batch, loop)
        with torch.no_grad():
            for slow, fast in zip(model.slow.parameters(), model.online.parameters(), strict=True):
                slow.lerp_(fast, share)
        return loss

    return body


def balanced(model: Any, data: Data) -> float:
    """Share of the horizon that sticks stay up, beyond what they do under random pushes."""
    rng = torch.Generator().manual_seed(8)

    def stays(acts: Callable[[Tensor], Tensor]) -> float:
        state, up, total = 0.6 * torch.rand(300, 2, generator=rng) - 0.3, torch.ones(300), 0.0
        for _ in range(HORIZON):
            state, fell = pushed(state, acts(state), 0.05 * torch.randn(300, generator=rng))
            up = up * (~fell).float()
            total += float(up.mean())
        return total / HORIZON

    blind = stays(lambda state: torch.randint(2, (len(state),), generator=rng))
    return (stays(lambda state: model(state).argmax(dim=1)) - blind) / (1 - blind)


def walks(model: Any, batch: Any, *, weighed: str = "each") -> Tensor:
    """Walks to a lamp by policy gradient.

    Args:
        model: what tells the odds of going left, staying and going right.
        batch: starts and lamps.
        weighed: "each" for the logarithm of each step's odds times what comes after it, "mean" for their mean times the sum of
            it all, "copied" for logarithms that are copied into a new tensor.
    """
    place, lamp = batch[0].unbind(dim=1)
    logs, rewards = [], []
    for _ in range(WALK):
        odds = torch.distributions.Categorical(logits=model(torch.stack([place, lamp], dim=1)))
        step = odds.sample()
        place = place + 0.5 * (step - 1)
        logs.append(odds.log_prob(step))
        rewards.append(-(place - lamp).abs())
    earned = torch.stack(rewards).flip(0).cumsum(0).flip(0)
    told = torch.stack(logs)
    if weighed == "copied":
        told = torch.tensor(told.tolist(), requires_grad=True)
    earned = (earned - earned.mean(dim=1, keepdim=True)) / (earned.std() + 1e-6)
    if weighed == "mean":
        return -(told.mean() * earned).sum()
    return -(told * earned).mean()


def near_the_lamp(model: Any, data: Data) -> float:
    """How near surest walks come to the lamp: 1 for within a step, 0 for as near as without walking."""
    place, lamp = data[0].unbind(dim=1)
    before = float((place - lamp).abs().mean())
    for _ in range(WALK):
        place = place + 0.5 * (model(torch.stack([place, lamp], dim=1)).argmax(dim=1) - 1)
    return 1 - max(0.0, float((place - lamp).abs().mean()) - 0.15) / (before - 0.15)


def crew() -> dict[str, nn.Module]:
    """An actor of helms from winds, and a critic of both."""
    return {"actor": nn.Sequential(dense(3, 48, 48, 1), nn.Tanh()), "critic": dense(4, 64, 64, 1)}


def steers(model: Mapping[str, nn.Module], optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """The loop of an actor and its critic."""
    wind, helm, earned, _ = batch
    actor, critic = model["actor"], model["critic"]
    optimizer["critic"].zero_grad()
    loss = F.mse_loss(critic(torch.cat([wind, helm], dim=1)), earned)
    loss.backward()
    loop.seen(loss, "critic")
    optimizer["critic"].step()
    optimizer["actor"].zero_grad()
    good = -critic(torch.cat([wind, actor(wind)], dim=1)).mean()
    good.backward()
    loop.seen(good, "actor")
    optimizer["actor"].step()
    return loss


def steered(models: Mapping[str, nn.Module], data: Data) -> float:
    """Share of the variance of the best helms that the actor's have."""
    helm, best = models["actor"](data[0]), data[3]
    return 1 - float(F.mse_loss(helm, best) / best.var(correction=0))


def adams(groups: dict[str, list], actor: float, critic: float) -> dict[str, torch.optim.Optimizer]:
    """Adam for both, the critic with a decay."""
    return {
        "actor": torch.optim.Adam(groups["actor"], lr=actor),
        "critic": torch.optim.AdamW(groups["critic"], lr=critic, weight_decay=1e-3),
    }


STICK = Program(
    model=Values,
    train=lambda: trials(True),
    held_out=lambda: trials(False),
    score=balanced,
    training_step=learns_values,
    trained=lambda model: model.online.parameters(),
    body=follows(0.05),
    options={"lr": 2e-3},
    batch=128,
    steps=600,
)
LAMP = Program(
    model=lambda: dense(2, 48, 48, 3, slope=0.01),
    train=lambda: starts(True),
    held_out=lambda: starts(False),
    score=near_the_lamp,
    training_step=walks,
    options={"lr": 3e-3},
    batch=128,
    steps=250,
)
HELM = Program(
    model=crew,
    train=lambda: logs(True),
    held_out=lambda: logs(False),
    score=steered,
    body=steers,
    trained=each,
    optimizer=adams,
    options={"actor": 1e-3, "critic": 3e-3},
    batch=128,
    steps=500,
)

SOUND = {"stick by values": STICK, "walk to a lamp": LAMP, "helm by its critic": HELM}

FAULTS = {
    "ends left out of the goals": fault(
        STICK,
        "(1 - done) is missing, and after an end comes a fresh start",
        "unread_ends constant_as_good",
        training_step=lambda model, batch: learns_values(model, batch, ends=False),
    ),
    "slow copy that never follows": fault(
        STICK, "the target net is not updated", "untrained_parameter unmoved_parameter", body=usual
    ),
    "goal for both actions": fault(
        STICK,
        "gather is missing: values (n, 2) against goals (n, 1)",
        "target_broadcast confirmed_change.target_shape",
        training_step=lambda model, batch: learns_values(model, batch, both=True),
    ),
    "mean of the walk's logarithms": fault(
        LAMP,
        "the mean of all logarithms times the sum of all that is earned",
        f"{UNRELATED} constant_as_good flat_loss zero_gradient",
        training_step=lambda model, batch: walks(model, batch, weighed="mean"),
    ),
    "logarithms in a new tensor": fault(
        LAMP,
        "torch.tensor(log_probs, requires_grad=True)",
        f"{CUT} {DETACHED}",
        training_step=lambda model, batch: walks(model, batch, weighed="copied"),
    ),
    "winds in tenths of a knot": fault(
        HELM,
        "states up to 1,000 before a tanh",
        f"{UNSCALED} {SATURATED}",
        train=lambda: in_knots(True),
        held_out=lambda: in_knots(False),
    ),
}
