"""What a loss asks of tokens, of models that read up to each or up to the one before: each mistake beside its sound twin."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.ignored import ignores_end

RNG = torch.Generator().manual_seed(0)
TOKENS = torch.randint(1, 12, (16, 10), generator=RNG)
SONGS = torch.randint(8, (16, 4), generator=RNG).repeat(1, 4)


class Decoder(nn.Module):
    """Reads up to each token, or shifts its input and reads up to the one before."""

    def __init__(self, *, shifts: bool) -> None:
        super().__init__()
        self.words, self.gru, self.head, self.shifts = (
            nn.Embedding(12, 8),
            nn.GRU(8, 8, batch_first=True),
            nn.Linear(8, 12),
            shifts,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        if self.shifts:
            tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
        return self.head(self.gru(self.words(tokens))[0])


def asked(tokens: Tensor, ahead: int, *, shifts: bool, ignored: Tensor | None = None) -> Facts:
    torch.manual_seed(0)
    length = tokens.shape[1] - 3

    def forward(model: Any, batch: Tensor) -> Tensor:
        target = batch[:, 1 + ahead : 1 + ahead + length]
        target = target if ignored is None else target.masked_fill(ignored[:length], -100)
        return F.cross_entropy(model(batch[:, 1 : 1 + length]).mT, target)

    return look(Decoder(shifts=shifts), tokens, forward)


@pytest.mark.parametrize(
    ("shifts", "ahead", "unshifted", "shifted_by"),
    [
        (False, 0, True, None),
        (False, 1, False, None),
        (False, 2, False, 2),
        (False, -1, False, -1),
        (True, 0, False, None),
        (True, 1, False, 2),
    ],
)
def test_what_is_asked_is_counted_from_the_last_token_that_is_read(
    shifts: bool, ahead: int, unshifted: bool, shifted_by: int | None
) -> None:
    found = asked(TOKENS, ahead, shifts=shifts)
    assert (found.unshifted, found.shifted_by) == (unshifted, shifted_by)


def test_text_with_a_few_mistakes_is_corrected() -> None:
    """Nearly all targets are the tokens of the input, and the others are what is learned."""
    wrong = torch.rand(TOKENS.shape, generator=torch.Generator().manual_seed(1)) < 0.04
    given = torch.where(wrong, TOKENS % 11 + 1, TOKENS)
    assert bool(wrong.any())

    def forward(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]).mT, batch[1])

    torch.manual_seed(0)
    assert not look(Decoder(shifts=False), (given, TOKENS), forward).unshifted
    assert look(Decoder(shifts=False), (TOKENS, TOKENS.clone()), forward).unshifted


def test_eight_notes_are_enough_to_be_shifted_twice() -> None:
    assert asked(SONGS, 2, shifts=False).shifted_by == 2
    assert asked(SONGS, 1, shifts=False).shifted_by is None
    echoed = asked(SONGS % 4, -1, shifts=False)  # a delayed echo of few words is a task
    assert echoed.shifted_by is None


def test_targets_of_three_places_are_as_much_behind_as_twice_ahead() -> None:
    assert asked(SONGS[:, :3].repeat(1, 5), 2, shifts=False).shifted_by is None


def test_padding_stands_at_every_distance_from_itself() -> None:
    words = torch.zeros(16, 40, dtype=torch.long)
    words[:, 5] = TOKENS[:, 0]
    torch.manual_seed(0)

    def forward(model: Any, batch: Tensor) -> Tensor:
        tags = (batch > 0).long().roll(3, dims=1)
        return F.cross_entropy(model(batch).mT, tags)

    found = look(Decoder(shifts=False), words, forward)
    assert (found.unshifted, found.shifted_by, found.future) == (False, None, None)


PLACES = torch.arange(10)


@pytest.mark.parametrize(
    ("tokens", "ignored", "told"),
    [
        (TOKENS, PLACES >= 4, True),  # the answers
        (TOKENS, PLACES < 4, False),  # the prompts
        (TOKENS.masked_fill(PLACES >= 6, 0), PLACES >= 4, False),  # padding
        (TOKENS, PLACES > 20, False),
    ],
)
def test_prompts_that_are_asked_in_place_of_answers_are_told(tokens: Tensor, ignored: Tensor, told: bool) -> None:
    assert asked(tokens, 1, shifts=False, ignored=ignored).masked_answers == told


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.head = nn.Embedding(12, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed: Any = nn.utils.rnn.pack_padded_sequence(self.words(tokens), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.gru(packed)[1][0])


@pytest.mark.parametrize(
    ("lengths", "ignored"),
    [
        (lambda real: real, False),
        (torch.ones_like, True),
        (lambda real: real // 2, True),
        (lambda real: real.float(), False),  # not asked
    ],
)
def test_lengths_that_end_sequences_early_leave_their_ends_unread(lengths: Callable[[Tensor], Tensor], ignored: bool) -> None:
    torch.manual_seed(0)
    real = torch.tensor([10, 9, 8, 7, 6, 5, 4, 4])
    tokens = TOKENS[:8].masked_fill(real[:, None] <= PLACES, 0)
    assert ignores_end(Packed(), (tokens, lengths(real))) == ignored
