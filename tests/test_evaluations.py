"""Evaluations: what is told against what is counted, and everything beside the best constant answer."""

import dataclasses
import math

import pytest
import torch
from rule_examples import FALLING, evaluations, split, steps
from small_programs import digits
from torch import nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor import Evidence, diagnose
from trainability.doctor.audit_results import DataAudit
from trainability.doctor.evidence import Evaluation
from trainability.doctor.measure.evaluated import evaluated
from trainability.doctor.rehearsed import Rehearsal, Task


def codes(evidence: Evidence) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in diagnose(evidence).findings]


def test_what_is_counted_is_what_a_slow_count_gives():
    labels = torch.tensor([0, 0, 1, 2, 2, 2, -100])
    predictions = torch.tensor([0, 1, 1, 2, 2, 0, 0])
    seen = evaluated(predictions, labels)
    assert seen["counted_error"] == pytest.approx(2 / 6)
    assert (seen["largest_label"], seen["largest_label_fraction"], seen["num_examples"]) == (2, 0.5, 6)
    logits = F.one_hot(predictions, 3).float()
    assert evaluated(logits, labels) == seen
    assert evaluated(predictions[:, None].float(), labels) == seen


def test_values_are_beside_their_mean():
    targets = torch.randn(500, 1, generator=torch.Generator().manual_seed(0)) * 3 + 5
    seen = evaluated(targets.mean().expand(500), targets)
    assert seen["r_squared"] == pytest.approx(0, abs=1e-9)
    assert seen["target_variance"] == pytest.approx(float(targets.var(correction=0)), rel=1e-5)
    assert evaluated(targets.squeeze(1) + 0.1, targets)["r_squared"] == pytest.approx(
        1 - 0.01 / seen["target_variance"], rel=1e-4
    )


@pytest.mark.parametrize(
    "pair", [(None, None), (torch.zeros(0), torch.zeros(0)), (torch.zeros(3), torch.zeros(4)), (torch.zeros(3),) * 2]
)
def test_what_does_not_fit_counts_nothing(pair):
    assert "counted_error" not in evaluated(*pair) or pair[0].numel() == 3


def recorded(error: float | None, predictions, labels, loss: float | None = None) -> Evidence:
    monitor = Monitor(nn.Linear(2, 2), num_classes=10)
    monitor.record_evaluation("validation", top1_error=error, loss=loss, predictions=predictions, labels=labels)
    return monitor.evidence()


def test_an_error_that_contradicts_its_predictions_is_a_broken_metric():
    labels = torch.arange(1000) % 10
    predictions = torch.where(torch.arange(1000) % 10 == 0, labels, (labels + torch.arange(1000) // 10 % 9 + 1) % 10)
    assert evaluated(predictions, labels)["counted_error"] == pytest.approx(0.9)
    diagnosis = diagnose(recorded(0.9925, predictions, labels))
    assert [f.code for f in diagnosis.findings] == ["evaluation_told.count"]
    assert diagnosis.verdict == "broken metric"
    assert codes(recorded(0.1, predictions, labels)) == [("evaluation_told.accuracy", "error")]
    assert codes(recorded(90.0, predictions, labels)) == [("evaluation_told.percent", "warning")]
    for sound in (0.9, 0.90004, None):
        assert codes(recorded(sound, predictions, labels)) == []


def test_a_part_of_the_split_is_no_contradiction():
    labels = torch.arange(100) % 10
    predictions = torch.where(torch.arange(100) % 4 > 0, labels, (labels + 1) % 10)
    assert codes(recorded(0.25 + 0.15, predictions, labels)) == [("evaluation_told.count", "hint")]


@pytest.mark.parametrize(("error", "found"), [(0.3, []), (0.5, ["evaluation_told.loss"])])
def test_an_error_is_at_most_its_loss_over_ln_2(error, found):
    seen = Evaluation(step=10, split="validation", loss=0.25, top1_error=error)
    facts = check_of_digits().evidence.facts
    assert [code for code, _ in codes(Evidence(evaluations=(seen,), facts=facts))] == found


def check_of_digits():
    x, y = digits()
    batches = list(zip(x.flatten(1).split(64), y.split(64), strict=True))
    return check(nn.Linear(64, 10), batches, rehearse_seconds=None)


def after_training(split: str, error: float, loss: float | None = None, **fields) -> Evidence:
    seen = tuple(Evaluation(step=step, split=split, top1_error=error, loss=loss, **fields) for step in (150, 200))
    low = [math.log(10) * math.exp(-i / 20) + 0.02 for i in range(200)]
    return Evidence(steps=steps(low), evaluations=seen, facts=check_of_digits().evidence.facts, num_classes=10)


@pytest.mark.parametrize(
    ("split", "error", "loss", "found"),
    [
        ("train", 0.99, None, "evaluation_path.train_error"),
        ("train", 0.02, 2.3, "evaluation_path.train_loss"),
        ("validation", 0.9, None, "evaluation_path.validation"),
        ("train", 0.02, 0.05, None),
        ("validation", 0.4, 2.0, None),  # overfitted, and better than chance
    ],
)
def test_a_low_loss_beside_an_evaluation_at_chance(split, error, loss, found):
    evidence = after_training(split, error, loss, num_examples=1000, largest_label_fraction=0.1)
    assert [code for code, _ in codes(evidence) if code.startswith("evaluation_path")] == ([found] if found else [])


def test_one_bad_evaluation_is_not_judged():
    evidence = after_training("train", 0.99)
    seen = (evidence.evaluations[0], Evaluation(step=200, split="train", top1_error=0.01))
    assert codes(Evidence(steps=evidence.steps, evaluations=seen, facts=evidence.facts, num_classes=10)) == []


class Regression(nn.Module):
    """Sees its input or not."""

    def __init__(self, sees: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
        self.sees = sees

    def forward(self, x):
        return self.net(x if self.sees else torch.randn_like(x))


@pytest.mark.parametrize("sees", [True, False])
def test_a_regression_beside_the_mean_of_its_targets(sees):
    torch.manual_seed(0)
    x = torch.randn(1024, 4)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3]) + 3
    batches = list(zip(x.split(64), y.split(64), strict=True))
    model = Regression(sees)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = check(model, batches, F.mse_loss, optimizer=optimizer, rehearse_seconds=20)
    with Monitor(model, optimizer, every=100, before=before) as monitor:
        for step in range(400):
            inputs, targets = batches[step % 16]
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs), targets)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    found = [f for f in monitor.diagnose().findings if f.rule == "constant_as_good"]
    assert [(f.code, f.severity) for f in found] == ([] if sees else [("constant_as_good.regression", "warning")])
    if not sees:
        cost = next(m.value for m in found[0].measurements if m.threshold is None)
        assert cost == pytest.approx(float(y.var(correction=0)), rel=1e-3)


def test_class_frequencies_are_a_constant_too():
    counts = (900, 50, 50)
    cost = -sum(n / 1000 * math.log(n / 1000) for n in counts)
    train = split()
    audit = DataAudit(train=dataclasses.replace(train, label_counts=counts), num_classes=3)
    task = Task(kind="classification", loss="cross_entropy", num_classes=3, chance=cost)
    rehearsal = Rehearsal(steps=(), task=task)
    still = Evidence(steps=steps([cost + 0.003 * (i % 3) for i in range(400)]), data=audit, rehearsal=rehearsal)
    assert "constant_as_good.frequencies" in [code for code, _ in codes(still)]
    lower = Evidence(steps=steps([0.8 * cost + 0.003 * (i % 3) for i in range(400)]), data=audit, rehearsal=rehearsal)
    assert "constant_as_good.frequencies" not in [code for code, _ in codes(lower)]


def test_a_falling_loss_is_left_alone():
    evidence = Evidence(steps=steps(FALLING), evaluations=evaluations(0.0), num_classes=10)
    assert codes(evidence) == []
