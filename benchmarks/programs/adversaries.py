"""Two nets against each other: points around three corners."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, clusters
from programs.program import LARGE_STEPS, SMALL_STEPS, Loop, Program, but, fault


def nets(last: nn.Module | None = None) -> dict[str, nn.Module]:
    """A generator of points and a critic."""
    critic: list[nn.Module] = [nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)]
    return {
        "generator": nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2)),
        "critic": nn.Sequential(*critic, *([last] if last is not None else [])),
    }


def _distance(a: Tensor, b: Tensor) -> float:
    """Energy distance of two sets of points."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def likeness(models: dict[str, nn.Module], data: Data) -> float:
    """1 where generated points lie like the true ones, 0 where they lie as all in the centre would."""
    rng = torch.Generator().manual_seed(1)
    made = models["generator"](torch.randn(512, 4, generator=rng))
    return 1 - _distance(made, data[0]) / _distance(torch.zeros(512, 2), data[0])


def _critic_loss(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    return F.binary_cross_entropy_with_logits(critic(real), ones) + F.binary_cross_entropy_with_logits(critic(made), zeros)


def plays(*, cut: bool = False, clears: bool = True, goal: float = 1.0):
    """The body of the loop, sound unless asked otherwise."""

    def body(model, optimizer, batch, loop: Loop) -> Tensor:
        real = batch[0]
        made = model["generator"](torch.randn(len(real), 4))
        if clears:
            optimizer["critic"].zero_grad()
        loss = _critic_loss(model["critic"], real, made.detach())
        loss.backward()
        loop.seen(loss, "critic")
        optimizer["critic"].step()
        if clears:
            optimizer["generator"].zero_grad()
        answer = model["critic"](made.detach() if cut else made)
        fooled = F.binary_cross_entropy_with_logits(answer, torch.full_like(answer, goal))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer["generator"].step()
        return loss

    return body


def wasserstein(model, optimizer, batch, loop: Loop) -> Tensor:
    """A critic with clipped weights, three steps for one of the generator."""
    real = batch[0]
    loss = torch.zeros(())
    for _ in range(3):
        made = model["generator"](torch.randn(len(real), 4)).detach()
        optimizer["critic"].zero_grad()
        loss = model["critic"](made).mean() - model["critic"](real).mean()
        loss.backward()
        loop.seen(loss, "critic")
        optimizer["critic"].step()
        with torch.no_grad():
            for parameter in model["critic"].parameters():
                parameter.clamp_(-0.1, 0.1)
    optimizer["generator"].zero_grad()
    fooled = -model["critic"](model["generator"](torch.randn(len(real), 4))).mean()
    fooled.backward()
    loop.seen(fooled, "generator")
    optimizer["generator"].step()
    return loss


def both(models: dict[str, nn.Module]) -> dict[str, list]:
    """The parameters of each net for its own optimizer."""
    return {name: list(model.parameters()) for name, model in models.items()}


def _critic_twice(models: dict[str, nn.Module]) -> dict[str, list]:
    return {name: list(models["critic"].parameters()) for name in models}


def adams(groups: dict[str, list], **options: float) -> dict[str, torch.optim.Optimizer]:
    """Adam for each net."""
    return {name: torch.optim.Adam(group, betas=(0.5, 0.9), **options) for name, group in groups.items()}


def rmsprops(groups: dict[str, list], **options: float) -> dict[str, torch.optim.Optimizer]:
    """RMSprop for each net."""
    return {name: torch.optim.RMSprop(group, **options) for name, group in groups.items()}


GAN = Program(
    model=nets,
    train=lambda: clusters(True),
    held_out=lambda: clusters(False),
    score=likeness,
    body=plays(),
    trained=both,
    optimizer=adams,
    options={"lr": 2e-3},
    batch=64,
    steps=800,
)

SOUND = {
    "gan": GAN,
    "wasserstein gan": but(GAN, body=wasserstein, optimizer=rmsprops, options={"lr": 1e-3}),
}

FAULTS = {
    "points detached for the generator": fault(
        GAN,
        "the generator's loss is of detached points",
        "unreached_parameter unmoved_parameter.without_gradient zero_gradient untrained_parameter.no_gradient",
        body=plays(cut=True),
    ),
    "generator's optimizer holds the critic": fault(
        GAN,
        "both optimizers are given the critic's parameters",
        "untrained_parameter.unmanaged unmoved_parameter foreign_optimizer",
        trained=_critic_twice,
    ),
    "generator is asked to be found out": fault(
        GAN, "target 0 for made points in the generator's loss", "wrong_sign", body=plays(goal=0.0)
    ),
    "gan at rate 1": fault(
        GAN,
        "lr=1 under Adam",
        LARGE_STEPS,
        options={"lr": 1.0},
    ),
    "gan at rate 1e-8": fault(GAN, "lr=1e-8 under Adam", SMALL_STEPS, options={"lr": 1e-8}),
    "gan without zero_grad": fault(GAN, "zero_grad is missing", "stale_gradients missing_zero_grad", body=plays(clears=False)),
    "critic through sigmoid twice": fault(
        GAN, "nn.Sigmoid under the loss with logits", "softmax_twice capped_loss", model=lambda: nets(nn.Sigmoid())
    ),
}
