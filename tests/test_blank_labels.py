"""Labels that are CTC's blank, beside targets in which it stands for no symbol."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

FRAMES, SYMBOLS = 14, 5
RNG = torch.Generator().manual_seed(0)
LINES = torch.randn(8, FRAMES, 5, generator=RNG)
TEXT = torch.stack([torch.randperm(SYMBOLS, generator=RNG)[:4] for _ in range(8)])  # symbols 0 to 4
LENGTHS = torch.tensor([4, 3, 4, 4, 3, 4, 4, 4])


def told(targets: Tensor, lengths: Any, *, blank: int, classes: int = SYMBOLS + 1) -> list[str]:
    def step(model: Any, batch: Any) -> Tensor:
        costs = model(batch[0]).log_softmax(dim=-1).transpose(0, 1)
        frames = (FRAMES,) * 8 if isinstance(lengths, tuple) else torch.full((8,), FRAMES)
        return F.ctc_loss(costs, targets, frames, lengths, blank=blank)

    torch.manual_seed(0)
    facts = facts_of(nn.Linear(5, classes), (LINES,), training_step=step)
    return [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "label_range"]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", [tuple, torch.as_tensor])
def test_a_symbol_with_the_number_of_the_blank_is_told(flat: bool, kind: Any) -> None:
    rows = torch.cat([row[:n] for row, n in zip(TEXT, LENGTHS, strict=True)]) if flat else TEXT
    assert told(rows, kind(LENGTHS.tolist()), blank=0) == ["label_range.blank"]
    assert told(rows, kind(LENGTHS.tolist()), blank=SYMBOLS) == []
    assert told(rows + 1, kind(LENGTHS.tolist()), blank=0) == []


def test_a_blank_at_an_end_is_no_symbol() -> None:
    padded = (TEXT + 1).masked_fill(torch.arange(4) >= LENGTHS[:, None], 0)
    assert told(padded, LENGTHS, blank=0) == []  # padding, which the lengths leave out
    assert told(F.pad(padded, (1, 2)), torch.full((8,), 7), blank=0) == []  # a mark of the beginning, and padding that counts


def test_a_blank_between_all_labels_or_in_one_target_is_no_symbol() -> None:
    between = torch.zeros(8, 7, dtype=torch.long)
    between[:, ::2] = TEXT + 1
    assert told(between, torch.full((8,), 7), blank=0) == []
    rare = TEXT + 1
    rare[3, 1] = 0
    assert told(rare, LENGTHS, blank=0) == []
