"""A mean over what a normalisation brought to mean zero: told where the answer goes through it, beside sound neighbours."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Diagnosis, Evidence, Monitor, diagnose
from trainability.doctor.measure.facts import look

DRAWS = torch.Generator().manual_seed(0)
IMAGES = torch.randn(16, 3, 12, 12, generator=DRAWS) + torch.randn(16, 3, 1, 1, generator=DRAWS)
LABELS = torch.arange(16) % 4


def pooled(*between: nn.Module, norm: Callable[[int], nn.Module] = nn.InstanceNorm2d) -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), norm(8), *between)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


class Tokens(nn.Module):
    """A layer norm over what the mean is then taken of, by hand."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm, self.head, self.dim = nn.Linear(36, 8), nn.LayerNorm(8), nn.Linear(12 if dim == 2 else 8, 4), dim

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(x.transpose(1, 2).flatten(2))).mean(self.dim))


class Gate(nn.Module):
    """What is pooled scales channels, and the answer differs without it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.gate = nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.body(x))
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.head(x.relu().mean((2, 3)))


class Beside(nn.Module):
    """The answer has a linear part of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.wide = pooled(), nn.Linear(3 * 12 * 12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x.flatten(1)) + self.deep(x)


class ByHand(nn.Module):
    """A normalisation that is written out, over `dim`, and a mean over places."""

    def __init__(self, dim: int, form: str = "divided") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.dim, self.form = nn.Linear(36, 8), nn.Linear(8, 4), dim, form
        self.gain, self.shift = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.transpose(1, 2).flatten(2))
        middle, spread = x.mean(self.dim, keepdim=True), x.var(self.dim, keepdim=True, unbiased=False) + 1e-5
        if self.form == "divided":
            x = self.gain * (x - middle) / spread.sqrt() + self.shift
        else:
            x = (x - middle) * spread.rsqrt()
        return self.head(x.mean(1))


EMPTY: dict[str, Callable[[], nn.Module]] = {
    "instance norm": pooled,
    "with weights": lambda: pooled(norm=lambda n: nn.InstanceNorm2d(n, affine=True)),
    "a group a channel": lambda: pooled(norm=lambda n: nn.GroupNorm(n, n)),
    "over features": lambda: Tokens(2),
    "by hand": lambda: ByHand(1),
    "by hand, without weights": lambda: ByHand(1, "multiplied"),
}
SOUND: dict[str, Callable[[], nn.Module]] = {
    "by hand over features": lambda: ByHand(2),
    "an activation between": lambda: pooled(nn.ReLU()),
    "a layer between": lambda: pooled(nn.Conv2d(8, 8, 3)),
    "batch norm": lambda: pooled(norm=nn.BatchNorm2d),
    "groups": lambda: pooled(norm=lambda n: nn.GroupNorm(2, n)),
    "over steps": lambda: Tokens(1),
    "gate": Gate,
    "beside": Beside,
}


def ask(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def watched(model: nn.Module) -> Diagnosis:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=10) as monitor:
        for _ in range(25):
            optimizer.zero_grad()
            loss = ask(model, (IMAGES, LABELS))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.diagnose()


@pytest.mark.parametrize("name", list(EMPTY))
def test_a_mean_of_zeros_is_told(name: str) -> None:
    facts = look(EMPTY[name](), (IMAGES, LABELS), ask)
    assert facts.pooled_norm is not None
    assert diagnose(Evidence(facts=facts)).findings[0].code == "constant_output.norm"
    assert "constant_output.norm" in [finding.code for finding in watched(EMPTY[name]()).findings]


@pytest.mark.parametrize("name", list(SOUND))
def test_sound_neighbours_are_left_alone(name: str) -> None:
    assert look(SOUND[name](), (IMAGES, LABELS), ask).pooled_norm is None
    assert "constant_output.norm" not in [finding.code for finding in watched(SOUND[name]()).findings]


def test_a_batch_norm_in_eval_mode_is_said_to_be_so() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(3 if k == 0 else 8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)) for k in range(14)]
    for layer in layers:
        nn.init.normal_(layer[0].weight, std=0.03)  # unnormalised, the signal shrinks
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * IMAGES[0, 0].numel(), 4)).eval()
    assert watched(model).findings[0].code == "wrong_mode.training"


def test_examples_that_are_all_the_same_are_no_matter_of_the_norm() -> None:
    assert look(pooled(), (IMAGES[:1].repeat(16, 1, 1, 1), LABELS), ask).pooled_norm is None


class NormalisedState(nn.Module):
    """A recurrent cell whose state, zero at first, is normalised."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.state = nn.Linear(9, 16), nn.Linear(16, 16, bias=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 16)
        for step in x.flatten(1)[:, :54].unflatten(1, (6, 9)).unbind(1):
            state = torch.tanh(self.inside(step) + self.norm(self.state(state)))
        return self.head(state)


def test_a_normalised_state_that_begins_at_zero_is_no_empty_one() -> None:
    assert "constant_output.norm" not in [finding.code for finding in watched(NormalisedState()).findings]
