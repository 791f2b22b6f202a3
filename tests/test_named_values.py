"""Sequences of names that go into a layer as amounts, and of amounts, which belong there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from healthy_parts import digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor.measure.named_values import compared, compared_numbers

EXAMPLES, PLACES, CLASSES = 900, 48, 4
RNG = torch.Generator().manual_seed(3)
Y = torch.randint(CLASSES, (EXAMPLES,), generator=RNG)


def words(kinds: int, *, by_frequency: bool = False) -> Tensor:
    """Rows of names, of which each class prefers some."""
    rng = torch.Generator().manual_seed(kinds)
    frequency = 1 / torch.arange(1, kinds + 1) if by_frequency else torch.ones(kinds)
    liked = frequency[None] * torch.randn(CLASSES, kinds, generator=rng).mul(0.6).exp()
    return torch.multinomial(liked[Y], PLACES, replacement=True, generator=rng)


def noise(*shape: int) -> Tensor:
    return torch.randn(*(shape or (EXAMPLES, PLACES)), generator=RNG)


def wave() -> Tensor:
    time = torch.arange(PLACES)
    phase = 6 * torch.rand(EXAMPLES, 1, generator=RNG)
    return ((0.2 + 0.1 * Y[:, None]) * time + phase).sin() * (40 + 20 * Y[:, None]) + 8 * noise()


def heaped() -> Tensor:
    """Reports of which one class rounds more to fives."""
    amounts, rounds = 50 + 25 * noise(), torch.rand(EXAMPLES, PLACES, generator=RNG) < 0.1 + 0.2 * Y[:, None]
    return torch.where(rounds, (amounts / 5).round() * 5, amounts.round())


def pitches() -> Tensor:
    """Notes of keys: which note of the octave tells, and how high does not."""
    scale = torch.tensor([0, 2, 4, 5, 7, 9, 11])[torch.randint(7, (EXAMPLES, PLACES), generator=RNG)]
    return (scale + 7 * Y[:, None]) % 12 + 12 * torch.randint(2, 8, (EXAMPLES, PLACES), generator=RNG)


def templates() -> Tensor:
    """Rows of standardised columns, each with a few values of its own."""
    levels = torch.randn(12, PLACES, generator=RNG)
    return levels[torch.randint(3, (EXAMPLES, PLACES), generator=RNG) + 3 * Y[:, None], torch.arange(PLACES)]


NAMES: dict[str, Callable[[], Tensor]] = {
    "opcodes": lambda: words(256),
    "words by frequency": lambda: words(300, by_frequency=True),
    "letters": lambda: words(60),
    "divided": lambda: words(256) / 255,
    "standardised": lambda: (words(90) - 45) / 26,
    "one channel": lambda: words(120)[:, None].float(),
}
AMOUNTS: dict[str, Callable[[], Tensor]] = {
    "counts": lambda: torch.poisson((40 + 8.0 * Y[:, None]).expand(-1, PLACES), generator=RNG),
    "ages": lambda: (40 + 5 * Y[:, None] + 12 * noise()).round().clamp(18, 90),
    "ratings": lambda: (3 + 0.3 * Y[:, None] + noise()).round().clamp(1, 5),
    "dark and light": lambda: (
        torch.where(torch.rand(EXAMPLES, PLACES, generator=RNG) < 0.1 + 0.2 * Y[:, None], 200, 50)
        .add(15 * noise())
        .round()
        .clamp(0, 255)
    ),
    "sound": lambda: (wave() + 128).round().clamp(0, 255),
    "shuffled sound": lambda: (wave() + 128).round().clamp(0, 255)[:, torch.randperm(PLACES, generator=RNG)],
    "companded sound": lambda: (lambda s: (s.sign() * (1 + 255 * s.abs()).log() * 22 + 128).round())(wave() / 128),
    "heaps": heaped,
    "pitches": pitches,
    "melodies": lambda: torch.randint(-3, 4, (EXAMPLES, PLACES), generator=RNG).add(Y[:, None] // 2).cumsum(1),
    "time stamps": lambda: torch.randint(0, 900, (EXAMPLES, PLACES), generator=RNG).sort(1).values * (1 + Y[:, None] % 2),
    "multiples": lambda: (3 + Y[:, None]) * torch.randint(0, 100, (EXAMPLES, PLACES), generator=RNG),
    "piano roll": lambda: (torch.rand(EXAMPLES, PLACES, generator=RNG) < 0.1 + 0.1 * Y[:, None]).float(),
    "columns": templates,
    "unrelated": lambda: torch.randint(0, 256, (EXAMPLES, PLACES), generator=RNG),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_told_by_their_neighbours(name: str) -> None:
    found = compared(NAMES[name](), Y)
    assert found is not None
    assert found.like_neighbours < 0.35
    assert found.told_by_name > 2 * found.told_by_size


@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts_are_no_names(name: str) -> None:
    assert compared(AMOUNTS[name](), Y) is None


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_grey_levels_are_no_names(is_shuffled: bool) -> None:
    images, labels = digits()
    levels = images.flatten(1).unique()
    images = torch.searchsorted(levels, images.flatten(1))  # ink from 0 to 16, as it was counted
    finer = (15 * images + torch.randint(0, 15, images.shape, generator=RNG)).clamp(0, 255)  # 256 levels, as of a photograph
    order = torch.randperm(64, generator=RNG) if is_shuffled else torch.arange(64)
    assert compared(images[:, order], labels) is None
    assert compared(finer[:, order], labels) is None


def test_targets_that_a_sum_of_amounts_decides_are_no_sign_of_names() -> None:
    x = torch.randint(0, 256, (EXAMPLES, PLACES), generator=RNG)
    total = x.sum(1).float()
    assert compared(x, total) is None
    assert compared(x, (total > total.median()).long()) is None
    assert compared(x, ((x % 16) == 3).sum(1).float()) is None  # a period of the numbers


def test_the_value_of_a_molecule_by_its_names_is_told_too() -> None:
    x = words(64)
    worth = torch.randn(64, generator=torch.Generator().manual_seed(3))
    assert compared(x, worth[x].sum(1)) is not None


def test_a_few_dozen_names_in_short_rows_are_told() -> None:
    rng = torch.Generator().manual_seed(0)
    elements = torch.randint(0, 36, (EXAMPLES, 8), generator=rng)
    worth = torch.randn(36, generator=rng)
    assert compared(elements, worth[elements].sum(1)) is not None
    assert compared(elements, (elements.float() / 18 - 1).tanh().sum(1)) is None


class Codes(nn.Module):
    """A convolution over one channel of codes, or over their embedding."""

    def __init__(self, *, embeds: bool, recurrent: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 12) if embeds else None
        width = 12 if embeds else 1
        self.net = nn.GRU(width, 24, batch_first=True) if recurrent else nn.Conv1d(width, 24, 3)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, codes: Tensor) -> Tensor:
        h = self.table(codes) if self.table is not None else codes.float().unsqueeze(2) / 200
        if isinstance(self.net, nn.GRU):
            return self.head(self.net(h)[0].mean(dim=1))
        return self.head(F.relu(self.net(h.transpose(1, 2))).amax(dim=2))


@pytest.mark.parametrize("embeds", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_layer_that_is_given_codes_is_named(embeds: bool, recurrent: bool) -> None:
    torch.manual_seed(0)
    model = Codes(embeds=embeds, recurrent=recurrent)
    loader = DataLoader(TensorDataset(words(200), Y), 50, shuffle=True)
    diagnosis = trainability.check(model, loader, nn.CrossEntropyLoss(), rehearse_seconds=0)
    found = {f.code: f for f in diagnosis.findings}
    assert ("numbers_for_words.codes" in found) == (not embeds)
    if not embeds:
        assert found["numbers_for_words.codes"].layers == ("net",)


NUMBERS = torch.randint(200, (3000,), generator=RNG)
NOISE = torch.randn(3000, 1, 6, 6, generator=RNG)
PICTURES = F.avg_pool2d(torch.randn(200, 1, 8, 8, generator=RNG), 3, 1)


def pictured(at: Tensor, width: float) -> Tensor:
    """Images of a spot of a width, which is at a height and moves to the right."""
    down, right = torch.linspace(0, 1, 6)[:, None], torch.linspace(0, 1, 6)
    spot = -((down - at[:, None, None, None]) ** 2 + (right - 0.5) ** 2) / width**2
    return spot.exp() + 0.05 * NOISE


OF_NAMES: dict[str, Callable[[], Tensor]] = {
    "images": lambda: (PICTURES[NUMBERS] + 0.2 * NOISE > 0).float(),
    "channels": lambda: PICTURES.expand(-1, 3, -1, -1)[NUMBERS] + 0.2 * NOISE,
    "several labels": lambda: PICTURES.flatten(1)[NUMBERS] + 0.2 * NOISE.flatten(1) > 0,
    "one number": lambda: PICTURES[:, 0, 3, 3][NUMBERS] + 0.1 * NOISE[:, 0, 0, 0],
    "classes": lambda: PICTURES.flatten(1)[NUMBERS, :4].argmax(dim=1),
}
OF_AMOUNTS: dict[str, Callable[[], Tensor]] = {
    "a spot that moves": lambda: pictured(NUMBERS / 199, 0.3),
    "a narrow spot": lambda: pictured(NUMBERS / 199, 0.05),
    "angles": lambda: torch.stack([(NUMBERS * 6.28 / 200 * k).sin() for k in range(1, 31)], dim=1),
    "a fast wave": lambda: (NUMBERS[:, None] * torch.linspace(1, 3, 20)).sin() + 0.1 * NOISE.flatten(1)[:, :20],
    "frames of a film": lambda: F.avg_pool1d(PICTURES.flatten(1).T, 9, 1, 4).T[NUMBERS] + 0.01 * NOISE.flatten(1),
    "frames that change at once": lambda: F.avg_pool1d(PICTURES.flatten(1).T, 3, 1, 1).T[NUMBERS] + 0.01 * NOISE.flatten(1),
    "a walk": lambda: PICTURES.flatten(1).cumsum(dim=0)[NUMBERS],
    "kinds in their order": lambda: PICTURES[NUMBERS // 20] + 0.2 * NOISE,
    "few names": lambda: PICTURES[NUMBERS % 10] + 0.2 * NOISE,
    "unrelated": lambda: PICTURES[torch.randint(200, (3000,), generator=RNG)],
    "one that is another": lambda: (NUMBERS == 7).float()[:, None].expand(-1, 30) + NOISE.flatten(1)[:, :30],
    "words": lambda: (1000 * PICTURES.flatten(1)).long()[NUMBERS],
}


@pytest.mark.parametrize("name", OF_NAMES)
def test_one_name_an_example_is_told_by_its_neighbours(name: str) -> None:
    found = compared_numbers(NUMBERS, OF_NAMES[name]())
    assert found is not None
    assert found.like_neighbours < 0.35
    assert found.told_by_name > 2 * found.told_by_size


@pytest.mark.parametrize("name", OF_AMOUNTS)
def test_one_amount_an_example_is_no_name(name: str) -> None:
    assert compared_numbers(NUMBERS, OF_AMOUNTS[name]()) is None


def test_targets_of_others_say_nothing_of_a_name() -> None:
    targets = OF_NAMES["images"]()
    assert compared_numbers(NUMBERS, targets[torch.randperm(3000, generator=RNG)]) is None


TAKEN: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "as it is": (lambda n: n.float().unsqueeze(1), True),
    "divided": (lambda n: n[:, None].float() / 199 - 0.5, True),
    "bits": (lambda n: (n[:, None] >> torch.arange(8) & 1).float(), False),
    "sines": (lambda n: (n[:, None] * torch.linspace(0.1, 3, 8)).sin(), False),
    "one-hot": (lambda n: F.one_hot(n, 200).float(), False),
    "equal": (lambda n: (n[:, None] == torch.arange(200)).float(), False),
    "a table": (lambda n: PICTURES.flatten(1)[n], False),
}


class Drawing(nn.Module):
    def __init__(self, code: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code
        self.net = nn.Sequential(nn.Linear(code(NUMBERS).shape[1] + 2, 32), nn.ReLU(), nn.Linear(32, 36))

    def forward(self, number: Tensor, style: Tensor) -> Tensor:
        return self.net(torch.cat([self.code(number), style], dim=1))


@pytest.mark.parametrize("name", TAKEN)
def test_a_layer_that_is_given_one_name_an_example_is_named(name: str) -> None:
    torch.manual_seed(0)
    code, is_named = TAKEN[name]
    images = OF_NAMES["images"]().flatten(1)
    loader = DataLoader(TensorDataset(NUMBERS, torch.rand(3000, 2), images), 50, shuffle=True)
    diagnosis = trainability.check(
        Drawing(code),
        loader,
        training_step=lambda model, batch: F.binary_cross_entropy_with_logits(model(*batch[:2]), batch[2]),
        rehearse_seconds=0,
    )
    found = {f.code: f for f in diagnosis.findings}
    assert ("numbers_for_words.column" in found) == is_named
    if is_named:
        assert found["numbers_for_words.column"].layers == ("net.0",)
