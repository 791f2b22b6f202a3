"""Answers and targets in two layouts, flattened and held against each other, beside the same in one layout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.measure.certain import facts_of

WORDS = 11
RNG = torch.Generator().manual_seed(0)


def text(examples: int, steps: int) -> tuple[Tensor, Tensor]:
    rows = torch.randint(WORDS, (examples, steps + 1), generator=RNG)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


class Writer(nn.Module):
    """A recurrent net of words (examples, steps), or (steps, examples) if `x_first` is 1, which answers in some layout."""

    def __init__(self, layout: str, x_first: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.lstm = nn.Embedding(WORDS, 8), nn.LSTM(8, 16)
        self.out, self.layout, self.x_first = nn.Linear(16, WORDS), layout, x_first

    def forward(self, x: Tensor) -> Tensor:
        made = self.out(self.lstm(self.words(x if self.x_first else x.t()))[0])  # (steps, examples, words)
        steps, examples = made.shape[:2]
        return {
            "steps first": lambda: made,
            "examples first": lambda: made.transpose(0, 1),
            "steps first, flat": lambda: made.reshape(-1, WORDS),
            "examples first, flat": lambda: made.transpose(0, 1).reshape(-1, WORDS),
            "viewed": lambda: made.view(examples, steps, WORDS),
        }[self.layout]()


def flat(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.reshape(-1, WORDS), target.reshape(-1))


def turned(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.reshape(-1, WORDS), target.t().reshape(-1))


CASES = [
    ("steps first", flat, True),
    ("steps first", turned, False),
    ("examples first", flat, False),
    ("examples first", turned, True),
    ("steps first, flat", flat, True),
    ("steps first, flat", turned, False),
    ("examples first, flat", flat, False),
    ("examples first, flat", turned, True),
    ("viewed", flat, True),
]


@pytest.mark.parametrize("sizes", [(12, 12), (12, 7), (7, 12)])
@pytest.mark.parametrize(("layout", "loss", "wrong"), CASES)
def test_places_of_other_examples_are_told(layout: str, loss: Any, wrong: bool, sizes: tuple[int, int]) -> None:
    found = facts_of(Writer(layout), text(*sizes), loss_fn=loss).misaligned
    assert (found is not None and found.turned) == wrong


@pytest.mark.parametrize("sizes", [(12, 12), (12, 7)])
@pytest.mark.parametrize("wrong", [True, False])
def test_loaders_may_have_the_steps_first(wrong: bool, sizes: tuple[int, int]) -> None:
    x, y = (t.t().contiguous() for t in text(*sizes))
    model = Writer("examples first" if wrong else "steps first", x_first=1)
    assert (facts_of(model, (x, y), loss_fn=flat).misaligned is not None) == wrong
    beside = Writer("examples first" if wrong else "steps first")
    if sizes[0] != sizes[1]:
        assert (facts_of(beside, (x.t(), y), loss_fn=flat).misaligned is not None) == wrong


@pytest.mark.parametrize("sizes", [(12, 12), (12, 7)])
@pytest.mark.parametrize(("layout", "loss", "wrong"), CASES)
def test_monitor_asks_the_graph_and_the_loss(layout: str, loss: Any, wrong: bool, sizes: tuple[int, int]) -> None:
    model, (x, y) = Writer(layout), text(*sizes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            cost = loss(model(x), y)
            cost.backward()
            monitor.after_backward(cost)
            optimizer.step()
    assert ("shuffled_labels.misaligned" in [f.code for f in monitor.diagnose().findings]) == wrong


def test_numbers_and_what_mixes_steps_are_left_alone() -> None:
    class Series(nn.Module):
        def __init__(self, kind: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.gru, self.out, self.kind = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 3), kind

        def forward(self, x: Tensor) -> Tensor:
            return self.kind(self.out(self.gru(x)[0]))

    x = torch.randn(10, 6, 3, generator=RNG)
    for kind, wrong in ((lambda t: t, False), (lambda t: t.transpose(0, 1), True)):
        found = facts_of(Series(kind), (x, x.roll(-1, dims=1)), loss_fn=lambda o, y: F.mse_loss(o.reshape(-1), y.reshape(-1)))
        assert (found.misaligned is not None) == wrong


class Reader(nn.Module):
    """Asks a source, as a decoder does: each place of the answer is made of the second input at that place, and of it all."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Parameter(torch.randn(6, 16))
        self.ask, self.out = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, WORDS)

    def forward(self, source: Tensor, told: Tensor) -> Tensor:
        made, asked = self.words(source) + self.places, self.words(told) + self.places
        return self.out(asked + self.ask(asked, made, made)[0])


def test_words_that_are_to_be_said_backwards_are_their_own_examples() -> None:
    source = torch.randint(1, WORDS, (16, 6), generator=RNG)
    told = torch.cat([torch.zeros(16, 1, dtype=torch.long), source.flip(1)[:, :-1]], dim=1)

    def backwards(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(*batch).flatten(0, 1), batch[0].flip(1).flatten())

    assert facts_of(Reader(), (source, told), training_step=backwards).misaligned is None
