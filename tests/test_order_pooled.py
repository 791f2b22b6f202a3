"""Models that lose the order of words and are asked for it; beside those that see it, or are asked for what is there."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

COUNT, PLACES, WORDS, MARKS = 640, 12, 16, 6


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sequences() -> tuple[Tensor, Tensor]:
    """Marks among other words, and which mark comes first."""
    draws = rng()
    x = torch.randint(MARKS, WORDS, (COUNT, PLACES), generator=draws)
    marks = torch.rand(COUNT, MARKS, generator=draws).argsort(dim=1)[:, :5]
    places = torch.rand(COUNT, PLACES, generator=draws).argsort(dim=1)[:, :5].sort(dim=1).values
    return x.scatter(1, places, marks), marks[:, 0]


class Bag(nn.Module):
    def __init__(self, outputs: int = MARKS) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.emb = nn.EmbeddingBag(WORDS, 16, mode="mean")
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.emb(x))


class Words(nn.Module):
    """How the words are read, then a head."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.emb, self.head = nn.Embedding(WORDS, 16), nn.Linear(16 * PLACES if how == "flat" else 16, MARKS)
        self.positions = nn.Parameter(torch.zeros(PLACES, 16)) if "positions" in how else None
        self.body: nn.Module = nn.Identity()
        if how == "recurrent":
            self.body = nn.GRU(16, 16, batch_first=True)
        elif how == "convolution":
            self.body = nn.Conv1d(16, 16, 3, padding=1)
        elif how.startswith("attention"):
            self.body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        made = self.emb(x)
        if self.positions is not None:
            made = made + self.positions
        if self.how == "recurrent":
            return self.head(self.body(made)[0][:, -1])
        if self.how == "flat":
            return self.head(made.flatten(1))
        if self.how == "noise":
            made = made + torch.randn_like(made)
        made = self.body(made.transpose(1, 2)).transpose(1, 2).relu() if self.how == "convolution" else self.body(made)
        return self.head(made.amax(dim=1) if self.how == "maximum" else made.mean(dim=1))


def facts(model: nn.Module, x: Tensor, y: Tensor) -> Facts:
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, generator=rng(1))
    compare = nn.MSELoss() if y.is_floating_point() else nn.CrossEntropyLoss()
    return look(model, next(iter(loader)), lambda model, batch: compare(model(batch[0]), batch[1]), batches=loader)


def is_told(found: Facts) -> bool:
    return "pooled_places.order" in [f.code for f in diagnose(Evidence(facts=found)).findings]


@pytest.mark.parametrize("how", ["bag", "mean", "maximum", "attention", "positions"])  # their mean is a constant
def test_an_order_that_is_lost(how: str) -> None:
    x, y = sequences()
    model = Bag() if how == "bag" else Words(how)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = facts(model, x, y)
    assert is_told(found)
    assert found.readings.order_pooled is not None
    assert found.readings.order_pooled.pools == ("EmbeddingBag" if how == "bag" else None)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_place_that_is_asked_for() -> None:
    x = sequences()[0]
    x = torch.where(x == 0, 7, x)
    where = torch.randint(PLACES, (COUNT, 1), generator=rng(3))
    x = x.scatter(1, where, 0)
    assert is_told(facts(Bag(1), x, where / PLACES))


@pytest.mark.parametrize("how", ["recurrent", "convolution", "flat", "attention with positions", "noise"])
def test_models_that_see_the_order(how: str) -> None:
    assert not is_told(facts(Words(how), *sequences()))


def counts() -> tuple[Tensor, Tensor]:
    x = torch.randint(WORDS, (COUNT, PLACES), generator=rng())
    return x, ((x < 4).sum(dim=1) > 2).long() + ((x > 11).sum(dim=1) > 2).long()


def topics() -> tuple[Tensor, Tensor]:
    """Texts whose first word often tells what the others tell, too."""
    draws = rng()
    y = torch.randint(MARKS, (COUNT,), generator=draws)
    x = torch.where(
        torch.rand(COUNT, PLACES, generator=draws) < 0.3, y[:, None], torch.randint(WORDS, (COUNT, PLACES), generator=draws)
    )
    x[:, 0] = torch.where(torch.rand(COUNT, generator=draws) < 0.7, y, x[:, 0])
    return x, y


def odd() -> tuple[Tensor, Tensor]:
    """Sorted sets, and whether they hold an odd number of marks: the order tells more of it than counts do, which tell all."""
    x = torch.randint(WORDS, (COUNT, PLACES), generator=rng()).sort(dim=1).values
    return x, (x < MARKS).sum(dim=1) % 2


def unrelated() -> tuple[Tensor, Tensor]:
    return sequences()[0], torch.randint(MARKS, (COUNT,), generator=rng(9))


def rarely() -> tuple[Tensor, Tensor]:
    """Labels that the counts tell, but for one in ten, which the first word tells."""
    x, y = counts()
    return x, torch.where(torch.rand(COUNT, generator=rng(4)) < 0.1, (x[:, 0] > 8).long(), y)


def padded() -> tuple[Tensor, Tensor]:
    """Sequences of any length, and whether one word is there."""
    x = torch.randint(1, WORDS, (COUNT, PLACES), generator=rng())
    lengths = torch.randint(4, PLACES, (COUNT, 1), generator=rng(2))
    x = torch.where(torch.arange(PLACES) < lengths, x, 0)
    return x, (x == 3).any(dim=1).long()


SOUND = {made.__name__: made for made in (counts, topics, odd, unrelated, rarely, padded)}


@pytest.mark.parametrize("name", SOUND)
def test_labels_that_go_by_what_is_there(name: str) -> None:
    assert not is_told(facts(Bag(), *SOUND[name]()))


def test_classes_of_each_place_and_many_words() -> None:
    x, y = sequences()
    far = torch.randint(5000, (COUNT, PLACES), generator=rng())
    model = nn.Sequential(nn.EmbeddingBag(5000, 8), nn.Linear(8, MARKS))
    assert not is_told(facts(model, far, y))  # what the words tell cannot be counted
    assert not is_told(facts(Bag(), x[:128], y[:128]))
