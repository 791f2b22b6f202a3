"""Models that answer words wherever they stand, and are asked by their order; beside those that see it, and sets."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

COUNT, PLACES, WORDS = 640, 8, 12


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn() -> Tensor:
    return torch.randint(WORDS, (COUNT, PLACES), generator=rng())


class Tagger(nn.Module):
    """Attention over the words, with or without something that tells their order, and a class for each."""

    def __init__(self, how: str = "plain") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.words, self.head = how, nn.Embedding(64, 16), nn.Linear(16, 64)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.positions = nn.Parameter(torch.zeros(PLACES, 16)) if how == "positions" else None
        self.scores = nn.Parameter(torch.zeros(2 * PLACES)) if how == "relative" else None
        self.conv = nn.Conv1d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made, mask = self.words(x), None
        if self.how == "alone":
            return self.head(made.relu())
        if self.how == "convolution":
            return self.head(self.conv(made.transpose(1, 2)).transpose(1, 2))
        if self.positions is not None:
            made = made + self.positions
        if self.how == "causal":
            mask = nn.Transformer.generate_square_subsequent_mask(PLACES)
        if self.scores is not None:
            mask = self.scores[torch.arange(PLACES)[:, None] - torch.arange(PLACES) + PLACES]
        return self.head(self.layer(made, src_mask=mask))


def facts(model: nn.Module, x: Tensor, y: Tensor) -> Facts:
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, generator=rng(1))

    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1])

    return look(model, next(iter(loader)), loss, batches=loader)


def is_told(found: Facts) -> bool:
    return "pooled_places.tokens" in [f.code for f in diagnose(Evidence(facts=found)).findings]


def in_order() -> Tensor:
    return torch.rand(COUNT, 24, generator=rng()).argsort(dim=1)[:, :PLACES]


ORDERED: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "reversed": lambda: (drawn(), drawn().flip(1)),
    "the one before": lambda: (drawn(), drawn().roll(1, dims=1)),
    "at other places": lambda: (drawn(), drawn()[:, torch.tensor([3, 0, 6, 1, 7, 2, 5, 4])]),
    "ignored but for some": lambda: (
        drawn(),
        torch.where(torch.rand(COUNT, PLACES, generator=rng(2)) < 0.5, -100, drawn().roll(1, dims=1)),
    ),
}


@pytest.mark.parametrize("data", ORDERED)
def test_targets_that_go_by_the_order(data: str) -> None:
    found = facts(Tagger(), *ORDERED[data]())
    told = found.readings.order_pooled
    assert told is not None
    assert (told.given, told.target, told.is_for_each) == ("[0]", "[1]", True)
    assert told.ordered > 0.4
    assert 3 * told.free <= told.ordered
    assert is_told(found)


def test_words_that_are_answered_alone() -> None:
    assert is_told(facts(Tagger("alone"), *ORDERED["the one before"]()))


@pytest.mark.parametrize("data", ["reversed", "the one before"])
@pytest.mark.parametrize("how", ["positions", "causal", "relative", "convolution"])
def test_models_that_see_the_order(how: str, data: str) -> None:
    assert facts(Tagger(how), *ORDERED[data]()).readings.order_pooled is None


def neighbours() -> tuple[Tensor, Tensor]:
    """Sets in rising order, and the next larger number: a set's model finds it, too."""
    x = in_order().sort(dim=1).values
    return x, x.roll(-1, dims=1)


def columns() -> tuple[Tensor, Tensor]:
    """A table whose words are numbered by column, which tell where they are; the target is the first column's word."""
    x = torch.randint(4, (COUNT, PLACES), generator=rng()) + 4 * torch.arange(PLACES)
    return x, x[:, :1].expand(-1, PLACES).contiguous()


SETS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "tags": lambda: (drawn(), drawn() * 5 % WORDS),
    "how many of its like": lambda: (drawn(), (drawn()[:, :, None] == drawn()[:, None]).sum(dim=2)),
    "rank": lambda: (in_order(), in_order().argsort(dim=1).argsort(dim=1)),
    "largest": lambda: (in_order(), (in_order() == in_order().amax(dim=1, keepdim=True)).long()),
    "sum": lambda: (drawn(), (drawn().sum(dim=1, keepdim=True) > 44).long().expand(-1, PLACES).contiguous()),
    "whether another is there": lambda: (drawn(), ((drawn() == 3).any(dim=1, keepdim=True) & (drawn() > 5)).long()),
    "next in a set": neighbours,
    "columns": columns,
    "nothing": lambda: (drawn(), torch.randint(WORDS, (COUNT, PLACES), generator=rng(3))),
    "noise": lambda: (
        drawn(),
        torch.where(torch.rand(COUNT, PLACES, generator=rng(2)) < 0.7, drawn() * 5 % WORDS, drawn().roll(1, dims=1)),
    ),
}


@pytest.mark.parametrize("data", SETS)
def test_targets_that_do_not_go_by_the_order(data: str) -> None:
    assert facts(Tagger(), *SETS[data]()).readings.order_pooled is None


def test_it_leaves_weights_modes_and_random_numbers() -> None:
    model = Tagger()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert facts(model, *ORDERED["reversed"]()).readings.order_pooled is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
