"""Generative adversarial nets as forum threads have them: a Gaussian, a ring and the digits, with the losses of the papers."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import ABANDONED, EVEN
from programs.held_out.causes import CUT, LARGE, LOUD, SMALL, STALE
from programs.material import raw_digits
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import DETACHED, SATURATED, UNSCALED


@functools.cache
def gaussian(train: bool) -> Data:
    """Numbers (n, 1) of mean 4 and standard deviation 1.25."""
    return (4 + 1.25 * torch.randn(1024, 1, generator=torch.Generator().manual_seed(330 if train else 331)),)


@functools.cache
def ring(train: bool) -> Data:
    """Points (n, 2) near a circle of radius 1.5."""
    rng = torch.Generator().manual_seed(332 if train else 333)
    angle = 6.2832 * torch.rand(1024, 1, generator=rng)
    return (1.5 * torch.cat([angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(1024, 2, generator=rng),)


def pixels(train: bool) -> Data:
    """Digits (n, 64) from -1 to 1."""
    return (raw_digits(train)[0].flatten(1) / 8 - 1,)


def _pixels_raw(train: bool) -> Data:
    return (raw_digits(train)[0].flatten(1),)


def players(out: int, *, noise: int = 8, width: int = 48, norm: bool = False, tanh: bool = False) -> dict[str, nn.Module]:
    """A generator of rows from noise, and a discriminator with one logit."""
    last: list[nn.Module] = [nn.Tanh()] if tanh else []
    norms: list[nn.Module] = [nn.BatchNorm1d(width)] if norm else []
    return {
        "generator": nn.Sequential(
            *(nn.Linear(noise, width), nn.ReLU(), nn.Linear(width, width), *norms, nn.ReLU(), nn.Linear(width, out), *last)
        ),
        "discriminator": nn.Sequential(
            *(nn.Linear(out, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))
        ),
    }


@dataclass(frozen=True)
class Game:
    """Losses of logits: of the discriminator for real and made rows, and of the generator."""

    real: Callable[[Tensor], Tensor]
    made: Callable[[Tensor], Tensor]
    fools: Callable[[Tensor], Tensor]


def _called(label: float) -> Callable[[Tensor], Tensor]:
    return lambda logit: F.binary_cross_entropy_with_logits(logit, torch.full_like(logit, label))


USUAL = Game(_called(1.0), _called(0.0), _called(1.0))
EXCHANGED = Game(_called(0.0), _called(1.0), _called(1.0))
HINGE = Game(lambda a: F.relu(1 - a).mean(), lambda a: F.relu(1 + a).mean(), lambda a: -a.mean())
SQUARES = Game(lambda a: ((a - 1) ** 2).mean(), lambda a: (a**2).mean(), lambda a: ((a - 1) ** 2).mean())


def plays(
    game: Game = USUAL,
    *,
    detach: bool = True,
    clears: bool = True,
    made_by: str = "graph",
    steps: tuple[str, str] = ("discriminator", "generator"),
    noise: Callable[..., Tensor] = torch.randn,
    penalty: float = 0.0,
) -> Callable[[Mapping[str, nn.Module], Any, Any, Loop], Tensor]:
    """The loop of a GAN, sound unless asked otherwise.

    Args:
        game: the losses.
        detach: whether the discriminator's loss is of detached rows.
        clears: whether gradients are cleared.
        made_by: what the generator's loss is of: "graph" for the rows that the discriminator saw, "anew" for others, "data" for
            rows taken by `.data`.
        steps: whose optimizer steps after the discriminator's loss, and whose after the generator's.
        noise: (rows, columns) -> what the generator is given.
        penalty: weight of the gradient penalty; 0 for none.
    """

    def body(model: Mapping[str, nn.Module], optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        generator, discriminator = model["generator"], model["discriminator"]
        real = batch[0]
        made_of = next(generator.parameters()).shape[1]
        made = generator(noise(len(real), made_of))
        if made_by == "data":
            made = made.data
        if clears:
            optimizer["discriminator"].zero_grad()
        loss = game.real(discriminator(real)) + game.made(discriminator(made.detach() if detach else made))
        if penalty:
            between = (real + torch.rand(len(real), 1) * (made.detach() - real)).requires_grad_()
            slope = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)[0]
            loss = loss + penalty * ((slope.norm(dim=1) - 1) ** 2).mean()
        loss.backward(retain_graph=not detach)
        loop.seen(loss, "discriminator")
        optimizer[steps[0]].step()
        if clears:
            optimizer["generator"].zero_grad()
        if made_by == "anew":
            made = generator(noise(len(real), made_of))
        fooled = game.fools(discriminator(made))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer[steps[1]].step()
        return loss

    return body


def _distance(a: Tensor, b: Tensor) -> float:
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def likeness(models: Mapping[str, nn.Module], data: Data) -> float:
    """1 where made rows lie like the true ones, 0 where they lie as all at the mean would, by energy distance."""
    generator, true = models["generator"], data[0]
    noise = torch.randn(512, next(generator.parameters()).shape[1], generator=torch.Generator().manual_seed(1))
    middle = true.mean(dim=0, keepdim=True).expand(512, -1)
    return 1 - _distance(generator(noise), true) / _distance(middle, true)


def both(models: Mapping[str, nn.Module]) -> dict[str, list]:
    """The parameters of each net for its own optimizer."""
    return {name: list(model.parameters()) for name, model in models.items()}


def adams(groups: dict[str, list], lr: float, critic_lr: float | None = None) -> dict[str, torch.optim.Optimizer]:
    """Adam for each net, with the DCGAN's betas."""
    rates = {"generator": lr, "discriminator": critic_lr or lr}
    return {name: torch.optim.Adam(group, lr=rates[name], betas=(0.5, 0.999)) for name, group in groups.items()}


def _copied(models: Mapping[str, nn.Module]) -> dict[str, list]:
    """The generator is replaced by one with the stored weights after its optimizer is made."""
    groups = both(models)
    for layer in models["generator"].modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(parameter.detach().clone()))
    return groups


def _with_weights(models: dict[str, nn.Module], mean: float, std: float) -> dict[str, nn.Module]:
    for model in models.values():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, mean, std)
                nn.init.zeros_(layer.bias)
    return models


RING = Program(
    model=lambda: players(2),
    train=lambda: ring(True),
    held_out=lambda: ring(False),
    score=likeness,
    body=plays(),
    trained=both,
    optimizer=adams,
    options={"lr": 1e-3},
    batch=64,
    steps=800,
)
NUMBERS = but(
    RING,
    model=lambda: players(1, noise=1, width=32),
    train=lambda: gaussian(True),
    held_out=lambda: gaussian(False),
    body=plays(made_by="anew"),
    steps=1000,
)
DIGITS = but(
    RING,
    model=lambda: players(64, noise=16, width=96, norm=True, tanh=True),
    train=lambda: pixels(True),
    held_out=lambda: pixels(False),
)

SOUND = {
    "gan of a ring": RING,
    "gan of one number": NUMBERS,
    "gan of digits": DIGITS,
    "gan of a ring by hinge": but(RING, body=plays(HINGE), options={"lr": 3e-4, "critic_lr": 1e-3}, steps=1200),
    "gan of one number by least squares": but(NUMBERS, body=plays(SQUARES, made_by="anew")),
    "gan of a ring with a gradient penalty": but(
        RING,
        body=plays(Game(lambda a: -a.mean(), lambda a: a.mean(), lambda a: -a.mean()), penalty=1.0),
        options={"lr": 3e-4, "critic_lr": 2e-3},
        steps=1200,
    ),
    "gan whose fakes are not detached": but(RING, body=plays(detach=False)),
}

FAULTS = {
    "discriminator with labels exchanged": fault(
        RING,
        "real rows are called 0 and made ones 1, the generator still wants 1",
        "wrong_sign swapped_arguments",
        body=plays(EXCHANGED),
    ),
    "generator trained on data": fault(
        DIGITS, "made rows are taken as .data for both losses", f"{CUT} {DETACHED}", body=plays(made_by="data")
    ),
    "discriminator's optimizer steps twice": fault(
        DIGITS,
        "optimizer_D.step() where optimizer_G.step() belongs",
        f"never_steps {ABANDONED}",
        body=plays(steps=("discriminator", "discriminator")),
    ),
    "generator's optimizer steps twice": fault(
        NUMBERS,
        "optimizer_G.step() where optimizer_D.step() belongs",
        f"never_steps {ABANDONED}",
        body=plays(steps=("generator", "generator"), made_by="anew"),
    ),
    "gradients of the gan never cleared": fault(
        NUMBERS, "zero_grad is missing", STALE, body=plays(clears=False, made_by="anew")
    ),
    "generator fed zeros": fault(RING, "torch.zeros for torch.randn", "constant_input", body=plays(noise=torch.zeros)),
    "digits of 0 to 16 for tanh": fault(
        DIGITS,
        "the generator ends in tanh, pixels are not scaled",
        f"unreachable_target {UNSCALED} {SATURATED}",
        train=lambda: _pixels_raw(True),
        held_out=lambda: _pixels_raw(False),
    ),
    "generator loaded after its optimizer": fault(
        RING, "parameters are replaced after the optimizer is made", ABANDONED, trained=_copied
    ),
    "gan drawn from N(1, 0.02)": fault(
        NUMBERS,
        "weights_init draws batch norm's weights for every layer",
        f"{EVEN} {LOUD}",
        model=lambda: _with_weights(players(1, noise=1, width=32), 1.0, 0.02),
    ),
    "discriminator at a rate of 1": fault(RING, "lr=1 for the discriminator", LARGE, options={"lr": 1e-3, "critic_lr": 1.0}),
    "generator at a rate of 1e-7": fault(DIGITS, "lr=1e-7 for the generator", SMALL, options={"lr": 1e-7, "critic_lr": 1e-3}),
}
