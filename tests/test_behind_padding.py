"""Sequences of numbers that end in padding: an answer that is read behind it, and answers that are read at the last word."""

import dataclasses
import functools
from typing import Any

import pytest
import torch
from rule_examples import rehearsed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.ignored import behind_padding, drowned_by_padding
from trainability.doctor.readings import BehindPadding, Readings
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


class Look(nn.Module):
    """Sound ways to read what a recurrent layer makes of padded sequences, and some that are not."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.reads, self.cell = reads, nn.GRUCell(3, 16)
        self.layer = nn.LSTM(3, 16, batch_first=True, bidirectional=reads == "both")
        self.attention, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.LazyLinear(4)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        mask = torch.arange(x.shape[1]) < told[:, None]
        if "cell" in self.reads:
            h = x.new_zeros(len(x), 16)
            for t in range(x.shape[1]):
                new = self.cell(x[:, t], h)
                h = torch.where(mask[:, t, None], new, h) if self.reads == "cell, kept" else new
            return self.head(h)
        out, (h, _) = self.layer(x)
        if self.reads == "attention":
            query = out[:, -1:]
            return self.head(self.attention(query, out, out, key_padding_mask=~mask)[0][:, 0])
        if self.reads == "largest":
            return self.head(out.masked_fill(~mask[:, :, None], -1e9).amax(dim=1))
        return self.head(torch.cat([h[0], h[1]], dim=1) if self.reads == "both" else h[-1])


LOOKS = [("state", True), ("cell", True), ("cell, kept", False), ("attention", False), ("largest", False), ("both", False)]


@pytest.mark.parametrize(("reads", "behind"), LOOKS)
def test_ways_to_read_padded_sequences(reads: str, behind: bool) -> None:
    torch.manual_seed(0)
    share = drowned_by_padding(Look(reads), (SERIES[:, :60], LENGTHS))
    assert (share is not None and share < 0.01) is behind


def test_padding_in_front_is_none_behind() -> None:
    torch.manual_seed(0)
    assert drowned_by_padding(Reader("last"), (SERIES.flip(1), LENGTHS)) is None


def read_behind(batch: tuple[Tensor, ...], target: Tensor | None = None) -> BehindPadding:
    found = behind_padding((batch[0],), [(f"[{place}]", t) for place, t in enumerate(batch)], target)
    assert found is not None
    return found


def test_what_tells_where_sequences_end() -> None:
    told = [LENGTHS, INSIDE, ~INSIDE, INSIDE.float()]
    assert [read_behind((SERIES, LABELS, each)).told_by for each in told] == ["[2]"] * 4
    assert [read_behind((SERIES, each)).told_by for each in (LABELS, LENGTHS - 1)] == [""] * 2
    assert read_behind((SERIES, LENGTHS), LENGTHS).told_by == ""  # the lengths are what is asked
    found = read_behind((SERIES,))
    assert (found.share, found.steps, found.are_words) == (
        1.0,
        int((LONG - LENGTHS).median()),
        False,
    )
    assert read_behind((torch.randint(1, 30, INSIDE.shape, generator=RNG) * INSIDE,)).are_words


KNOWN = BehindPadding(share=0.6, steps=20, told_by="[1]")
CASES = [
    (KNOWN, 0.3, "warning"),
    (KNOWN, 0.2, "hint"),  # it has learned to wait
    (dataclasses.replace(KNOWN, steps=7), 0.3, "hint"),
    (dataclasses.replace(KNOWN, share=0.2), 0.3, "hint"),
    (dataclasses.replace(KNOWN, told_by=""), 0.3, "hint"),  # what ends in zeros may be data
    (dataclasses.replace(KNOWN, told_by="", are_words=True), 0.3, "warning"),
    (dataclasses.replace(KNOWN, told_by="", are_words=True, steps=15), 0.3, "hint"),
]


@pytest.mark.parametrize(("known", "left", "severity"), CASES)
def test_an_answer_behind_padding_that_learns_something(known: BehindPadding, left: float, severity: str) -> None:
    looks = (Observation(step=0, loss=1.4), Observation(step=60, loss=1.4 * left))
    facts = Facts(drowned=1e-6, readings=Readings(behind_padding=known))
    found = {f.code: f.severity for f in diagnose(rehearsed(60, reference=looks).merge(Evidence(facts=facts))).findings}
    assert found["ignored_end.behind"] == severity
    assert "vanishing_gradient.padding" not in found


@pytest.mark.parametrize("reads", ["last", "word"])
def test_a_check_names_it_and_takes_no_input_for_a_target(reads: str) -> None:
    torch.manual_seed(0)
    lengths = torch.randint(5, 41, (512,), generator=RNG)
    x = torch.randn(512, 40, 3, generator=RNG) * (torch.arange(40) < lengths[:, None])[:, :, None]
    y = (x[torch.arange(512), lengths - 1, 0] > 0).long()
    model = Reader(reads)
    said = check(
        model,
        DataLoader(TensorDataset(x, lengths, y), batch_size=64),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        training_step=lambda m, b: F.cross_entropy(m(b[0], b[1]), b[2]),
        rehearse_seconds=1.5,
    )
    codes = [found.code for found in said.findings]
    assert "class_imbalance.padding" not in codes
    assert any(code in codes for code in ("ignored_end.behind", "vanishing_gradient.padding")) is (reads == "last")
