"""Generative adversarial nets: digits by transposed convolutions, short waves, and points in heaps."""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from programs.forum.causes import ABANDONED, UNREACHABLE
from programs.held_out.causes import CUT, LARGE, QUIET
from programs.material import raw_digits
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import DETACHED, MISALIGNED, SAME, SATURATED, UPSIDE_DOWN

Nets = Mapping[str, nn.Module]
NOISE = 12


def pictures(train: bool) -> Data:
    """Digits (n, 1, 8, 8) from -1 to 1."""
    return (raw_digits(train)[0] / 8 - 1,)


@functools.cache
def waves(train: bool) -> Data:
    """Waves (n, 16) of any phase and of two frequencies."""
    rng = torch.Generator().manual_seed(7101 if train else 7102)
    n = 1024 if train else 400
    phase, fast = 6.2832 * torch.rand(n, 1, generator=rng), torch.randint(2, (n, 1), generator=rng)
    at = torch.linspace(0, 3.1416, 16)[None] * (1 + fast)
    return (torch.sin(at + phase) + 0.05 * torch.randn(n, 16, generator=rng),)


@functools.cache
def heaps(train: bool) -> Data:
    """Points (n, 2) in four heaps, and which heap."""
    rng = torch.Generator().manual_seed(7103 if train else 7104)
    n = 1024 if train else 400
    heap = torch.randint(4, (n,), generator=rng)
    middle = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    return middle[heap] + 0.25 * torch.randn(n, 2, generator=rng), heap


def dense(*sizes: int, slope: float = 0.2, norm: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Sequential:
    """Linear layers with leaky ReLU between them."""
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [norm(nn.Linear(a, b)), nn.LeakyReLU(slope)]
    return nn.Sequential(*parts[:-1])


class Painter(nn.Module):
    """A DCGAN's generator for 8 x 8 pixels."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.start = nn.Sequential(nn.ConvTranspose2d(NOISE, 32, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.grow = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.end = nn.Sequential(nn.ConvTranspose2d(16, 1, 4, 2, 1), last)

    def forward(self, z: Tensor) -> Tensor:
        """(n, NOISE) to (n, 1, 8, 8)."""
        return self.end(self.grow(self.start(z[:, :, None, None])))


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.05)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.05)


def dcgan(last: Callable[[], nn.Module] = nn.Tanh) -> dict[str, nn.Module]:
    """Generator and discriminator of small pictures."""
    judge = nn.Sequential(
        *(nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(32, 1, 2), nn.Flatten(0)),
    )
    return {"generator": Painter(last()).apply(_dcgan_weights), "discriminator": judge.apply(_dcgan_weights)}


class Asked(nn.Module):
    """A net that is also told the heap."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.word = nn.Embedding(4, 6)
        self.body = dense(inside + 6, 48, 48, out)

    def forward(self, x: Tensor, heap: Tensor) -> Tensor:
        """Rows and heaps (n,) to rows."""
        return self.body(torch.cat([x, self.word(heap)], dim=1))


@dataclass(frozen=True)
class Rules:
    """What the players lose: the critic for its outputs of true and made rows, the maker for the critic's."""

    critic: Callable[[Tensor, Tensor], Tensor]
    maker: Callable[[Tensor], Tensor]


def _bce(a: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(a, torch.full_like(a, label))


CLASSIC = Rules(lambda true, made: _bce(true, 1.0) + _bce(made, 0.0), lambda made: _bce(made, 1.0))
SMOOTH = Rules(lambda true, made: _bce(true, 0.9) + _bce(made, 0.0), lambda made: _bce(made, 1.0))
SQUARES = Rules(lambda true, made: 0.5 * ((true - 1) ** 2 + made**2).mean(), lambda made: 0.5 * ((made - 1) ** 2).mean())
HINGE = Rules(lambda true, made: (F.relu(1 - true) + F.relu(1 + made)).mean(), lambda made: -made.mean())
HINGE_UP = Rules(lambda true, made: (F.relu(1 - true) + F.relu(1 - made)).mean(), lambda made: -made.mean())
EARTH = Rules(lambda true, made: made.mean() - true.mean(), lambda made: -made.mean())
EARTH_BOTH_UP = Rules(lambda true, made: made.mean() - true.mean(), lambda made: made.mean())


def penalty_of(critic: nn.Module, true: Tensor, made: Tensor, *, graph: bool = True) -> Tensor:
    """How far the critic's slope between true and made rows is from one."""
    share = torch.rand(len(true), 1)
    between = (share * true + (1 - share) * made).requires_grad_()
    slope = torch.autograd.grad(critic(between).sum(), between, create_graph=graph)[0]
    return ((slope.norm(2, dim=1) - 1) ** 2).mean()


def duel(
    rules: Rules,
    *,
    rounds: int = 1,
    clamp: float | None = None,
    penalty: float = 0.0,
    penalty_graph: bool = True,
    one_noise: bool = False,
    detach: tuple[bool, bool] = (True, False),
    jitter: float = 0.0,
) -> Callable[..., Tensor]:
    """The loop of a GAN.

    Args:
        rules: the losses.
        rounds: steps of the critic for each of the maker.
        clamp: bound of the critic's weights.
        penalty: weight of the penalty of the slope.
        penalty_graph: whether the slope is differentiated again.
        one_noise: whether one row of noise serves the whole batch.
        detach: whether made rows are detached for the critic, and for the maker.
        jitter: noise on whatever the critic sees.
    """

    def noise(n: int) -> Tensor:
        return torch.randn(1, NOISE).repeat(n, 1) if one_noise else torch.randn(n, NOISE)

    def blurred(x: Tensor) -> Tensor:
        return x + jitter * torch.randn_like(x) if jitter else x

    def body(model: Nets, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        maker, critic = model["generator"], model["discriminator"]
        true, loss = batch[0], torch.zeros(())
        for _ in range(rounds):
            made = maker(noise(len(true)))
            made = made.detach() if detach[0] else made
            optimizer["discriminator"].zero_grad()
            loss = rules.critic(critic(blurred(true)), critic(blurred(made)))
            if penalty:
                loss = loss + penalty * penalty_of(critic, true, made.detach(), graph=penalty_graph)
            loss.backward()
            loop.seen(loss, "discriminator")
            optimizer["discriminator"].step()
            if clamp is not None:
                with torch.no_grad():
                    for parameter in critic.parameters():
                        parameter.clamp_(-clamp, clamp)
        optimizer["generator"].zero_grad()
        made = maker(noise(len(true)))
        fooled = rules.maker(critic(blurred(made.detach() if detach[1] else made)))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer["generator"].step()
        return loss

    return body


def asks(*, names: Callable[[Tensor], Tensor] = lambda heap: heap) -> Callable[..., Tensor]:
    """The loop of a conditional GAN; `names` makes the heaps that go with the true rows."""

    def body(model: Nets, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        maker, critic = model["generator"], model["discriminator"]
        true, heap = batch[0], names(batch[1])
        made = maker(torch.randn(len(true), NOISE), heap)
        optimizer["discriminator"].zero_grad()
        loss = CLASSIC.critic(critic(true, heap), critic(made.detach(), heap))
        loss.backward()
        loop.seen(loss, "discriminator")
        optimizer["discriminator"].step()
        optimizer["generator"].zero_grad()
        fooled = CLASSIC.maker(critic(made, heap))
        fooled.backward()
        loop.seen(fooled, "generator")
        optimizer["generator"].step()
        return loss

    return body


def apart(a: Tensor, b: Tensor) -> float:
    """Energy distance of two heaps of rows."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def alike(models: Nets, data: Data) -> float:
    """1 where made rows lie as true ones do, 0 where they lie as their mean would."""
    true = data[0].flatten(1)
    made = models["generator"](torch.randn(400, NOISE, generator=torch.Generator().manual_seed(2))).flatten(1)
    return 1 - apart(made, true) / apart(true.mean(dim=0, keepdim=True).expand(400, -1), true)


def alike_by_heap(models: Nets, data: Data) -> float:
    """The same of points that are asked for by heap, on the average; 0 for points of all heaps."""
    noise = torch.randn(200, NOISE, generator=torch.Generator().manual_seed(3))
    found = []
    for heap in range(4):
        true = data[0][data[1] == heap]
        made = models["generator"](noise, torch.full((200,), heap))
        found.append(1 - apart(made, true) / apart(data[0], true))
    return sum(found) / 4


def each(models: Nets) -> dict[str, list]:
    """The parameters of each net."""
    return {name: list(model.parameters()) for name, model in models.items()}


def _all_for_the_critic(models: Nets) -> dict[str, list]:
    groups = each(models)
    return {"generator": groups["generator"], "discriminator": groups["generator"] + groups["discriminator"]}


def makes(kind: Any, **words: Any) -> Callable[..., dict[str, Any]]:
    """Makes an optimizer for each net; the second rate is the critic's."""

    def made(groups: dict[str, list], lr: float, critic: float) -> dict[str, Any]:
        return {n: kind(p, lr=lr if n == "generator" else critic, **words) for n, p in groups.items()}

    return made


ADAM = makes(torch.optim.Adam, betas=(0.5, 0.999))

DIGITS = Program(
    model=dcgan,
    train=lambda: pictures(True),
    held_out=lambda: pictures(False),
    score=alike,
    body=duel(CLASSIC),
    trained=each,
    optimizer=ADAM,
    options={"lr": 1e-3, "critic": 1e-3},
    batch=64,
    steps=400,
)
WAVES = but(
    DIGITS,
    model=lambda: {"generator": dense(NOISE, 64, 64, 16), "discriminator": dense(16, 64, 64, 1)},
    train=lambda: waves(True),
    held_out=lambda: waves(False),
    body=duel(SQUARES),
    optimizer=makes(torch.optim.RMSprop),
    options={"lr": 5e-4, "critic": 1e-3},
    steps=900,
)
HEAPS = but(
    WAVES,
    model=lambda: {"generator": dense(NOISE, 48, 48, 2), "discriminator": dense(2, 48, 48, 1)},
    train=lambda: heaps(True)[:1],
    held_out=lambda: heaps(False)[:1],
    optimizer=ADAM,
    options={"lr": 1e-3, "critic": 1e-3},
)
SPECTRAL = but(
    HEAPS,
    model=lambda: {"generator": dense(NOISE, 48, 48, 2), "discriminator": dense(2, 48, 48, 1, norm=spectral_norm)},
    body=duel(HINGE, rounds=2),
    options={"lr": 1e-3, "critic": 3e-3},
    steps=600,
)
CLAMPED = but(
    HEAPS,
    body=duel(EARTH, rounds=3, clamp=0.1),
    optimizer=makes(torch.optim.RMSprop),
    options={"lr": 1e-3, "critic": 2e-3},
    steps=600,
)
PENALIZED = but(
    WAVES,
    body=duel(EARTH, rounds=2, penalty=10.0),
    optimizer=makes(torch.optim.Adam, betas=(0.0, 0.9)),
    options={"lr": 1e-3, "critic": 1e-3},
    steps=500,
)
CONDITIONAL = but(
    HEAPS,
    model=lambda: {"generator": Asked(NOISE, 2), "discriminator": Asked(2, 1)},
    train=lambda: heaps(True),
    held_out=lambda: heaps(False),
    score=alike_by_heap,
    body=asks(),
)

SOUND = {
    "dcgan of digits": DIGITS,
    "least squares gan of waves": WAVES,
    "hinge gan of heaps under spectral norm": SPECTRAL,
    "wasserstein gan of heaps, clamped": CLAMPED,
    "wasserstein gan of waves, penalized": PENALIZED,
    "conditional gan of heaps": CONDITIONAL,
    "least squares gan of heaps": HEAPS,
    "gan of heaps with smooth labels and jitter": but(HEAPS, body=duel(SMOOTH, jitter=0.1)),
}

FAULTS = {
    "dcgan ending in sigmoid": fault(
        DIGITS, "Sigmoid for Tanh, pixels from -1 to 1", f"{UNREACHABLE} {SATURATED}", model=lambda: dcgan(nn.Sigmoid)
    ),
    "one noise for a batch": fault(
        DIGITS,
        "one row of noise is repeated for all of a batch",
        f"constant_input repeated_draws repeated_batch {SAME} {CUT}",
        body=duel(CLASSIC, one_noise=True),
    ),
    "waves detached before the generator's loss": fault(
        WAVES, "fake.detach() in the generator's loss, too", f"{CUT} {DETACHED}", body=duel(SQUARES, detach=(True, True))
    ),
    "critic's optimizer with every parameter": fault(
        HEAPS,
        "itertools.chain of both nets for the critic's optimizer, made rows not detached",
        f"{ABANDONED} wrong_sign",
        trained=_all_for_the_critic,
        body=duel(SQUARES, detach=(False, False)),
        options={"lr": 1e-3, "critic": 5e-3},
    ),
    "hinge with one sign wrong": fault(
        SPECTRAL, "relu(1 - made) for relu(1 + made)", UPSIDE_DOWN, body=duel(HINGE_UP, rounds=2)
    ),
    "critic clamped at 0.0001": fault(
        CLAMPED,
        "weights are clamped to a ten-thousandth",
        f"vanishing_gradient flat_loss clipping {QUIET}",
        body=duel(EARTH, rounds=3, clamp=1e-4),
    ),
    "wasserstein generator with the critic's sign": fault(
        CLAMPED, "the maker's loss is critic(made).mean()", UPSIDE_DOWN, body=duel(EARTH_BOTH_UP, rounds=3, clamp=0.1)
    ),
    "penalty without create_graph": fault(
        PENALIZED,
        "the slope is not differentiated again, so that nothing bounds the critic",
        "loss_below_floor exploding_gradient activation_scale oscillation flat_derivative.without_graph",
        body=duel(EARTH, rounds=2, penalty=10.0, penalty_graph=False),
    ),
    "heaps called by any name": fault(
        CONDITIONAL,
        "labels are drawn anew for the true points",
        f"{MISALIGNED} constant_as_good",
        body=asks(names=lambda heap: torch.randint(4, heap.shape)),
    ),
    "betas in the wrong order": fault(
        DIGITS,
        "betas=(0.999, 0.5)",
        f"long_momentum {LARGE}",
        optimizer=makes(torch.optim.Adam, betas=(0.999, 0.5)),
    ),
}
