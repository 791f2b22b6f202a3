"""Diffusions whose last time step still shows the data, beside those that end in noise, and others that end elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.last_noise import last_noise
from trainability.doctor.readings import LastNoise, Readings

N, D = 600, 6
ROWS = torch.randn(N, 2, generator=torch.Generator().manual_seed(0)).sign() @ torch.tensor(
    [[1.0, 0.8, 0.5, 0.0, -0.4, -0.8], [0.0, 0.5, 1.0, 1.0, 0.6, 0.0]]
)
ROWS = ROWS + 0.2 * torch.randn(N, D, generator=torch.Generator().manual_seed(1)) + 0.3
CLASSES = torch.arange(N) % 12
KEPT = torch.Generator().manual_seed(5)
Step = Callable[[Any, Any], Tensor]


def linear(steps: int, last: float = 0.02) -> Tensor:
    return torch.cumprod(1 - torch.linspace(1e-4, last, steps), 0)


def cosine(steps: int) -> Tensor:
    return torch.cos(torch.arange(1, steps + 1) / steps * torch.pi / 2) ** 2


def rescaled(left: Tensor) -> Tensor:
    """With no data at the last step (Lin et al., algorithm 1)."""
    roots = left.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


class Net(nn.Module):
    """Of rows and a time for each, rows."""

    def __init__(self, width: int = D, out: int | None = None) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(width + 1, 16), nn.Linear(16, out or width)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        flat = torch.cat([x.flatten(1), t.reshape(-1, 1).float() / 1000], 1) if t is not None else x
        made = self.outside(self.inside(flat).tanh())
        return made.reshape(x.shape) if t is not None and made.shape[1] == flat.shape[1] - 1 else made


class Whole(nn.Module):
    """Draws times and noise in its forward."""

    def __init__(self, left: Tensor) -> None:
        super().__init__()
        self.left, self.net = left, Net()

    def forward(self, x: Tensor) -> Tensor:
        t, noise = torch.randint(len(self.left), (len(x),)), torch.randn_like(x)
        return F.mse_loss(self.net(mixed(x, noise, self.left[t]), t), noise)


class Noised(Dataset):
    """Draws times and noise as it is read."""

    def __init__(self, left: Tensor) -> None:
        self.left = left

    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        t, noise = torch.randint(len(self.left), ()), torch.randn(D)
        x = ROWS[place]
        return x, self.left[t].sqrt() * x + (1 - self.left[t]).sqrt() * noise, t, noise


def mixed(x: Tensor, noise: Tensor, left: Tensor) -> Tensor:
    left = left.reshape(-1, *[1] * (x.dim() - 1))
    return left.sqrt() * x + (1 - left).sqrt() * noise


def diffusion(
    left: Tensor, *, wants: str = "noise", draw: Callable[[Tensor], Tensor] = torch.randn_like, give: str = "t"
) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        x = batch[0]
        t = torch.randint(len(left), (len(x),))
        noise = draw(x)
        given = {"t": t, "column": t[:, None], "share": t / len(left), "back": len(left) - 1 - t}[give]
        found = model(mixed(x, noise, left[t]), given)
        return F.mse_loss(found, {"noise": noise, "data": x, "velocity": noise - mixed(x, noise, left[t])}[wants])

    return step


def asked(step: Step, model: nn.Module | None = None, data: Dataset | None = None, batch_size: int = 100) -> LastNoise | None:
    torch.manual_seed(0)
    loader = DataLoader(data or TensorDataset(ROWS, CLASSES), batch_size=batch_size, shuffle=True)
    batch = next(iter(loader))
    model = model or Net()
    state = torch.get_rng_state()
    found = last_noise(model, batch, step, loader)
    assert torch.equal(state, torch.get_rng_state())
    return found


def codes(found: LastNoise | None) -> list[tuple[str, str]]:
    findings = diagnose(Evidence(facts=fact(readings=Readings(last_noise=found)).facts)).findings
    return [(f.code, f.severity) for f in findings if f.rule == "noise_schedule"]


@pytest.mark.parametrize("give", ["t", "column", "share", "back"])
@pytest.mark.parametrize("wants", ["noise", "data", "velocity"])
def test_last_step_that_shows_the_data(give: str, wants: str) -> None:
    found = asked(diffusion(linear(100), give=give, wants=wants))
    assert found is not None
    assert found.kept == pytest.approx(0.37, abs=0.1)
    assert codes(found) == [("noise_schedule", "warning")]


@pytest.mark.parametrize("steps", [20, 50])
def test_few_steps(steps: int) -> None:
    assert codes(asked(diffusion(linear(steps, 0.05)))) == [("noise_schedule", "warning")]


def test_less_of_the_data_is_a_hint() -> None:
    assert codes(asked(diffusion(linear(170)))) == [("noise_schedule", "hint")]


@pytest.mark.parametrize("give", ["t", "back"])
@pytest.mark.parametrize(("steps", "last"), [(1000, 0.02), (200, 0.05), (50, 0.1)])
def test_noise_of_one_step_in_place_of_all(steps: int, last: float, give: str) -> None:
    """The weight of the data is the root of 1 - beta, and not of the product over the steps so far."""
    found = asked(diffusion(1 - torch.linspace(1e-4, last, steps), give=give))
    assert found is not None
    assert found.kept == pytest.approx(1 - last, abs=0.02)
    assert codes(found) == [("noise_schedule", "warning")]


def faint(weight: Callable[[Tensor], Tensor], size: Callable[[Tensor], Tensor], draw: Any = torch.randn_like) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        t = torch.randint(200, (len(batch[0]),))
        noise = draw(batch[0])
        share = t[:, None] / 200
        return F.mse_loss(model(weight(share) * batch[0] + size(share) * noise, t), noise)

    return step


@pytest.mark.parametrize(
    "step",
    [
        faint(torch.ones_like, lambda t: 0.2 * t),  # added noise, of up to a fifth
        faint(torch.ones_like, lambda t: (0.05 * t).sqrt()),
        faint(lambda t: 1 - 0.2 * t, lambda t: 0.2 * t),  # a flow of which this model goes a part
        faint(lambda t: (0.95 + 0 * t).sqrt(), lambda t: (0.05 + 0 * t).sqrt()),  # the same at all times
        faint(lambda t: (1 - 0.05 * t).sqrt(), lambda t: (0.05 * t).sqrt(), lambda x: (torch.rand_like(x) - 0.5) * 12**0.5),
        faint(lambda t: (1 - 0.05 * t).sqrt(), lambda t: (0.05 * t).sqrt(), lambda x: x.roll(1, 0)),
        diffusion(1 - torch.linspace(1e-4, 0.05, 12)),  # some levels
    ],
)
def test_little_noise_that_is_meant(step: Step) -> None:
    assert asked(step) is None


@pytest.mark.parametrize(("steps", "found"), [(100, True), (1000, False)])
def test_other_places_of_the_noise(steps: int, found: bool) -> None:
    def of_a_generator(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=KEPT)

    def rescaled_data(model: Any, batch: Any) -> Tensor:
        return diffusion(left)(model, (2 * batch[0] - 1,))

    def of_the_data_set(model: Any, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[1], batch[2]), batch[3])

    def of_a_column(model: Any, batch: Any) -> Tensor:
        t, noise = torch.randint(len(left), (N,))[: len(batch[0]), None], torch.randn_like(batch[0])
        return F.mse_loss(model(torch.cat([mixed(batch[0], noise, left[t]), t / len(left)], 1)), noise)

    left, state = linear(steps), KEPT.get_state()
    assert (asked(diffusion(left, draw=of_a_generator)) is not None) == found
    assert torch.equal(state, KEPT.get_state())
    assert (asked(rescaled_data) is not None) == found
    assert (asked(of_a_column) is not None) == found
    assert (asked(of_the_data_set, data=Noised(left)) is not None) == found
    assert (asked(lambda model, batch: model(batch[0]), Whole(left)) is not None) == found


@pytest.mark.parametrize(("steps", "found"), [(100, True), (1000, False)])
def test_images(steps: int, found: bool) -> None:
    y, x = torch.meshgrid(torch.arange(40.0) * 0.4, torch.arange(40.0) * 0.4, indexing="ij")
    places = torch.rand(N, 2, 1, 1, generator=torch.Generator().manual_seed(3)) * 16
    images = torch.exp(-((x - places[:, :1]) ** 2 + (y - places[:, 1:]) ** 2) / 18) * 2 - 1
    data = TensorDataset(images, CLASSES)
    assert (asked(diffusion(linear(steps)), Net(1600), data, 32) is not None) == found


def test_rare_times_are_waited_for() -> None:
    assert asked(diffusion(linear(100)), batch_size=16) is not None
    assert asked(diffusion(linear(100)), data=TensorDataset(ROWS[:6], CLASSES[:6])) is None


@pytest.mark.parametrize("left", [linear(1000), cosine(30), cosine(1000), rescaled(linear(100)), linear(60, 0.12)])
def test_schedules_that_end_in_noise(left: Tensor) -> None:
    assert asked(diffusion(left)) is None


def flow(model: Any, batch: Any) -> Tensor:
    noise, t = torch.randn_like(batch[0]), torch.rand(len(batch[0]), 1)
    return F.mse_loss(model((1 - t) * batch[0] + t * noise, t[:, 0]), noise - batch[0])


def flow_of_levels(model: Any, batch: Any) -> Tensor:
    """To half of the way, where another model goes on."""
    noise, t = torch.randn_like(batch[0]), torch.randint(50, (len(batch[0]), 1))
    return F.mse_loss(model((1 - t / 100) * batch[0] + t / 100 * noise, t), noise - batch[0])


def noise_levels(model: Any, batch: Any) -> Tensor:
    noise, size = torch.randn_like(batch[0]), torch.rand(len(batch[0]))
    return F.mse_loss(model(batch[0] + size[:, None] * noise, size), noise)


def levels_by_number(model: Any, batch: Any) -> Tensor:
    """A denoiser of ten levels, of which each has its number."""
    noise, level = torch.randn_like(batch[0]), torch.randint(10, (len(batch[0]),))
    return F.mse_loss(model(batch[0] + (level[:, None] + 1) / 12 * noise, level), batch[0])


def continuous(model: Any, batch: Any) -> Tensor:
    noise, t = torch.randn_like(batch[0]), torch.rand(len(batch[0]))
    return F.mse_loss(model(mixed(batch[0], noise, torch.exp(-t)), t), noise)


def denoiser(model: Any, batch: Any) -> Tensor:
    """Told of the class, and of no time."""
    return F.mse_loss(model(batch[0] + 0.5 * torch.randn_like(batch[0]), batch[1]), batch[0])


def smoothed(model: Any, batch: Any) -> Tensor:
    """Cold diffusion: the data become their mean."""
    t = torch.randint(20, (len(batch[0]), 1))
    x = (1 - t / 20) * batch[0] + t / 20 * batch[0].mean(1, keepdim=True)
    return F.mse_loss(model(x, t), batch[0])


def turned(model: Any, batch: Any) -> Tensor:
    """Cold diffusion towards another row, with weights that keep the variance."""
    t = torch.randint(20, (len(batch[0]),))
    return F.mse_loss(model(mixed(batch[0], batch[0].roll(1, 0), 1 - t / 40), t), batch[0])


def hidden(model: Any, batch: Any) -> Tensor:
    t = torch.randint(20, (len(batch[0]), 1))
    return F.mse_loss(model(batch[0] * (torch.rand_like(batch[0]) > t / 40), t), batch[0])


def shared_noise(model: Any, batch: Any) -> Tensor:
    """One noise for a whole batch, as where a pattern is laid over pictures."""
    t = torch.randint(100, (len(batch[0]),))
    noise = torch.randn(1, D).expand_as(batch[0])
    return F.mse_loss(model(mixed(batch[0], noise, linear(100)[t]), t), noise)


def uniform(model: Any, batch: Any) -> Tensor:
    return diffusion(linear(100), draw=lambda x: (torch.rand_like(x) - 0.5) * 12**0.5)(model, batch)


SOUND = [
    flow,
    flow_of_levels,
    noise_levels,
    levels_by_number,
    continuous,
    denoiser,
    smoothed,
    turned,
    hidden,
    shared_noise,
    uniform,
]


@pytest.mark.parametrize("step", SOUND)
def test_other_models_with_times(step: Step) -> None:
    assert asked(step) is None


def test_critic_of_noised_data() -> None:
    """The last step of a critic's noise is where its player begins, too."""

    def step(model: Any, batch: Any) -> Tensor:
        t = torch.randint(10, (len(batch[0]),))
        return F.softplus(-model(mixed(batch[0], torch.randn_like(batch[0]), linear(100)[t]), t)).mean()

    assert asked(step, Net(out=1)) is None


def test_tokens() -> None:
    words = torch.randint(30, (N, D), generator=torch.Generator().manual_seed(1))

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.net, self.out = nn.Embedding(31, 8), Net(D * 8), nn.Linear(8, 30)

        def forward(self, words: Tensor, t: Tensor) -> Tensor:
            return self.out(self.net(self.table(words), t))

    def absorbing(model: Any, batch: Any) -> Tensor:
        t = torch.randint(1, 11, (len(batch[0]), 1))
        is_hidden = torch.rand(batch[0].shape) < t / 10
        return F.cross_entropy(model(batch[0].masked_fill(is_hidden, 30), t)[is_hidden], batch[0][is_hidden])

    assert asked(absorbing, Words(), TensorDataset(words)) is None


def test_step_runs_to_its_end_once() -> None:
    """Only what comes before the model runs in each pass; weights, statistics and hooks are left."""
    ends: list[int] = []

    def step(model: Any, batch: Any) -> Tensor:
        loss = diffusion(linear(100))(model, batch)
        ends.append(1)
        return loss

    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert asked(step, model) is not None
    assert len(ends) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
