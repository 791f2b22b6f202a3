"""Sequences of numbers that end in padding: an answer that is read behind it, and answers that are read at the last word."""

import functools
from typing import Any

import pytest
import torch
from rule_examples import rehearsed
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.ignored import drowned_by_padding
from trainability.doctor.rehearsed import Observation

N, LONG = 32, 200
RNG = torch.Generator().manual_seed(0)
LENGTHS = torch.randint(6, 20, (N,), generator=RNG)
INSIDE = torch.arange(LONG) < LENGTHS[:, None]
SERIES = torch.randn(N, LONG, 3, generator=RNG) * INSIDE[:, :, None]
LABELS = torch.randint(4, (N,), generator=RNG)
RECALL = torch.cat([torch.randn(N, 20, 3, generator=RNG), torch.zeros(N, LONG - 20, 3)], dim=1)


class Reader(nn.Module):
    """Reads one step of what a recurrent layer returns."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.reads, self.layer, self.head = reads, nn.GRU(3, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        if self.reads == "packed":
            packed = nn.utils.rnn.pack_padded_sequence(x, beside, batch_first=True, enforce_sorted=False)
            _, h = self.layer(packed)
            return self.head(h[-1])
        out, h = self.layer(x)
        if self.reads == "mean":
            return self.head((out * beside[:, :, None]).sum(dim=1) / beside.sum(dim=1, keepdim=True))
        return self.head(out[torch.arange(len(x)), beside - 1] if self.reads == "word" else out[:, -1])


@pytest.mark.parametrize(
    ("reads", "beside"), [("last", LENGTHS), ("last", INSIDE), ("word", LENGTHS), ("packed", LENGTHS), ("mean", INSIDE)]
)
def test_what_is_read_behind_padding_of_numbers(reads: str, beside: Tensor) -> None:
    torch.manual_seed(0)
    share = drowned_by_padding(Reader(reads), (SERIES, beside))
    assert (share is not None and share < 0.01) is (reads == "last")


def test_a_silence_that_is_as_long_for_all_is_no_padding() -> None:
    torch.manual_seed(0)
    assert drowned_by_padding(Reader("last"), (RECALL, LENGTHS)) is None


def watched(model: nn.Module, x: Tensor, beside: Tensor) -> dict[str, Any]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=40, num_classes=4) as monitor:
        for _ in range(120):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, beside), LABELS)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return {finding.code: finding for finding in monitor.diagnose().findings}


@functools.cache
def codes(reads: str, *, recall: bool = False) -> frozenset[str]:
    torch.manual_seed(0)
    return frozenset(watched(Reader(reads), RECALL if recall else SERIES, LENGTHS))


def test_a_watched_loop_names_the_padding_in_place_of_the_weights() -> None:
    assert "vanishing_gradient.padding" in codes("last")
    assert not [code for code in codes("last") if code.startswith("untrained_parameter")]


@pytest.mark.parametrize(("reads", "recall"), [("word", False), ("last", True)])
def test_a_watched_loop_that_reads_words_or_has_none_behind_them(reads: str, recall: bool) -> None:
    assert "vanishing_gradient.padding" not in codes(reads, recall=recall)


@pytest.mark.parametrize(("num_steps", "severity"), [(34, "hint"), (60, "warning")])
def test_few_rehearsed_steps_are_a_hint(num_steps: int, severity: str) -> None:
    looks = (Observation(step=0, loss=1.4), Observation(step=num_steps, loss=1.39))
    evidence = rehearsed(num_steps, reference=looks).merge(Evidence(facts=Facts(drowned=1e-6)))
    found = {finding.code: finding.severity for finding in diagnose(evidence).findings}
    assert found["vanishing_gradient.padding"] == severity
