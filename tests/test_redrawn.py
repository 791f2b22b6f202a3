"""Noise, or a class, that a step draws twice, beside steps that draw it once, and others whose random targets are meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)) + 0.5
IMAGES = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
KEPT = torch.Generator().manual_seed(2)
Step = Callable[[Any, Any], Tensor]


class Net(nn.Module):
    """Of (n, 6) and a time for each, (n, 6)."""

    def __init__(self, *, zeros: bool = False, out: int = 6) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(7, 32), nn.Linear(32, out)
        if zeros:
            nn.init.zeros_(self.outside.weight)
            nn.init.zeros_(self.outside.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.outside(self.inside(torch.cat([x, t[:, None]], dim=1)).tanh())


def plain(x: Tensor) -> Tensor:
    return torch.randn_like(x)


def in_place(x: Tensor) -> Tensor:
    return torch.empty_like(x).normal_()


def of_a_generator(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=KEPT)


def diffusion(twice: bool, draw: Callable[[Tensor], Tensor] = plain, error: str = "mse", wants: str = "noise") -> Step:
    """A denoiser at all levels of noise."""

    def step(model: Any, batch: Any) -> Tensor:
        (x,) = batch
        t = torch.rand(len(x))
        keep, add = (1 - t).sqrt()[:, None], t.sqrt()[:, None]
        noise = draw(x)
        given = keep * x + add * (draw(x) if twice else noise)
        targets = {"noise": noise, "velocity": keep * noise - add * x, "flow": x - noise, "score": -noise / (add + 0.1)}
        target = given if wants == "given" else targets[wants]
        found = model(given, t)
        errors = {
            "mse": lambda: F.mse_loss(found, target),
            "squares": lambda: ((found - target) ** 2).mean(),
            "weighted": lambda: ((target - found).square().sum(dim=1) * (1 + t)).mean(),
            "absolute": lambda: (found - target).abs().mean(),
        }
        return errors[error]()

    return step


def asked(step: Step, model: nn.Module | None = None, batch: Any = (X,)) -> Facts:
    torch.manual_seed(0)
    return facts_of(Net() if model is None else model, batch, training_step=step, batches=[batch])


@pytest.mark.parametrize("draw", [plain, in_place, of_a_generator])
@pytest.mark.parametrize("error", ["mse", "squares", "weighted", "absolute"])
def test_noise_that_is_drawn_twice(error: str, draw: Callable[[Tensor], Tensor]) -> None:
    for zeros in (False, True):  # a denoiser often begins at zero
        assert asked(diffusion(True, draw, error), Net(zeros=zeros)).redrawn == ("noise", pytest.approx(1.0))
        assert asked(diffusion(False, draw, error), Net(zeros=zeros)).redrawn is None


@pytest.mark.parametrize(("wants", "kind"), [("velocity", "mixed"), ("flow", "mixed"), ("score", "noise")])
def test_mixtures_of_data_and_noise(wants: str, kind: str) -> None:
    found = asked(diffusion(True, wants=wants)).redrawn
    assert found is not None
    assert found[0] == kind
    assert asked(diffusion(False, wants=wants)).redrawn is None


class Whole(nn.Module):
    """A model that computes its loss, and draws, by itself."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.net, self.step = Net(), diffusion(twice)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.net, (x,))


@pytest.mark.parametrize("twice", [True, False])
def test_a_model_that_draws_by_itself(twice: bool) -> None:
    found = asked(lambda model, batch: model(batch[0]), Whole(twice=twice)).redrawn
    assert (found is not None) is twice


def turns(twice: bool) -> Step:
    """Images turned by as many right angles as the net is to tell."""

    def step(model: Any, batch: Any) -> Tensor:
        kinds = torch.randint(4, (len(batch[0]),))
        by = torch.randint(4, (len(batch[0]),)) if twice else kinds
        turned = torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(batch[0], by, strict=True)])
        return F.cross_entropy(model(turned), kinds)

    return step


@pytest.mark.parametrize("twice", [True, False])
def test_a_class_that_is_drawn_twice(twice: bool) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    assert asked(turns(twice), model, (IMAGES,)).redrawn == (("class", 1.0) if twice else None)


def of_the_time(x: Tensor) -> Tensor:
    return torch.zeros(len(x))


def noise_to_noise(model: Any, batch: Any) -> Tensor:
    """Lehtinen et al., 2018: the mean over noisy targets is the clean one."""
    x = batch[0]
    return F.mse_loss(model(x + torch.randn_like(x), of_the_time(x)), x + torch.randn_like(x))


def residual_noise_to_noise(model: Any, batch: Any) -> Tensor:
    x, one, other = batch[0], torch.randn_like(batch[0]), torch.randn_like(batch[0])
    return F.mse_loss(model(x + one, of_the_time(x)), other - one)


def noisy_labels(model: Any, batch: Any) -> Tensor:
    """Labels of a judge that trains by least squares, blurred."""
    judged = model(batch[0], of_the_time(batch[0]))[:, :1]
    return F.mse_loss(judged, 0.7 + 0.3 * torch.rand_like(judged)) + F.mse_loss(judged, 0.3 * torch.rand_like(judged))


def denoising(model: Any, batch: Any) -> Tensor:
    x = batch[0]
    return F.mse_loss(model(x + torch.randn_like(x), of_the_time(x)), x)


def noisy_targets(model: Any, batch: Any) -> Tensor:
    x = batch[0]
    return F.mse_loss(model(x, of_the_time(x)), x + 0.7 * torch.randn_like(x))


def sliced_prior(model: Any, batch: Any) -> Tensor:
    """Codes whose projections are to be distributed as those of normal draws."""
    code = model(batch[0], of_the_time(batch[0]))
    along = F.normalize(torch.randn(6, 6), dim=0)
    return F.mse_loss((code @ along).sort(dim=0).values, (torch.randn_like(code) @ along).sort(dim=0).values)


def kernels(model: Any, batch: Any) -> Tensor:
    """Maximum mean discrepancy between codes and normal draws, in pairs."""
    code = model(batch[0], of_the_time(batch[0]))
    drawn = torch.randn_like(code)

    def near(a: Tensor, b: Tensor) -> Tensor:
        return (-(a - b).square().sum(dim=1) / 12).exp()

    return (near(code, code.roll(1, dims=0)) - 2 * near(code, drawn)).mean()


def sampled_code(model: Any, batch: Any) -> Tensor:
    mean = model(batch[0], of_the_time(batch[0]))
    code = mean + 0.5 * torch.randn_like(mean)
    return F.mse_loss(model(code, of_the_time(code)), batch[0]) + 0.1 * mean.square().mean()


def later_value(model: Any, batch: Any) -> Tensor:
    """A value whose goal is that of a noisy action."""
    x = batch[0]
    with torch.no_grad():
        goal = model(x + torch.randn_like(x), of_the_time(x))
    return F.mse_loss(model(x, of_the_time(x)), goal)


SOUND = [noise_to_noise, residual_noise_to_noise, noisy_labels, denoising, noisy_targets, sliced_prior, kernels, sampled_code]


@pytest.mark.parametrize("step", [*SOUND, later_value])
def test_random_targets_that_are_meant(step: Step) -> None:
    assert asked(step).redrawn is None


def uniform(x: Tensor) -> Tensor:
    return torch.rand_like(x)


def uniform_in_place(x: Tensor) -> Tensor:
    return torch.empty_like(x).uniform_()


def uniform_of_a_generator(x: Tensor) -> Tensor:
    return torch.rand(x.shape, generator=KEPT)


def centred(x: Tensor) -> Tensor:
    return (torch.rand_like(x) - 0.5) * 12**0.5


def by_level(draw: Callable[[Tensor], Tensor], *, scale: float = 1.0) -> Step:
    """A denoiser of few levels, of which each example has one, and of data that is scaled."""

    def step(model: Any, batch: Any) -> Tensor:
        left = torch.cumprod(1 - torch.linspace(1e-3, 0.15, 60), 0)
        t = torch.randint(60, (len(batch[0]),))
        noise = draw(batch[0])
        found = model(left[t].sqrt()[:, None] * batch[0] * scale + (1 - left[t]).sqrt()[:, None] * noise, t / 60)
        return ((found - noise) ** 2).mean()

    return step


@pytest.mark.parametrize("draw", [uniform, uniform_in_place, uniform_of_a_generator])
@pytest.mark.parametrize("error", ["mse", "squares", "weighted", "absolute"])
def test_noise_of_a_diffusion_that_is_uniform(error: str, draw: Callable[[Tensor], Tensor]) -> None:
    for step in (diffusion(False, draw, error), by_level(draw), by_level(draw, scale=2.0)):
        for zeros in (False, True):
            assert asked(step, Net(zeros=zeros)).redrawn == ("uniform", pytest.approx(0.5, abs=0.1))


def flow_of_noise(model: Any, batch: Any) -> Tensor:
    """The noise of a straight path, which may have any distribution."""
    noise, t = torch.rand_like(batch[0]), torch.rand(len(batch[0]))
    return F.mse_loss(model((1 - t)[:, None] * batch[0] + t[:, None] * noise, t), noise)


def noise_to_take_away(model: Any, batch: Any) -> Tensor:
    noise = torch.rand_like(batch[0])
    return F.mse_loss(model(batch[0] + 0.3 * noise, of_the_time(noise)), noise)


def noise_of_levels(model: Any, batch: Any) -> Tensor:
    noise, t = torch.rand_like(batch[0]), torch.rand(len(batch[0]))
    return F.mse_loss(model(batch[0] + t[:, None] * noise, t), noise)


def dequantised(model: Any, batch: Any) -> Tensor:
    x = batch[0] + torch.rand_like(batch[0])
    return F.mse_loss(model(x, of_the_time(x)), x)


def code_of_what_is_made(model: Any, batch: Any) -> Tensor:
    code = torch.rand_like(batch[0])
    return F.mse_loss(model(code, of_the_time(code)), code)


def dropped(model: Any, batch: Any) -> Tensor:
    kept = torch.rand_like(batch[0])
    return F.mse_loss(model(batch[0] * (kept > 0.3), of_the_time(kept)), batch[0])


def level(model: Any, batch: Any) -> Tensor:
    t = torch.rand(len(batch[0]), 1)
    found = model(t.sqrt() * batch[0] + (1 - t).sqrt() * torch.randn_like(batch[0]), of_the_time(t))
    return F.mse_loss(found[:, :1], t)


def value_of_data(model: Any, batch: Any) -> Tensor:
    """A diffusion that is asked for the data; its noise is uniform, and no target."""
    t = torch.rand(len(batch[0]))
    return F.mse_loss(model((1 - t).sqrt()[:, None] * batch[0] + t.sqrt()[:, None] * torch.rand_like(batch[0]), t), batch[0])


UNIFORM = [flow_of_noise, noise_to_take_away, noise_of_levels, dequantised, code_of_what_is_made, dropped, level, value_of_data]


@pytest.mark.parametrize("step", [*UNIFORM, by_level(plain), by_level(centred), diffusion(False, uniform, wants="flow")])
def test_uniform_numbers_that_are_meant(step: Step) -> None:
    assert asked(step).redrawn is None


def by_schedule(num_times: int, *, of_betas: bool = False, exchanged: bool = False) -> Step:
    """A diffusion of linear betas; the running product is of the betas, or the weights are exchanged at its last times."""

    def step(model: Any, batch: Any) -> Tensor:
        (x,) = batch
        betas = torch.linspace(1e-4, 0.02, num_times) * 1000 / num_times
        left = torch.cumprod(betas if of_betas else 1 - betas, 0)
        t = torch.randint(num_times // 2 if exchanged else 0, num_times, (len(x),))
        noise = torch.randn_like(x)
        if exchanged:
            return F.mse_loss(model(1e-3 * left[t][:, None] * x + noise, t / num_times), noise)
        return F.mse_loss(model(left[t].sqrt()[:, None] * x + (1 - left[t]).sqrt()[:, None] * noise, t / num_times), noise)

    return step


@pytest.mark.parametrize("num_times", [60, 1000])
def test_a_diffusion_that_shows_its_noise_alone(num_times: int) -> None:
    for broken in (by_schedule(num_times, of_betas=True), by_schedule(num_times, exchanged=True)):
        kind, share = asked(broken).redrawn or ("", 1.0)
        assert kind == "alone"
        assert share < 1e-3
    assert asked(by_schedule(num_times)).redrawn is None


def weighted(model: Any, batch: Any) -> Tensor:
    """A diffusion of what is kept as bytes, with a weight for each number."""
    images, weights = batch
    x, noise, t = images.float() / 127.5 - 1, torch.randn(images.shape), torch.rand(len(images))
    found = model((1 - t).sqrt()[:, None] * x + t.sqrt()[:, None] * noise, t)
    return (F.mse_loss(found, noise, reduction="none") * weights).mean()


def latent_regression(model: Any, batch: Any) -> Tensor:
    """Noise that takes its type from the data, and none of its numbers."""
    noise = torch.randn(batch[0].shape).type_as(batch[0])
    return F.mse_loss(model(noise, torch.zeros(len(noise))), noise)


def test_numbers_that_are_not_the_data() -> None:
    images = torch.randint(0, 256, (64, 6), generator=torch.Generator().manual_seed(3)).byte()
    assert asked(weighted, batch=(images, torch.rand(64, 6))).redrawn is None
    assert asked(latent_regression).redrawn is None


def test_noise_alone_is_named() -> None:
    (finding,) = diagnose(Evidence(facts=asked(by_schedule(200, of_betas=True)))).findings
    assert finding.code == "shuffled_labels.noise_alone"
    assert finding.severity == "warning"


class TwoWays(nn.Module):
    """A map of (n, 6) onto (n, 6), and one back."""

    def __init__(self) -> None:
        super().__init__()
        self.maker, self.reader = nn.Linear(6, 6), nn.Linear(6, 6)


def read_back(model: Any, batch: Any) -> Tensor:
    """An encoder that is to give back what was made of noise, and what is made of an example's code the example."""
    (x,) = batch
    noise = torch.randn_like(x)
    return F.mse_loss(model.reader(model.maker(noise)), noise) + F.mse_loss(model.maker(model.reader(x)), x)


def test_noise_that_is_given_beside_data() -> None:
    assert asked(read_back, TwoWays()).redrawn is None


def test_uniform_noise_is_named() -> None:
    found = diagnose(Evidence(facts=asked(diffusion(False, uniform)))).findings
    told = next(f for f in found if f.code == "shuffled_labels.uniform")
    assert told.severity == "warning"
    assert "torch.randn_like(x)" in (told.remedy or "")


def test_what_is_drawn_twice_is_named() -> None:
    (finding,) = diagnose(Evidence(facts=asked(diffusion(True)))).findings
    assert finding.code == "shuffled_labels.drawn"
    assert finding.severity == "warning"


def given_back(model: Any, batch: Any) -> Tensor:
    """An autoencoder of rows with noise of one size."""
    noisy = batch[0] + 0.5 * torch.randn_like(batch[0])
    return F.mse_loss(model(noisy, torch.zeros(len(noisy))), noisy)


def by_sigma(target: str) -> Step:
    """Images with noise of a size of their own for each, drawn as `torch.normal` does."""

    def step(model: Any, batch: Any) -> Tensor:
        (x,) = batch
        sigma = torch.rand(len(x), 1, 1, 1) + 0.1
        noise = torch.normal(0.0, 1.0, x.shape)
        noisy = x + sigma * noise
        found = model(noisy)
        return ((found - {"input": noisy, "data": x, "noise": noise}[target]) ** 2).mean()

    return step


def shown_again(model: Any, batch: Any) -> Tensor:
    """Noise is predicted, and what was given is made of it again, with weights that the model does not know."""
    (x,) = batch
    t, noise = torch.rand(len(x)), torch.randn_like(x)
    keep, add = (1 - t).sqrt()[:, None], t.sqrt()[:, None]
    given = keep * x + add * noise
    return F.mse_loss(keep * model(given, t) + add * noise, given)


def scaled(model: Any, batch: Any) -> Tensor:
    """An autoencoder of rows that are scaled at random, and are seen a little apart from where they lie."""
    rows = batch[0] * (0.5 + torch.rand(len(batch[0]), 1)) + 0.02 * torch.randn_like(batch[0])
    return F.mse_loss(model(rows, torch.zeros(len(rows))), rows)


def itself(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0], torch.randn_like(batch[0])[:, 0]), batch[0])


@pytest.mark.parametrize("draw", [plain, in_place, of_a_generator])
@pytest.mark.parametrize("error", ["mse", "squares", "weighted", "absolute"])
def test_a_denoiser_that_is_asked_for_its_input(error: str, draw: Callable[[Tensor], Tensor]) -> None:
    found = asked(diffusion(False, draw, error, wants="given")).redrawn
    assert found is not None
    assert found[0] == "noised"
    assert found[1] == pytest.approx(0.5, abs=0.15)


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def test_a_denoiser_of_images_that_is_asked_for_its_input() -> None:
    found = asked(by_sigma("input"), convolutions(), (IMAGES,)).redrawn
    assert found is not None
    assert found[0] == "noised"
    assert [asked(by_sigma(target), convolutions(), (IMAGES,)).redrawn for target in ("data", "noise")] == [None, None]


@pytest.mark.parametrize("step", [diffusion(False), shown_again, scaled, itself, denoising, dequantised])
def test_inputs_that_are_targets_and_no_noise(step: Step) -> None:
    assert asked(step).redrawn is None


@pytest.mark.parametrize(
    ("step", "severity"), [(diffusion(False, wants="given"), "warning"), (given_back, "hint"), (diffusion(False), None)]
)
def test_an_input_that_is_the_target_is_named(step: Step, severity: str | None) -> None:
    findings = diagnose(Evidence(facts=asked(step))).findings
    told = [f.severity for f in findings if f.code == "shuffled_labels.noised_input"]
    assert told == ([severity] if severity else [])
