"""Models that pool over all places, asked where something is; beside those that see places, or are asked for something else."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

N, SIDE, STEPS = 240, 32, 96


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*, ground: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """One ring in each, its place from -1 to 1, and how bright and wide it is."""
    draws, line = rng(), torch.linspace(-1, 1, SIDE)
    places, amount = torch.rand(N, 2, generator=draws) * 1.6 - 0.8, torch.rand(N, 2, generator=draws) + 0.5
    apart = (line - places[:, :1])[:, None, :].square() + (line - places[:, 1:])[:, :, None].square()
    x = 3 * amount[:, :1, None] * (-apart / (0.02 * amount[:, 1:, None])).exp() + 0.2 * torch.randn(
        N, SIDE, SIDE, generator=draws
    )
    return (x + 2 * torch.randn(SIDE, SIDE, generator=rng(3)) if ground else x)[:, None], places, amount


def small(side: int = 16, *, in_a_row: bool = False, slope: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """A spot in each of some small pictures, its places from -1 to 1, and how bright it is; or a spot in the middle row."""
    draws, line = rng(), torch.arange(side)
    edge = 2 if side > 12 else 0
    at, bright = torch.randint(edge, side - edge, (N, 2), generator=draws), torch.rand(N, 1, generator=draws) + 0.5
    if in_a_row:
        at[:, 0] = side // 2
    apart = (line[None, :, None] - at[:, :1, None]).square() + (line[None, None] - at[:, 1:, None]).square()
    x = 2 * bright[:, :, None] * (-apart / 1.5).exp() + 0.05 * torch.randn(N, side, side, generator=draws)
    return (x + slope * line)[:, None], 2.0 * at / side - 1, bright


def textures() -> tuple[Tensor, Tensor]:
    """Waves of any phase, and the double of their angle."""
    draws, line = rng(), torch.arange(SIDE).float()
    angle, phase = (torch.rand(N, 1, 1, generator=draws) * math.pi for _ in range(2))
    x = (0.8 * (angle.cos() * line[None, None] + angle.sin() * line[None, :, None]) + 2 * phase).sin()
    return (x + 0.2 * torch.randn(N, SIDE, SIDE, generator=draws))[:, None], torch.cat(
        [(2 * angle).cos(), (2 * angle).sin()], 1
    )[..., 0]


def dots() -> tuple[Tensor, Tensor]:
    """Some bright dots, and how many."""
    draws = rng()
    share = torch.rand(N, 1, 1, generator=draws) * 0.03
    marks = (torch.rand(N, SIDE, SIDE, generator=draws) < share).float()
    return (3 * marks + 0.2 * torch.randn(N, SIDE, SIDE, generator=draws))[:, None], marks.sum(dim=(1, 2))[:, None] / 10


def series() -> tuple[Tensor, Tensor, Tensor]:
    """A pulse in each, (examples, 1, steps): when it comes, and how large and how wide it is."""
    draws, line = rng(), torch.linspace(-1, 1, STEPS)
    when, size = torch.rand(N, 1, generator=draws) * 1.6 - 0.8, torch.rand(N, 2, generator=draws) + 0.5
    x = 3 * size[:, :1] * (-(line - when).square() / (0.01 * size[:, 1:])).exp() + 0.2 * torch.randn(N, STEPS, generator=draws)
    return x[:, None], when, size


def waves() -> tuple[Tensor, Tensor]:
    """Sines that begin at zero, and their frequency."""
    draws = rng()
    often = 0.2 + 0.5 * torch.rand(N, 1, generator=draws)
    x = (often * torch.arange(STEPS)).sin() + 0.2 * torch.randn(N, STEPS, generator=draws)
    return x[:, None], often * 4


class Pooled(nn.Module):
    """Convolutions, and a head behind the mean or maximum over all places, or behind something else."""

    def __init__(self, how: str = "mean", *, outputs: int = 2, layers: int = 2, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.scale = how, 255.0 if how == "coordinates of bytes" else 1.0
        width = channels + (2 if "coordinates" in how else 0)
        parts: list[nn.Module] = []
        for k in range(layers):
            parts += [nn.Conv2d(width if k == 0 else 12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*parts[:-1])
        self.grid = {"flat": 8, "grid of three": 3, "grid of two": 2}.get(how, 1)
        self.head = nn.Linear({"argmax": 24}.get(how, 12 * self.grid**2), outputs)

    def forward(self, x: Tensor) -> Tensor:
        lines = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype), torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)
        if "coordinates" in self.how:
            down, right = torch.meshgrid(lines[1], lines[0], indexing="ij")
            x = torch.cat([x, torch.stack([down, right]).expand(len(x), -1, -1, -1)], dim=1)
        made = self.body(x)
        if self.how == "argmax":
            share = made.flatten(2).softmax(dim=2).reshape(made.shape)
            line = torch.linspace(-1, 1, made.shape[3], dtype=x.dtype)
            return self.head(torch.cat([(share.sum(dim=2) * line).sum(2), (share.sum(dim=3) * line).sum(2)], dim=1))
        if self.how == "maximum":
            return self.head(made.amax(dim=(2, 3)))
        return self.head(nn.functional.adaptive_avg_pool2d(made, self.grid).flatten(1))


class Small(nn.Module):
    """Two convolutions without padding, or that go round the edge, and the mean over all places or all of them."""

    def __init__(self, how: str = "mean", *, outputs: int = 2, stride: int = 2, side: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        around = {"padding": 1, "padding_mode": "circular"} if how == "circular" else {}
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, **around), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=stride, **around), nn.ReLU()
        )
        self.how = how
        shape = self.body(torch.zeros(1, 1, side, side)).shape
        self.head = nn.Linear(shape[1:].numel() if how == "flat" else shape[1] * shape[3] if how == "columns" else 12, outputs)

    def forward(self, x: Tensor) -> Tensor:
        made = self.body(x)
        if self.how in ("flat", "columns"):
            return self.head((made.mean(dim=2) if self.how == "columns" else made).flatten(1))
        return self.head(made.mean(dim=(2, 3)))


class Tokens(nn.Module):
    """Attention over steps, or patches of a picture, and the mean of all tokens."""

    def __init__(self, positions: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(1, 16, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 2)
        if positions:
            self.places = nn.Parameter(torch.zeros(1, 64, 16) if positions == "zero" else 0.02 * torch.randn(1, 64, 16))

    def forward(self, x: Tensor) -> Tensor:
        made = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.layer(made + self.places if hasattr(self, "places") else made).mean(dim=1))


class Steps(nn.Module):
    """A convolution over steps, or a recurrent layer, and the mean or all of them."""

    def __init__(self, how: str = "mean") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.body = nn.Sequential(nn.Conv1d(1, 12, 5, padding=2), nn.ReLU(), nn.Conv1d(12, 12, 5, padding=2), nn.ReLU())
        self.state = nn.GRU(1, 12, batch_first=True) if how == "recurrent" else None
        self.head = nn.Linear(12 * STEPS if how == "flat" else 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.body(x) if self.state is None else self.state(x.transpose(1, 2))[0].transpose(1, 2)
        return self.head(made.flatten(1) if self.how == "flat" else made.mean(dim=2))


def facts(model: nn.Module, x: Tensor, y: Tensor, loss: nn.Module | None = None) -> Facts:
    loader = DataLoader(TensorDataset(x, y), batch_size=24, shuffle=True, generator=rng(1))
    compare = loss or nn.MSELoss()
    return look(model, next(iter(loader)), lambda model, batch: compare(model(batch[0]), batch[1]), batches=loader)


def codes(found: Facts) -> list[str]:
    return [f.code for f in diagnose(Evidence(facts=found)).findings if f.code.startswith("pooled_places")]


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.SmoothL1Loss(), lambda a, b: (a - b).square().mean()])
@pytest.mark.parametrize("how", ["mean", "maximum"])
def test_pooled_pictures(how: str, loss: nn.Module) -> None:
    x, places, _ = pictures()
    model = Pooled(how)
    before = {name: value.clone() for name, value in model.state_dict().items() if "num_batches" not in name}
    found = facts(model, x, places, loss)
    assert codes(found) == ["pooled_places"]
    assert found.readings.place_blind is not None
    assert found.readings.place_blind.dims == (2, 3)
    assert found.readings.place_blind.target == "[1]"
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize(("side", "how", "stride"), [(16, "mean", 2), (16, "mean", 1), (12, "circular", 1), (20, "mean", 2)])
def test_small_pictures(side: int, how: str, stride: int) -> None:
    x, places, _ = small(side)
    assert codes(facts(Small(how, stride=stride, side=side), x, places)) == ["pooled_places"]


def test_small_pictures_that_are_read_in_another_way() -> None:
    x, places, bright = small()
    assert not codes(facts(Small("flat"), x, places))
    assert not codes(facts(Small("columns"), x, places))  # it sees one of both, and rows are what the other would tell
    assert not codes(facts(Small(outputs=1), x, bright))
    assert not codes(facts(Small(), x, torch.randn(N, 2, generator=rng(5))))
    assert not codes(facts(Small(outputs=1), x, x.flatten(1).std(dim=1, keepdim=True)))


def test_what_examples_share_along_one_dimension() -> None:
    x, places, _ = small(12, in_a_row=True)
    found = facts(Small("circular", outputs=1, stride=1, side=12), x, places[:, 1:])
    assert codes(found) == ["pooled_places"]
    assert found.readings.place_blind is not None
    assert found.readings.place_blind.dims == (3,)
    assert not codes(facts(Small("flat", outputs=1, stride=1, side=12), x, places[:, 1:]))
    trend, places, _ = small(12, in_a_row=True, slope=0.1)  # it tells columns apart
    assert not codes(facts(Small("circular", outputs=1, stride=1, side=12), trend, places[:, 1:]))


def test_pooled_tokens_steps_and_boxes() -> None:
    x, places, amount = pictures()
    assert codes(facts(Tokens(""), x, places)) == ["pooled_places"]
    assert codes(facts(Pooled(outputs=4), x, torch.cat([amount, places], dim=1))) == ["pooled_places"]
    pulses, when, _ = series()
    assert codes(facts(Steps(), pulses, when)) == ["pooled_places"]


@pytest.mark.parametrize("how", ["flat", "grid of two", "grid of three", "argmax", "coordinates", "coordinates of bytes"])
def test_models_that_see_places(how: str) -> None:
    x, places, _ = pictures()
    model = Pooled(how)
    assert not codes(facts(model, x * model.scale, places))


@pytest.mark.parametrize("positions", ["zero", "small"])
def test_tables_of_positions_that_begin_small(positions: str) -> None:
    x, places, _ = pictures()
    assert not codes(facts(Tokens(positions), x, places))


def test_layers_that_reach_the_border_or_count_steps() -> None:
    x, places, _ = pictures()
    assert not codes(facts(Pooled(layers=4), x, places))  # padding tells places
    pulses, when, _ = series()
    assert not codes(facts(Steps("recurrent"), pulses, when))
    assert not codes(facts(Steps("flat"), pulses, when))


def test_inputs_that_hold_their_places() -> None:
    x, places, _ = pictures()
    down, right = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    given = torch.cat([x, torch.stack([down, right]).expand(N, -1, -1, -1)], dim=1)
    assert not codes(facts(Pooled(channels=3), given, places))
    with_ground, places, _ = pictures(ground=True)
    assert not codes(facts(Pooled(), with_ground, places))


def test_targets_that_are_no_places() -> None:
    x, places, amount = pictures()
    for given, wanted in (
        (x, amount),
        (x, torch.randn(N, 2, generator=rng(5))),
        textures(),
        (x, x.flatten(1).std(dim=1, keepdim=True)),
    ):
        assert not codes(facts(Pooled(outputs=wanted.shape[1]), given, wanted))
    assert not codes(facts(Pooled(outputs=1), *dots()))
    pulses, _, size = series()
    for k in range(2):
        assert not codes(facts(Steps(), pulses, size[:, k : k + 1]))
    assert not codes(facts(Steps(), *waves()))
    assert not codes(facts(Pooled(outputs=3), x, (places[:, 0] > 0).long(), nn.CrossEntropyLoss()))


def test_few_examples() -> None:
    x, places, _ = pictures()
    assert not codes(facts(Pooled(), x[:150], places[:150]))
