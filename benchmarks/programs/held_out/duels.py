"""Nets against each other: least squares, hinge with spectral norm, gradient penalty, and a code that hides its source."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LARGE, OUTSIDE, SMALL, STALE
from programs.program import Data, Loop, Program, but, fault

LENGTH, NOISE = 8, 6


@functools.cache
def arcs(train: bool) -> Data:
    """Stretches (n, 8) of sine waves of any phase and two pitches."""
    rng = torch.Generator().manual_seed(200 if train else 201)
    n = 1024 if train else 512
    pitch = 0.4 + 0.5 * torch.randint(2, (n, 1), generator=rng)
    wave = torch.sin(torch.arange(LENGTH) * pitch + 6.3 * torch.rand(n, 1, generator=rng))
    return (wave + 1.0 + 0.05 * torch.randn(n, LENGTH, generator=rng),)


@functools.cache
def sites(train: bool) -> Data:
    """Rows (n, 10), a class (n,), and which of two sites measured it (n,), which shifts the last five columns."""
    rng = torch.Generator().manual_seed(202 if train else 203)
    n = 1200 if train else 400
    label, site = torch.randint(2, (n,), generator=rng), torch.randint(2, (n,), generator=rng)
    x = torch.randn(n, 10, generator=rng)
    x[:, 0] = x[:, 0].abs() * (2 * label - 1) * torch.sign(x[:, 1])
    x[:, 5:] += 2.0 * site[:, None] - 1.0
    return x, label, site


def nets(last: nn.Module | None = None, *, spectral: bool = False) -> dict[str, nn.Module]:
    """A generator of stretches with batch norm, and a critic."""
    wrap = nn.utils.parametrizations.spectral_norm if spectral else (lambda layer: layer)
    critic = [
        wrap(nn.Linear(LENGTH, 48)),
        nn.LeakyReLU(0.2),
        wrap(nn.Linear(48, 48)),
        nn.LeakyReLU(0.2),
        wrap(nn.Linear(48, 1)),
    ]
    maker = [nn.Linear(NOISE, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48), nn.BatchNorm1d(48), nn.ReLU()]
    return {
        "maker": nn.Sequential(*maker, nn.Linear(48, LENGTH)),
        "critic": nn.Sequential(*critic, *([last] if last is not None else [])),
    }


def _gap(a: Tensor, b: Tensor) -> float:
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def likeness(models: dict[str, nn.Module], data: Data) -> float:
    """1 where what is made lies like the true, 0 where it lies as always the mean would (energy distance)."""
    made = models["maker"](torch.randn(512, NOISE, generator=torch.Generator().manual_seed(1)))
    return 1 - _gap(made, data[0]) / _gap(data[0].mean(dim=0, keepdim=True).expand(512, -1), data[0])


def _squares(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    return (critic(real) - 1).square().mean() + critic(made).square().mean()


def _hinge(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    return F.relu(1 - critic(real)).mean() + F.relu(1 + critic(made)).mean()


def _entropy(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    return F.softplus(-critic(real)).mean() + F.softplus(critic(made)).mean()


def penalty(sign: float = 1.0, weight: float = 2.0):
    """The critic's difference, and how far its slope between true and made is from 1."""

    def loss(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
        between = (made + torch.rand(len(real), 1) * (real - made)).requires_grad_()
        slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
        return critic(made).mean() - critic(real).mean() + sign * weight * (slope.norm(dim=1) - 1).square().mean()

    return loss


FOOLS = {
    "squares": lambda answer: (answer - 1).square().mean(),
    "mean": lambda answer: -answer.mean(),
    "entropy": lambda answer: F.softplus(-answer).mean(),
}


def plays(
    judged: Any,
    goal: str,
    *,
    critic_steps: int = 1,
    cut: bool = False,
    clears: bool = True,
    steps: tuple[str, str] = ("critic", "maker"),
    draws: Any = torch.randn,
):
    """The body of the loop: the critic first, then the maker; `steps` names the optimizer that each pass steps."""

    def body(model: dict[str, nn.Module], optimizer: dict[str, Any], batch: list[Tensor], loop: Loop) -> Tensor:
        real, loss = batch[0], torch.zeros(())
        for module in model.values():
            module.train()
        for _ in range(critic_steps):
            made = model["maker"](draws(len(real), NOISE)).detach()
            if clears:
                optimizer["critic"].zero_grad()
            loss = judged(model["critic"], real, made)
            loss.backward()
            loop.seen(loss, "critic")
            optimizer[steps[0]].step()
        if clears:
            optimizer["maker"].zero_grad()
        made = model["maker"](draws(len(real), NOISE))
        fooled = FOOLS[goal](model["critic"](made.detach() if cut else made))
        fooled.backward()
        loop.seen(fooled, "maker")
        optimizer[steps[1]].step()
        return loss

    return body


def each(models: dict[str, nn.Module]) -> dict[str, list]:
    """The parameters of each net for its own optimizer."""
    return {name: list(model.parameters()) for name, model in models.items()}


def _swapped(models: dict[str, nn.Module]) -> dict[str, list]:
    return {name: list(models["maker"].parameters()) for name in models}


def adams(groups: dict[str, list], lr: float, ratio: float = 1.0) -> dict[str, torch.optim.Optimizer]:
    """Adam without much momentum; the maker's rate is `ratio` times the critic's."""
    return {
        name: torch.optim.Adam(group, lr=lr * (ratio if name == "maker" else 1.0), betas=(0.5, 0.95))
        for name, group in groups.items()
    }


def sgds(groups: dict[str, list], lr: float) -> dict[str, torch.optim.Optimizer]:
    """Plain SGD for each net."""
    return {name: torch.optim.SGD(group, lr=lr) for name, group in groups.items()}


class Hidden(nn.Module):
    """A code of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 10) to codes (n, 8)."""
        return self.body(x)


def three() -> dict[str, nn.Module]:
    """A code, what names the class from it, and what names the site."""

    def head() -> nn.Module:
        return nn.Sequential(nn.ReLU(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

    return {"code": Hidden(), "namer": head(), "spy": head()}


def hides(*, sign: float = 1.0):
    """The spy learns to name the site from the code; code and namer learn the class and to confuse the spy."""

    def body(model: dict[str, nn.Module], optimizer: dict[str, Any], batch: list[Tensor], loop: Loop) -> Tensor:
        x, label, site = batch
        optimizer["spy"].zero_grad()
        caught = F.cross_entropy(model["spy"](model["code"](x).detach()), site)
        caught.backward()
        loop.seen(caught, "spy")
        optimizer["spy"].step()
        for name in ("code", "namer"):
            optimizer[name].zero_grad()
        code = model["code"](x)
        confused = -model["spy"](code).log_softmax(dim=1).mean()
        loss = sign * F.cross_entropy(model["namer"](code), label) + 0.1 * confused
        loss.backward()
        for name in ("code", "namer"):
            loop.seen(loss, name)
            optimizer[name].step()
        return loss

    return body


def named(models: dict[str, nn.Module], data: Data) -> float:
    """Accuracy of the class, from chance."""
    said = models["namer"](models["code"](data[0])).argmax(dim=1)
    return 2 * float((said == data[1]).float().mean()) - 1


def _always_alike(n: int, width: int) -> Tensor:
    """Zeros where randn was meant."""
    return torch.zeros(n, width)


LEAST = Program(
    model=nets,
    train=lambda: arcs(True),
    held_out=lambda: arcs(False),
    score=likeness,
    body=plays(_squares, "squares"),
    trained=each,
    optimizer=adams,
    options={"lr": 2e-3, "ratio": 0.5},
    batch=64,
    steps=600,
)
HINGE = but(LEAST, model=lambda: nets(spectral=True), body=plays(_hinge, "mean"), options={"lr": 4e-3, "ratio": 0.5})
SLOPE = but(LEAST, body=plays(penalty(), "mean", critic_steps=2), options={"lr": 2e-3, "ratio": 1.0}, steps=500)
CROSS = but(LEAST, body=plays(_entropy, "entropy"), options={"lr": 1e-3})
HIDES = but(
    LEAST,
    model=three,
    train=lambda: sites(True),
    held_out=lambda: sites(False),
    score=named,
    body=hides(),
    options={"lr": 4e-3},
    steps=400,
)

SOUND = {
    "least-squares gan": LEAST,
    "hinge gan with spectral norm": HINGE,
    "gan with gradient penalty": SLOPE,
    "gan by cross-entropy": CROSS,
    "code that hides its site": HIDES,
}

FAULTS = {
    "stretches detached for the maker": fault(
        LEAST,
        "made.detach() in the maker's pass as well",
        "unreached_parameter zero_gradient unmoved_parameter.without_gradient untrained_parameter.no_gradient",
        body=plays(_squares, "squares", cut=True),
    ),
    "critic's optimizer steps twice": fault(
        HINGE,
        "the maker's pass steps the critic's optimizer",
        "never_steps untrained_parameter unmoved_parameter.with_gradient",
        body=plays(_hinge, "mean", steps=("critic", "critic")),
    ),
    "both optimizers hold the maker": fault(
        SLOPE, "the critic's optimizer is given the maker's parameters", f"{OUTSIDE} foreign_optimizer", trained=_swapped
    ),
    "noise of zeros": fault(
        CROSS, "zeros(n, 6) for randn(n, 6)", "constant_input", body=plays(_entropy, "entropy", draws=_always_alike)
    ),
    "gradients of both passes add up": fault(
        but(CROSS, optimizer=sgds, options={"lr": 0.05}, steps=900),
        "no zero_grad of either net",
        STALE,
        body=plays(_entropy, "entropy", clears=False),
    ),
    "maker's rate a millionth": fault(LEAST, "the maker's rate is 2e-9", SMALL, options={"lr": 2e-3, "ratio": 1e-6}),
    "gan at rate 0.7": fault(LEAST, "lr=0.7 under Adam for both", LARGE, options={"lr": 0.7}),
    "critic squashed under a hinge": fault(
        HINGE,
        "nn.Sigmoid and a hinge of plus and minus one: made ones cannot reach -1",
        "capped_loss unreachable_target",
        model=lambda: nets(nn.Sigmoid(), spectral=True),
    ),
    "class learned with the wrong sign": fault(
        HIDES, "minus the cross-entropy of the class", "wrong_sign", body=hides(sign=-1.0)
    ),
}
