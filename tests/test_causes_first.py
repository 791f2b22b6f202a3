"""Causes that stand before what they explain, and the certain facts behind them."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from rule_examples import ADAM, CHANCE, layer, probed, rehearsed, sample, steps
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings, StepRecord
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.ignored import ignores_end
from trainability.doctor.measure.influence import leakage, place_leakage
from trainability.doctor.rehearsed import CriticalStep, Observation, Task


class Placed(nn.Module):
    """Words with something added by number in the sequence, or in the batch, or noise."""

    def __init__(self, added: str, outputs: int) -> None:
        super().__init__()
        self.words, self.table, self.head = nn.Embedding(30, 16), nn.Embedding(64, 16), nn.Linear(16, outputs)
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1])
        rows = torch.arange(len(x))
        if self.added == "waves by row":
            more = torch.sin(rows[:, None, None] * torch.linspace(0, 3, 16))
        elif self.added == "noise":
            more = torch.randn(*x.shape, 16)
        else:
            more = self.table(rows)[:, None] if self.added == "table by row" else self.table(steps)
        return self.head((self.words(x) + more).relu().mean(dim=1))


@pytest.mark.parametrize("outputs", [3, 4, 5])
@pytest.mark.parametrize("added", ["waves by row", "table by row"])
def test_what_is_added_by_number_in_the_batch_changes_with_the_order(added, outputs):
    torch.manual_seed(0)
    model, x = Placed(added, outputs), torch.randint(30, (8, 6))
    assert (leakage(model, (x,)) or 0.0) == 0.0
    assert (place_leakage(model, (x,)) or 0.0) > 0.01


@pytest.mark.parametrize(("added", "change"), [("table by step", 0.0), ("noise", None)])
def test_what_is_added_by_step_or_drawn_does_not(added, change):
    torch.manual_seed(0)
    model, x = Placed(added, 4), torch.randint(30, (8, 6))
    assert place_leakage(model, (x,)) == (pytest.approx(change, abs=1e-5) if change is not None else None)


def test_an_output_for_each_pair_of_examples_is_not_asked_for_its_place():
    class Pairs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x.T

    assert place_leakage(Pairs(), (torch.randn(8, 5),)) is None


class Sequences(nn.Module):
    """A layer over (steps, batch), for each step or for the last one; what each number is fed with its place beside it."""

    def __init__(self, kind: str, classes: int = 30, last: bool = False) -> None:
        super().__init__()
        self.words, self.head, self.kind, self.last = nn.Embedding(30, 16), nn.Linear(16, classes), kind, last
        self.gru, self.attention = nn.GRU(16, 16), nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
        self.places = nn.Parameter(torch.randn(64, 1, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x)
        if self.kind == "gru":
            x = self.gru(x)[0]
        else:
            x = self.attention(x + self.places[: len(x)], nn.Transformer.generate_square_subsequent_mask(len(x)))
        return self.head(x[-1] if self.last else x)


def every_step(model: Any, batch: Any) -> Tensor:
    output = model(batch[0])
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), batch[1].reshape(-1))


def inside(model: Any, batch: Any) -> Tensor:
    return every_step(model, (batch[0][:-1], batch[0][1:]))


TEXT = torch.randint(30, (12, 21), generator=torch.Generator().manual_seed(0))
NOW, NEXT = TEXT[:, :-1], TEXT[:, 1:]


@pytest.mark.parametrize("kind", ["gru", "attention"])
@pytest.mark.parametrize(
    ("batch", "step", "codes"),
    [
        ((NOW.T, NEXT.T), every_step, set()),
        ((NOW.T, NEXT.T.reshape(-1)), every_step, set()),
        ((TEXT.T,), inside, set()),
        ((NOW, NEXT), every_step, {"batch_leakage.sequences"}),
    ],
    ids=["steps first", "steps first, flat targets", "steps first, shifted by the step", "examples first"],
)
def test_examples_along_the_second_dimension_are_known_by_the_next_steps(kind, batch, step, codes):
    torch.manual_seed(0)
    facts = facts_of(Sequences(kind), batch, training_step=step)
    assert {f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "batch_leakage"} == codes


@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_examples_along_the_second_dimension_are_known_by_one_target_for_each(kind):
    torch.manual_seed(0)
    facts = facts_of(Sequences(kind, 3, last=True), (NOW.T, torch.arange(12) % 3), training_step=every_step)
    assert (facts.leakage, facts.place_leakage, facts.along_batch) == (None, None, None)


def test_three_classes_are_no_output_for_each_pair_of_three_examples():
    torch.manual_seed(0)
    mixed = leakage(nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=0)), (torch.randn(8, 5),))
    assert mixed is not None
    assert mixed > 0.01


class Reader(nn.Module):
    """A GRU that stops at the end of each sentence, or reads its first step, or a last one."""

    def __init__(self, reads: Any) -> None:
        super().__init__()
        self.words, self.body, self.head = nn.Embedding(40, 8, padding_idx=0), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        if self.reads == "packed":
            lengths = (x > 0).sum(dim=1)
            packed = nn.utils.rnn.pack_padded_sequence(self.words(x), lengths, batch_first=True, enforce_sorted=False)
            return self.head(self.body(packed)[1][-1])
        return self.head(self.body(self.words(x))[0][:, self.reads])


@pytest.mark.parametrize(("reads", "ignored"), [("packed", False), (-1, False), (0, True), (2, True)])
def test_padding_that_all_sentences_have_is_not_their_end(reads, ignored):
    torch.manual_seed(0)
    x = torch.randint(1, 40, (8, 32))
    x[:, 12:] = 0
    assert ignores_end(Reader(reads), (x,)) == ignored


def test_sentences_that_differ_in_their_first_steps_alone_are_not_asked():
    torch.manual_seed(0)
    x = torch.zeros(8, 32, dtype=torch.long)
    x[:, :2] = torch.randint(1, 40, (8, 2))
    assert not ignores_end(Reader(0), (x,))


EXPLODED = {"steps": steps([2.4] * 20 + [1e9] * 80), "num_classes": 10}


@pytest.mark.parametrize(("kind", "first"), [("norm", "evaluation_mode"), ("linear", "exploding_gradient")])
def test_a_normalisation_in_evaluation_mode_stands_before_what_explodes(kind, first):
    layers = (layer("a", update_ratio=30.0), layer("b", kind=kind))
    tried = rehearsed(in_evaluation_mode=("b",), training=False)
    evidence = dataclasses.replace(tried, probe=probed(layers), samples=(sample(layers=layers),), **EXPLODED)
    diagnosis = diagnose(evidence)
    assert diagnosis.findings[0].rule == first
    assert diagnosis.verdict == "unstable"
    assert ("exploding_gradient" in diagnosis.findings[0].explains) == (kind == "norm")


def looks(spread: float, num: int = 60) -> tuple[Observation, ...]:
    return tuple(Observation(step=i, loss=CHANCE, output_rms=1.0, output_spread=spread) for i in range(0, num + 1, 10))


@pytest.mark.parametrize(
    ("spread", "num", "biased", "severity"),
    [
        (1e-7, 60, False, "warning"),
        (1e-7, 60, True, "hint"),  # biases carry a signal of their own, which may grow
        (2e-5, 60, False, "hint"),
        (1e-7, 40, False, "hint"),
    ],
)
def test_outputs_that_stay_constant_are_a_warning_under_adam_too(spread, num, biased, severity):
    tried = rehearsed(num, reference=looks(spread, num))
    start = probed(logit_spread=1e-7, hidden_biased=biased, optimizer=ADAM)
    assert {f.rule: f.severity for f in diagnose(dataclasses.replace(tried, probe=start)).findings}[
        "constant_output"
    ] == severity


def test_a_run_of_a_hundred_steps_settles_what_the_rehearsal_left_open():
    tried = rehearsed(60, reference=looks(1e-7))
    start = probed(logit_spread=1e-7, hidden_biased=True, optimizer=ADAM)
    for num, severity in ((100, "warning"), (80, "hint")):
        evidence = dataclasses.replace(tried, probe=start, steps=steps([CHANCE] * num), num_classes=10)
        found = [f for f in diagnose(evidence).findings if f.rule == "constant_output"]
        assert [f.severity for f in found] == [severity]


@pytest.mark.parametrize(("size", "code"), [(0.0, "constant_output.mask"), (0.1, "constant_output")])
def test_an_attention_of_padding_alone_is_told_by_its_zeros(size, code):
    layers = (layer("attention", kind="attention", activation_rms=size, gradient_rms=size), layer("head", kind="linear"))
    tried = rehearsed(60, reference=looks(1e-7))
    evidence = dataclasses.replace(tried, probe=probed(layers, logit_spread=1e-7, optimizer=ADAM))
    found = next(f for f in diagnose(evidence).findings if f.rule == "constant_output")
    assert found.code == code
    assert ("mask" in found.remedy) == (size == 0.0)


@pytest.mark.parametrize(
    ("gains", "end", "code"),
    [
        ((20.0, 40.0, 20.0, 1.0), 0.8, "loss_at_start.wide"),
        ((20.0, 40.0, 20.0, 1.0), 0.6, None),  # made up for
        ((1.0, 1.0, 1.0, 40.0), 0.8, None),  # a head that is tied to an embedding
        ((7.0, 7.0, 7.0, 7.0), 0.8, None),
    ],
)
def test_weights_drawn_wide_in_most_layers_are_a_warning_until_the_loss_is_low(gains, end, code):
    layers = tuple(layer(f"layer{i}", kind="linear", gain=gain) for i, gain in enumerate(gains))
    start = probed(
        layers, log10_gain=None, structure="residual", loss=9.0, cross_entropy=9.0, predicted_loss=None, optimizer=ADAM
    )
    run = steps([9.0] * 20 + [end * CHANCE] * 180)
    found = diagnose(Evidence(probe=start, steps=run, num_classes=10)).findings
    assert next((f.code for f in found if f.severity != "hint"), None) == code


def test_a_low_budget_that_the_rehearsal_bears_out_is_a_warning_under_adam():
    """Before the first step, without biases, outputs are all signal, however small; after it they are biases alone."""
    layers = tuple(layer(f"layer{i}", kind="linear", gain=1e-5) for i in range(9))
    adam = OptimizerSettings(name="Adam", lr=1e-3, planned_steps=300)
    start = probed(layers, log10_gain=-40.0, plateau_steps=None, hidden_biased=False, optimizer=adam)
    first = Observation(step=0, loss=CHANCE, output_rms=1e-20, output_spread=1e-20)
    for spread, severity in ((0.0, "warning"), (0.1, "hint")):
        tried = rehearsed(60, reference=(first, *looks(spread)[1:]), planned_steps=300)
        found = {f.rule: f.severity for f in diagnose(dataclasses.replace(tried, probe=start)).findings}
        assert found["gain_budget_low"] == severity


def falling(end: float, num: int = 300, *, stays: bool = False) -> tuple[StepRecord, ...]:
    """A loss from 1 to `end`, at an even pace or at once."""
    return steps([end if stays and i > num / 3 else 1 - (1 - end) * i / num for i in range(num)])


def nearing(end: float, *, decays: bool = False) -> tuple[StepRecord, ...]:
    """300 steps from 1 that come the closer to `end` the slower they are, at a rate that stays or goes down to a tenth."""
    run = steps([end + (1 - end) * math.exp(-i / 60) for i in range(300)])
    return tuple(dataclasses.replace(seen, lr=0.1 - 0.0003 * i * decays) for i, seen in enumerate(run))


@pytest.mark.parametrize(
    ("run", "multiple", "fires"),
    [
        (falling(0.6), 200.0, True),
        (falling(0.6, 500), 120.0, True),
        (falling(0.6, 200), 200.0, False),  # the plan goes on
        (falling(0.3), 200.0, False),
        (falling(0.6, stays=True), 200.0, False),  # noise is left
        (nearing(0.6), 200.0, False),  # the floor of the loss
        (nearing(0.6, decays=True), 200.0, True),  # the rate makes it slow, and not the floor
        (falling(0.6), 64.0, False),
    ],
)
def test_a_plan_that_ends_on_its_way_by_steps_that_the_loss_allows_to_be_longer(run, multiple, fires):
    task = Task(kind="regression", loss="mse_loss", form="values", target="[1]", chance=1.0, floor=0.0)
    critical = CriticalStep(
        multiple=multiple,
        loss_before=1.0,
        loss_after=0.99,
        lowest_loss=0.8,
        resolution=1e-7,
        update_norm=1e-3,
        num_evaluations=6,
    )
    seen = rehearsed(60, task=task, planned_steps=300, critical=tuple((i, critical) for i in (0, 5, 15, 30, 60)))
    found = {f.code: f.severity for f in diagnose(dataclasses.replace(seen, steps=run)).findings}
    assert found.get("update_ratio.small") == ("warning" if fires else None)


@pytest.mark.parametrize(("size", "first"), [(0.2, "wrong_mode"), (3.0, "wrong_mode"), (1.0, "exploding_gradient")])
def test_eval_mode_explains_what_explodes_where_nothing_is_normalised(size, first):
    """Layer norm normalises in eval mode, too; batch norm at its first statistics does not."""
    layers = (layer("a", update_ratio=30.0), layer("b", kind="norm", weight_rms=1.0, activation_rms=size))
    diagnosis = diagnose(Evidence(samples=(sample(layers=layers, training=False),), **EXPLODED))
    assert diagnosis.findings[0].rule == first
    assert diagnosis.verdict == "unstable"
