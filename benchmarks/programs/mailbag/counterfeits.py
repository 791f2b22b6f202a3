"""Generative adversarial nets: an S of points, short pulses, digits by name, rows of a table, and blurred digits made sharp."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, STALE
from programs.material import raw_digits
from programs.program import Data, Loop, Program, but, explained, fault
from programs.unseen.causes import DETACHED
from programs.workshop.forgers import apart, dense, each, makes

Nets = Mapping[str, nn.Module]
NOISE = 10


@functools.cache
def letter(train: bool) -> Data:
    """Points (n, 2) along the letter S."""
    rng = torch.Generator().manual_seed(8201 if train else 8202)
    n = 1024 if train else 400
    t = 3 * math.pi * (torch.rand(n, 1, generator=rng) - 0.5)
    points = torch.cat([t.sin(), t.sign() * (t.cos() - 1)], dim=1)
    return (points + 0.08 * torch.randn(n, 2, generator=rng),)


@functools.cache
def pulses(train: bool) -> Data:
    """Series (n, 16) with one bell each, of any place and of two widths."""
    rng = torch.Generator().manual_seed(8203 if train else 8204)
    n = 1024 if train else 400
    place, wide = 4 + 8 * torch.rand(n, 1, generator=rng), 1 + torch.randint(2, (n, 1), generator=rng)
    bell = torch.exp(-((torch.arange(16) - place) ** 2) / (2 * wide**2))
    return (2 * bell - 0.5 + 0.05 * torch.randn(n, 16, generator=rng),)


def named(train: bool) -> Data:
    """Digits (n, 64) from -1 to 1 and their names; the first three names only."""
    images, labels = raw_digits(train)
    kept = labels < 3
    return images[kept].flatten(1) / 8 - 1, labels[kept]


@functools.cache
def customers(train: bool) -> Data:
    """Rows (n, 5): two numbers, and which of three plans a customer has, one-hot; the plan tells the numbers."""
    rng = torch.Generator().manual_seed(8205 if train else 8206)
    n = 1024 if train else 400
    plan = torch.multinomial(torch.tensor([0.15, 0.25, 0.6]), n, replacement=True, generator=rng)
    middle = torch.tensor([[1.5, 1.0], [-1.5, 0.5], [0.0, -1.2]])[plan]
    return (torch.cat([middle + 0.3 * torch.randn(n, 2, generator=rng), F.one_hot(plan, 3).float()], dim=1),)


@functools.cache
def blurred(train: bool) -> Data:
    """Digits (n, 64) under a blur and noise, and as they were, from -1 to 1."""
    images = raw_digits(train)[0] / 8 - 1
    rng = torch.Generator().manual_seed(8207 if train else 8208)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), value=-1.0), 3, 1)
    return (soft + 0.1 * torch.randn(soft.shape, generator=rng)).flatten(1), images.flatten(1)


class ByName(nn.Module):
    """A net that is told a name beside its rows, or is not."""

    def __init__(self, inside: int, out: int, *, told: bool = True, last: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.told = told
        self.body = nn.Sequential(dense(inside + 3 * told, 96, 96, out), last())

    def forward(self, x: Tensor, name: Tensor) -> Tensor:
        """Rows and names (n,) to rows."""
        return self.body(torch.cat([x, F.one_hot(name, 3).float()], dim=1) if self.told else x)


class Clerk(nn.Module):
    """Rows of two numbers and a plan, from noise; the plan is drawn, or taken by argmax."""

    def __init__(self, *, drawn: bool = True) -> None:
        super().__init__()
        self.drawn = drawn
        self.plans, self.numbers = dense(NOISE, 48, 3), dense(NOISE + 3, 48, 48, 2)

    def forward(self, z: Tensor) -> Tensor:
        """(n, NOISE) to (n, 5)."""
        logits = self.plans(z)
        if self.drawn:
            plan = F.gumbel_softmax(logits, tau=0.7, hard=True)
        else:
            plan = F.one_hot(logits.argmax(dim=1), 3).float()
        return torch.cat([self.numbers(torch.cat([z, plan], dim=1)), plan], dim=1)


@dataclass(frozen=True)
class Terms:
    """What judge and maker lose, of the judge's outputs for true and made rows."""

    judge: Callable[[Tensor, Tensor], Tensor]
    maker: Callable[[Tensor], Tensor]


def _called(p: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy(p, torch.full_like(p, label))


def _logit(a: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(a, torch.full_like(a, label))


PROBABILITIES = Terms(lambda true, made: _called(true, 1.0) + _called(made, 0.0), lambda made: _called(made, 1.0))
ALL_TRUE = Terms(lambda true, made: _called(true, 1.0) + _called(made, 1.0), lambda made: _called(made, 1.0))
LOGITS = Terms(lambda true, made: _logit(true, 1.0) + _logit(made, 0.0), lambda made: _logit(made, 1.0))
EARTH = Terms(lambda true, made: made.mean() - true.mean(), lambda made: -made.mean())


def contest(terms: Terms, *, rounds: int = 1, bound: float | None = None, clears: bool = True) -> Callable[..., Tensor]:
    """The loop of a GAN.

    Args:
        terms: the losses.
        rounds: steps of the judge for each of the maker.
        bound: of the judge's weights, after each of its steps.
        clears: whether the judge's gradients are cleared.
    """

    def body(model: Nets, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        maker, judge = model["generator"], model["discriminator"]
        true, loss = batch[0], torch.zeros(())
        for _ in range(rounds):
            if clears:
                optimizer["discriminator"].zero_grad()
            loss = terms.judge(judge(true), judge(maker(torch.randn(len(true), NOISE)).detach()))
            loss.backward()
            loop.seen(loss, "discriminator")
            optimizer["discriminator"].step()
            if bound is not None:
                with torch.no_grad():
                    for parameter in judge.parameters():
                        parameter.clamp_(-bound, bound)
        optimizer["generator"].zero_grad()
        fooled = terms.maker(judge(maker(torch.randn(len(true), NOISE))))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer["generator"].step()
        return loss

    return body


def asked(*, always: int | None = None) -> Callable[..., Tensor]:
    """The loop of a GAN that is asked for names: those of the batch, or always the same."""

    def body(model: Nets, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        maker, judge = model["generator"], model["discriminator"]
        true, name = batch
        wish = name if always is None else torch.full_like(name, always)
        made = maker(torch.randn(len(true), NOISE), wish)
        optimizer["discriminator"].zero_grad()
        loss = LOGITS.judge(judge(true, name), judge(made.detach(), wish))
        loss.backward()
        loop.seen(loss, "discriminator")
        optimizer["discriminator"].step()
        optimizer["generator"].zero_grad()
        fooled = LOGITS.maker(judge(made, wish))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer["generator"].step()
        return loss

    return body


def restores(model: Nets, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """The loop of a net that makes blurred rows sharp: ten times the distance, and a judge of pairs."""
    maker, judge = model["generator"], model["discriminator"]
    soft, sharp = batch
    made = maker(soft)
    optimizer["discriminator"].zero_grad()
    loss = LOGITS.judge(judge(torch.cat([soft, sharp], 1)), judge(torch.cat([soft, made.detach()], 1)))
    loss.backward()
    loop.seen(loss, "discriminator")
    optimizer["discriminator"].step()
    optimizer["generator"].zero_grad()
    total = 10 * F.l1_loss(made, sharp) + LOGITS.maker(judge(torch.cat([soft, made], 1)))
    total.backward()
    loop.seen(total, "generator")
    optimizer["generator"].step()
    return total


def _noise(n: int) -> Tensor:
    return torch.randn(n, NOISE, generator=torch.Generator().manual_seed(4))


def like(models: Nets, data: Data) -> float:
    """1 where made rows lie as true ones do, 0 where they lie as their mean would."""
    true = data[0]
    middle = true.mean(dim=0, keepdim=True).expand(400, -1)
    return 1 - apart(models["generator"](_noise(400)), true) / apart(middle, true)


def like_by_name(models: Nets, data: Data) -> float:
    """The same of rows asked for by name, on the average; 0 for rows of all names."""
    found = []
    for name in range(3):
        true = data[0][data[1] == name]
        made = models["generator"](_noise(100), torch.full((100,), name))
        found.append(1 - apart(made, true) / apart(data[0], true))
    return sum(found) / 3


def like_by_plan(models: Nets, data: Data) -> float:
    """How like the rows are, less how far the shares of the plans are off."""
    torch.manual_seed(5)
    off = (models["generator"](_noise(400))[:, 2:].mean(dim=0) - data[0][:, 2:].mean(dim=0)).abs().sum()
    return like(models, data) - float(off)


def players(out: int, *, width: int = 48, last: type[nn.Module] = nn.Identity) -> dict[str, nn.Module]:
    """A maker of rows, and a judge that ends in `last`."""
    judge = nn.Sequential(dense(out, width, width, 1), last())
    return {"generator": dense(NOISE, width, width, out), "discriminator": judge}


def _clerks(*, drawn: bool = True) -> dict[str, nn.Module]:
    return {"generator": Clerk(drawn=drawn), "discriminator": dense(5, 48, 48, 1)}


def _by_name(*, told: bool = True) -> dict[str, nn.Module]:
    return {"generator": ByName(NOISE, 64, last=nn.Tanh), "discriminator": ByName(64, 1, told=told)}


LETTER = Program(
    model=lambda: players(2, last=nn.Sigmoid),
    train=lambda: letter(True),
    held_out=lambda: letter(False),
    score=like,
    body=contest(PROBABILITIES),
    trained=each,
    optimizer=makes(torch.optim.Adam, betas=(0.5, 0.999)),
    options={"lr": 1e-3, "critic": 1e-3},
    batch=64,
    steps=800,
)
PULSES = but(
    LETTER,
    model=lambda: players(16, width=64),
    train=lambda: pulses(True),
    held_out=lambda: pulses(False),
    body=contest(EARTH, rounds=5, bound=0.05),
    optimizer=makes(torch.optim.RMSprop),
    options={"lr": 1e-3, "critic": 3e-3},
    steps=400,
)
NAMED = but(
    LETTER,
    model=_by_name,
    train=lambda: named(True),
    held_out=lambda: named(False),
    score=like_by_name,
    body=asked(),
    options={"lr": 2e-3, "critic": 6e-3},
    batch=128,
    steps=1000,
)
CUSTOMERS = but(
    LETTER,
    model=_clerks,
    train=lambda: customers(True),
    held_out=lambda: customers(False),
    score=like_by_plan,
    body=contest(LOGITS),
    optimizer=makes(torch.optim.AdamW, betas=(0.5, 0.99), weight_decay=1e-3),
    options={"lr": 2e-3, "critic": 1e-3},
)
SHARP = but(
    LETTER,
    model=lambda: {"generator": dense(64, 128, 128, 64), "discriminator": dense(128, 64, 1)},
    train=lambda: blurred(True),
    held_out=lambda: blurred(False),
    score=lambda models, data: explained(models["generator"], data),
    body=restores,
    steps=300,
)

SOUND = {
    "letter s by a judge of probabilities": LETTER,
    "pulses by a bounded critic": PULSES,
    "digits asked for by name": NAMED,
    "customers and their plans": CUSTOMERS,
    "blurred digits made sharp": SHARP,
}

FAULTS = {
    "forgeries called true": fault(
        LETTER, "target 1 for made points in the judge's loss", "wrong_sign constant_as_good", body=contest(ALL_TRUE)
    ),
    "judge that is never cleared": fault(
        LETTER, "zero_grad of the judge's optimizer is missing", STALE, body=contest(PROBABILITIES, clears=False)
    ),
    "critic without a bound": fault(
        PULSES,
        "the critic's weights are not clipped after its steps",
        "loss_below_floor exploding_gradient activation_scale",
        body=contest(EARTH, rounds=5),
    ),
    "always asked for a two": fault(
        NAMED, "the name that is asked for is a constant of the loop", "constant_input", body=asked(always=2)
    ),
    "judge that is told no name": fault(
        NAMED, "the name goes to the maker alone", "condition_not_judged", model=lambda: _by_name(told=False)
    ),
    "plans by argmax": fault(
        CUSTOMERS,
        "one_hot of an argmax, through which no gradient goes",
        f"{CUT} {DETACHED} flat_derivative",
        model=lambda: _clerks(drawn=False),
    ),
}
