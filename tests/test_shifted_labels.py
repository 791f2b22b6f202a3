"""Labels of a neighbouring step, each program beside sound ones that look like it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import rehearsed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.shifted_labels import shifted_labels
from trainability.doctor.readings import Readings, ShiftedLabels
from trainability.doctor.rehearsed import Observation

RNG = torch.Generator().manual_seed(0)
ROWS, STEPS, WORDS, TAGS = 96, 16, 24, 4
TOKENS = torch.randint(1, WORDS, (ROWS, STEPS), generator=RNG)
NUMBERS = torch.randn(ROWS, STEPS, 3, generator=RNG)
QUADRANTS = (NUMBERS[..., 0] > 0) + 2 * (NUMBERS[..., 1] > 0).long()
LENGTHS = torch.randint(9, STEPS + 1, (ROWS, 1), generator=RNG)
PADDED = TOKENS.masked_fill(torch.arange(STEPS) >= LENGTHS, 0)


def moved(labels: Tensor, by: int) -> Tensor:
    """Labels of the steps that come so much later."""
    return labels.roll(-by, dims=1)


def chain() -> Tensor:
    """Tokens each of which follows from the two before, but for a tenth."""
    rows = [torch.randint(0, 8, (ROWS,), generator=RNG) for _ in range(2)]
    while len(rows) < STEPS:
        drawn = torch.randint(0, 8, (ROWS,), generator=RNG)
        rows.append(torch.where(torch.rand(ROWS, generator=RNG) < 0.1, drawn, (rows[-1] + 3 * rows[-2] + 1) % 8))
    return torch.stack(rows, dim=1)


def repeated(lag: int) -> tuple[Tensor, Tensor]:
    """Tokens of kinds that repeat themselves, but for a tenth, and the kinds."""
    kinds = torch.randint(0, TAGS, (2 * ROWS, lag), generator=RNG).repeat(1, 24 // lag + 1)[:, :24]
    drawn = torch.randint(0, TAGS, kinds.shape, generator=RNG)
    kinds = torch.where(torch.rand(kinds.shape, generator=RNG) < 0.1, drawn, kinds)
    return kinds + TAGS * torch.randint(0, WORDS // TAGS, kinds.shape, generator=RNG), kinds


class Net(nn.Module):
    def __init__(self, classes: int = TAGS, *, kind: str = "forward", channels_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look_up, self.lift = nn.Embedding(WORDS, 8), nn.Linear(3, 8)
        both = kind == "both ways"
        self.rnn = nn.GRU(8, 16, batch_first=True, bidirectional=both) if kind != "alone" else None
        self.head = nn.Linear(8 if self.rnn is None else 32 if both else 16, classes)
        self.channels_first = channels_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x) if x.is_floating_point() else self.look_up(x)
        out = self.head(x if self.rnn is None else self.rnn(x)[0])
        return out.transpose(1, 2) if self.channels_first else out


def cost(model: nn.Module, batch: Any) -> Tensor:
    out = model(batch[0])
    return F.cross_entropy(out if getattr(model, "channels_first", False) else out.flatten(0, 1), _flat(model, batch[1]))


def _flat(model: nn.Module, labels: Tensor) -> Tensor:
    return labels if getattr(model, "channels_first", False) else labels.flatten()


def found(model: nn.Module, x: Tensor, y: Tensor) -> ShiftedLabels | None:
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    batch = next(iter(loader))
    with ForwardPass(model, batch) as seen:
        loss = cost(model, batch)
    return shifted_labels(seen, loss, loader)


PAD = (PADDED == 0).roll(-1, dims=1)


@pytest.mark.parametrize(
    ("model", "x", "y", "by"),
    [
        (lambda: Net(), TOKENS, moved(TOKENS % TAGS, 1), 1),
        (lambda: Net(channels_first=True), TOKENS, moved(TOKENS % TAGS, 1), 1),
        (lambda: Net(), TOKENS, moved(TOKENS % TAGS, 2), 2),
        (lambda: Net(), NUMBERS, moved(QUADRANTS, 1), 1),
        (lambda: Net(), PADDED, moved(PADDED % TAGS, 1).masked_fill(PAD, -100), 1),
        (lambda: Net(kind="alone"), TOKENS, moved(TOKENS % TAGS, 1), 1),
        (lambda: Net(kind="alone"), TOKENS, moved(TOKENS % TAGS, -1), -1),
        (lambda: Net(kind="alone"), NUMBERS, moved(QUADRANTS, -1), -1),
    ],
)
def test_labels_of_a_step_that_is_not_seen(model: Callable[[], Net], x: Tensor, y: Tensor, by: int) -> None:
    told = found(model(), x, y)
    assert told is not None
    assert (told.given, told.target, told.by) == ("[0]", "[1]", by)
    assert told.sees_earlier is (model().rnn is not None)
    assert told.told > 0.6
    assert told.own < 0.1


CHAIN = chain()
WEEKS, NINES = repeated(7), repeated(9)
SERIES = (1.5 * torch.randn(2 * ROWS, 7, 4, generator=RNG)).repeat(1, 4, 1) + 0.5 * torch.randn(2 * ROWS, 28, 4, generator=RNG)
COUNTED = (NUMBERS[..., 0] > 0.7).cumsum(dim=1) % 2


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (lambda: Net(), TOKENS, TOKENS % TAGS),
        (lambda: Net(), NUMBERS, QUADRANTS),
        (lambda: Net(), PADDED, (PADDED % TAGS).masked_fill(PADDED == 0, -100)),
        (lambda: Net(WORDS), TOKENS, moved(TOKENS, 1)),  # a language model, and one with numbers of its own
        (lambda: Net(WORDS), TOKENS, moved(torch.randperm(WORDS, generator=RNG)[TOKENS], 1)),
        (lambda: Net(), TOKENS, moved(TOKENS % TAGS, -1)),  # an echo, which a recurrent net learns
        (lambda: Net(), NUMBERS, moved(QUADRANTS, -2)),
        (lambda: Net(kind="both ways"), TOKENS, moved(TOKENS % TAGS, 1)),
        (lambda: Net(), CHAIN, moved(CHAIN % TAGS, 1)),  # the next event's kind, which the last two tell
        (lambda: Net(), WEEKS[0], moved(WEEKS[1], 1)),  # the next day's kind, which that of a week ago tells
        (lambda: Net(), NINES[0], moved(NINES[1], 2)),
        (lambda: Net(), SERIES[..., :3], moved(SERIES[..., :3].argmax(2), 1)),  # which of three series will be largest
        (lambda: Net(), NUMBERS, moved((NUMBERS[..., 0] > 0).long(), 1)),  # whether a number will be large
        (lambda: Net(), NUMBERS[..., :3].cumsum(1), moved((NUMBERS[..., 0] > 0).long(), 1)),
        (lambda: Net(), NUMBERS, COUNTED),
        (lambda: Net(), TOKENS, torch.randint(0, TAGS, (ROWS, STEPS), generator=RNG)),
        (lambda: Net(), TOKENS[:32], moved(TOKENS[:32] % TAGS, 1)),  # too few
    ],
)
def test_labels_that_are_left_alone(model: Callable[[], nn.Module], x: Tensor, y: Tensor) -> None:
    assert found(model(), x, y) is None


def test_weights_and_random_numbers_are_left_as_they_were() -> None:
    model = Net()
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    loader = DataLoader(TensorDataset(TOKENS, moved(TOKENS % TAGS, 1)), 32)
    batch = next(iter(loader))
    torch.set_rng_state(state)
    with ForwardPass(model, batch) as seen:
        loss = cost(model, batch)
    assert shifted_labels(seen, loss, loader) is not None
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    loss.backward()


FOUND = ShiftedLabels(given="[0]", target="[1]", by=-1, sees_earlier=False, told=0.9, own=0.0, places=4000, cost=2.0)


@pytest.mark.parametrize(
    ("losses", "last", "severity"),
    [
        ((2.1, 2.0), 60, "warning"),
        ((2.1, 2.0), 40, "hint"),
        ((5.0, 2.0), 60, "warning"),  # from far off to what frequencies cost
        ((200.0, 190.0), 60, "warning"),  # a sum
        ((2.1, 1.5), 60, None),
        ((200.0, 150.0), 60, None),
        ((), 0, "hint"),
    ],
)
def test_what_rehearsed_steps_learn_decides(losses: tuple[float, ...], last: int, severity: str | None) -> None:
    looks = tuple(Observation(step=s, loss=x) for s, x in zip((0, last), losses, strict=False))
    evidence = dataclasses.replace(rehearsed(reference=looks), facts=Facts(readings=Readings(shifted=FOUND)))
    told = {f.code: f.severity for f in diagnose(evidence).findings}
    assert told.get("shuffled_labels.shifted") == severity


@pytest.mark.parametrize(
    ("by", "sees_earlier", "severity"),
    [(1, True, "hint"), (1, False, "warning"), (-1, True, "warning"), (-1, False, "warning")],
)
def test_what_may_be_a_forecast_is_a_hint(by: int, sees_earlier: bool, severity: str) -> None:
    looks = tuple(Observation(step=s, loss=x) for s, x in ((0, 2.1), (60, 2.0)))
    reading = dataclasses.replace(FOUND, by=by, sees_earlier=sees_earlier)
    evidence = dataclasses.replace(rehearsed(reference=looks), facts=Facts(readings=Readings(shifted=reading)))
    told = {f.code: f.severity for f in diagnose(evidence).findings}
    assert told.get("shuffled_labels.shifted") == severity
