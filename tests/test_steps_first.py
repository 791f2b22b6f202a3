"""Layers without batch_first that take the examples of the batch for steps, told by Monitor alone, beside sound twins."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import steps
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts

N, T, C, CLASSES = 12, 7, 5, 3


class Reader(nn.Module):
    """A recurrent layer, or attention, and what is read of its output."""

    def __init__(self, layer: nn.Module, read: Callable[[nn.Module, Tensor], Tensor], width: int = CLASSES) -> None:
        super().__init__()
        self.layer, self.read, self.head = layer, read, nn.Linear(C if isinstance(layer, nn.MultiheadAttention) else 8, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.layer, x))


def lstm(**form: Any) -> nn.LSTM:
    return nn.LSTM(C, 8, **form)


def watched(model: nn.Module, x: Tensor, target: Tensor, loss_fn: Any = F.cross_entropy) -> Diagnosis:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = loss_fn(model(x), target)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert not any("stopped watching" in line for line in monitor.evidence().problems)
    return monitor.diagnose()


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings]


LABELS = torch.arange(N) % CLASSES
FAULTS = {
    "the last step": Reader(lstm(), lambda layer, x: layer(x)[0][:, -1]),
    "the mean": Reader(nn.GRU(C, 8), lambda layer, x: layer(x)[0].mean(1)),
    "attention": Reader(nn.MultiheadAttention(C, 1), lambda layer, x: layer(x, x, x)[0].mean(1)),
}
SOUND = {
    "batch_first": Reader(lstm(batch_first=True), lambda layer, x: layer(x)[0][:, -1]),
    "turned inside": Reader(lstm(), lambda layer, x: layer(x.transpose(0, 1))[0][-1]),
    "attention turned inside": Reader(nn.MultiheadAttention(C, 1), lambda layer, x: layer(*[x.transpose(0, 1)] * 3)[0].mean(0)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_answer_for_each_step_says_that_the_steps_are_the_examples(name: str) -> None:
    found = watched(FAULTS[name], torch.randn(N, T, C), LABELS)
    assert "batch_leakage.sequences" in codes(found)
    assert found.evidence.facts is not None
    assert found.evidence.facts.along_batch == "layer"


@pytest.mark.parametrize("name", SOUND)
def test_its_sound_twin_is_left_alone(name: str) -> None:
    assert "batch_leakage.sequences" not in codes(watched(SOUND[name], torch.randn(N, T, C), LABELS))


STEPS_FIRST: dict[str, tuple[nn.Module, tuple[int, ...], Tensor, Any]] = {
    "a class for each sequence": (Reader(lstm(), lambda layer, x: layer(x)[0][-1]), (T, N, C), LABELS, F.cross_entropy),
    "a tagger, one sentence at a time": (
        Reader(lstm(), lambda layer, x: layer(x)[0][:, 0]),
        (T, 1, C),
        torch.arange(T) % CLASSES,
        F.cross_entropy,
    ),
    "a number for each step": (
        Reader(lstm(), lambda layer, x: layer(x)[0], 1),
        (T, N, C),
        torch.randn(T, N),
        lambda output, target: F.mse_loss(output.squeeze(2), target),
    ),
    "a class for each step": (
        Reader(lstm(), lambda layer, x: layer(x)[0].flatten(0, 1)),
        (T, N, C),
        torch.arange(T * N) % CLASSES,
        F.cross_entropy,
    ),
}


@pytest.mark.parametrize("name", STEPS_FIRST)
def test_batches_of_steps_first_are_left_alone(name: str) -> None:
    model, shape, target, loss_fn = STEPS_FIRST[name]
    assert "batch_leakage.sequences" not in codes(watched(model, torch.randn(shape), target, loss_fn))


def test_where_shapes_leave_it_open_a_run_at_chance_is_sent_to_check() -> None:
    model, shape, target, loss_fn = STEPS_FIRST["a class for each step"]
    facts = watched(model, torch.randn(shape), target, loss_fn).evidence.facts
    assert facts is not None
    assert (facts.along_batch, facts.maybe_steps_first) == (None, True)
    flat = Evidence(steps=steps([math.log(CLASSES) + 0.001 * (k % 3) for k in range(400)]), num_classes=CLASSES)
    remedies = [
        {f.rule: f.remedy for f in diagnose(flat.merge(Evidence(facts=Facts(maybe_steps_first=open)))).findings}["plateau"]
        for open in (False, True)
    ]
    assert remedies[0] != remedies[1]
    assert "trainability check" in remedies[1]


@pytest.mark.parametrize("turns", [True, False])
def test_a_step_that_turns_what_the_loader_stacks_means_the_steps(turns: bool) -> None:
    """A translation: its targets are one row, and do not tell which dimension is that of the examples."""
    words = torch.randint(CLASSES, (64, T), generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(F.one_hot(words, C).float(), (words + 1) % CLASSES), batch_size=N)
    model = Reader(lstm(), lambda layer, x: layer(x)[0])

    def training_step(net: Any, batch: Any) -> Tensor:
        x, y = (t.transpose(0, 1) if turns else t for t in batch)
        return F.cross_entropy(net(x).flatten(0, 1), y.flatten())

    found = check(
        model,
        loader,
        training_step=training_step,
        optimizer=torch.optim.SGD(model.parameters(), 1e-3),
        rehearse_seconds=None,
    )
    assert ("batch_leakage.sequences" in codes(found)) != turns
