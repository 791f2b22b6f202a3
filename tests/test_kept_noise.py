"""Denoisers whose noise is the same at every step, beside those that draw it anew, and targets that are meant to stay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.kept_noise import kept_noise

X = torch.randn(128, 6, generator=torch.Generator().manual_seed(0)) + 0.5
KEPT = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
STORED = torch.randn(128, 6, generator=torch.Generator().manual_seed(2))
OWN = torch.Generator().manual_seed(3)
Draw = Callable[[Tensor], Tensor]
Step = Callable[[Any, Any], Tensor]


class Net(nn.Module):
    """Of (n, 6) and a time for each, (n, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(7, 32), nn.Linear(32, 6)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.outside(self.inside(torch.cat([x.flatten(1), t[:, None]], dim=1)).tanh()).reshape(x.shape)


def kept(x: Tensor) -> Tensor:
    return KEPT[: len(x)].reshape(x.shape)


def seeded_anew(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return torch.randn_like(x)


def of_a_generator(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=OWN)


def of_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(np.random.randn(*x.shape)).to(x)


def a_pattern(x: Tensor) -> Tensor:
    return KEPT[:1].expand_as(x)


def diffusion(draw: Draw, error: str = "mse") -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        t = torch.rand(len(batch[0]))
        noise = draw(batch[0])
        sized = t.reshape(-1, *[1] * (noise.dim() - 1))
        found = model((1 - sized).sqrt() * batch[0] + sized.sqrt() * noise, t)
        return F.mse_loss(found, noise) if error == "mse" else (noise - found).abs().mean()

    return step


def of_one_size(model: Any, batch: Any) -> Tensor:
    """Without times: what was added is to be predicted."""
    noise = kept(batch[0])
    return ((model(batch[0] + 0.5 * noise, torch.zeros(len(noise))) - noise) ** 2).mean()


def read_from_data(model: Any, batch: Any) -> Tensor:
    """Noise that the data set holds, one for each example."""
    x, noise = batch
    return F.mse_loss(model(x + noise, torch.zeros(len(x))), noise)


def not_in_the_input(model: Any, batch: Any) -> Tensor:
    """Numbers that places are to be told by; no denoiser."""
    return F.mse_loss(model(batch[0], torch.rand(len(batch[0]))), kept(batch[0]))


def clean(model: Any, batch: Any) -> Tensor:
    """A denoising autoencoder, whose target is the data."""
    return F.mse_loss(model(batch[0] + kept(batch[0]), torch.zeros(len(batch[0]))), batch[0])


def found_in(step: Step, data: tuple[Tensor, ...] = (X,)) -> float | None:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*data), batch_size=32, shuffle=True)
    return kept_noise(Net(), next(iter(loader)), step, loader)


@pytest.mark.parametrize("error", ["mse", "absolute"])
@pytest.mark.parametrize("draw", [kept, seeded_anew])
def test_noise_that_is_the_same_at_every_step(draw: Draw, error: str) -> None:
    assert found_in(diffusion(draw, error)) == pytest.approx(0.5, abs=0.15)
    assert found_in(diffusion(draw, error), (X.reshape(128, 1, 2, 3),)) == pytest.approx(0.5, abs=0.15)


def test_noise_of_one_size() -> None:
    assert found_in(of_one_size) == pytest.approx(0.17, abs=0.08)


@pytest.mark.parametrize("draw", [torch.randn_like, of_a_generator, of_numpy, a_pattern])
def test_noise_that_is_drawn_anew(draw: Draw) -> None:
    assert found_in(diffusion(draw)) is None


@pytest.mark.parametrize("step", [not_in_the_input, clean])
def test_numbers_that_may_stay_the_same(step: Step) -> None:
    assert found_in(step) is None


def test_noise_of_the_data_set() -> None:
    assert found_in(read_from_data, (X, STORED)) is None
    assert found_in(diffusion(kept), (X[:32],)) is None  # one batch alone


@pytest.mark.parametrize(("draw", "codes"), [(kept, ["fixed_noise.target"]), (torch.randn_like, [])])
def test_kept_noise_is_named(draw: Draw, codes: list[str]) -> None:
    batches = [(X[k : k + 32],) for k in range(0, 128, 32)]
    facts = facts_of(Net(), batches[0], training_step=diffusion(draw), batches=batches)
    assert [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "fixed_noise"] == codes
