"""Evidence: parts joined without a loss, steps from 1, older files read right."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import Diagnosis, Evidence, audit_data, audit_metric, diagnose, probe
from trainability.doctor.audit_results import Relation
from trainability.doctor.evidence import Evaluation, OptimizerSettings, Sample, StepRecord
from trainability.doctor.facts import Facts
from trainability.doctor.opponents import Opponents
from trainability.doctor.readings import Readings
from trainability.doctor.rehearsed import CriticalStep, Rehearsal, RehearsedStep

CRITICAL = CriticalStep(
    multiple=30.0,
    loss_before=2.0,
    loss_after=1.9,
    lowest_loss=1.5,
    resolution=1e-6,
    update_norm=0.1,
    update_ratios=(("0.weight", 0.01), ("1.weight", None)),
    num_evaluations=7,
)


def steps(first: int, last: int, loss: float = 2.3) -> tuple[StepRecord, ...]:
    return tuple(StepRecord(step=step, loss=loss, gradient_norm=1.0) for step in range(first, last + 1))


def evaluations() -> tuple[Evaluation, ...]:
    """A validation error that stands still while the training error falls, and one class that is always predicted."""
    found = []
    for number in range(1, 5):
        collapsed = {"predicted_class_entropy": 0.0, "label_entropy": 2.3, "most_predicted_class": 3}
        found.append(Evaluation(step=100 * number, split="train", top1_error=0.3 - 0.07 * number, model_training=False))
        found.append(Evaluation(step=100 * number, split="validation", top1_error=0.3, model_training=False, **collapsed))
    return tuple(found)


def looked_at() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 4))
    return model, [(torch.randn(32, 3, 4, 4), torch.arange(32) % 4) for _ in range(2)]


def accuracy(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    right = sum((logits.argmax(1) == labels).sum().item() for logits, labels in pairs)
    return right / sum(len(labels) for _, labels in pairs)


def test_before_and_during_lose_nothing() -> None:
    model, batches = looked_at()
    before = Evidence(
        probe=probe(model, F.cross_entropy, *batches[0]),
        data=audit_data(batches, num_classes=4),
        metric=audit_metric(accuracy),
        num_classes=4,
        optimizer=OptimizerSettings(name="SGD", lr=0.1, clip=1.0, planned_steps=400),
        problems=("one", "both"),
        rehearsal=Rehearsal(steps=(RehearsedStep(step=1, loss=2.0),), critical=((1, CRITICAL),)),
        relation=Relation(num_examples=128, z=40.0, categories=(2,)),
    )
    during = Evidence(
        steps=steps(1, 400),
        samples=(Sample(step=1, layers=()),),
        evaluations=evaluations(),
        optimizer=OptimizerSettings(name="SGD", lr=0.01),
        problems=("both", "two"),
        has_ended=True,
    )
    joined = before.merge(during)
    assert joined.has_ended
    assert not joined.merge(Evidence(steps=steps(401, 402))).has_ended  # the loop went on
    assert (joined.probe, joined.data, joined.metric) == (before.probe, before.data, before.metric)
    assert (joined.rehearsal, joined.relation) == (before.rehearsal, before.relation)
    assert Evidence.from_dict(json.loads(json.dumps(before.to_dict()))).rehearsal == before.rehearsal
    assert (joined.steps, joined.samples, joined.evaluations) == (during.steps, during.samples, during.evaluations)
    assert joined.num_classes == 4
    idle = Evidence(steps_of_others=120)
    assert before.merge(idle).steps_of_others == idle.merge(Evidence()).steps_of_others == 120
    unheard = Evidence(unheard_steps=3)
    assert before.merge(unheard).unheard_steps == unheard.merge(Evidence()).unheard_steps == 3
    assert unheard.merge(during).unheard_steps is None
    assert joined.problems == ("one", "both", "two")
    assert joined.optimizer == OptimizerSettings(name="SGD", lr=0.01, clip=1.0, planned_steps=400)
    # Every field is one of those above: a field that is added needs a place in merge.
    assert {field.name for field in dataclasses.fields(Evidence)} == {
        *("probe", "steps", "samples", "evaluations", "data", "metric", "num_classes", "optimizer", "problems"),
        *("rehearsal", "facts", "processes", "experiments", "relation", "has_ended", "is_complete", "steps_of_others"),
        "unheard_steps",
    }
    assert before.merge(Evidence()) == before
    assert Evidence().merge(during) == during


def test_what_is_wrong_with_evaluations_is_still_found_after_joining() -> None:
    model, batches = looked_at()
    before = Evidence(probe=probe(model, F.cross_entropy, *batches[0]), num_classes=4)
    during = Evidence(steps=steps(1, 400, loss=0.2), evaluations=evaluations())
    alone = {finding.rule for finding in diagnose(during).findings}
    joined = diagnose(before.merge(during))
    assert {"overfit", "prediction_collapse"} <= alone
    assert {"overfit", "prediction_collapse"} <= {f.rule for f in joined.findings} | {
        rule for f in joined.findings for rule in f.explains
    }


def test_what_an_earlier_look_read_is_kept_where_the_later_one_did_not_ask() -> None:
    before = Evidence(
        facts=Facts(readings=Readings(only_pools=True, short=None), opponents=Opponents(same_aim=("judge", "maker")))
    )
    during = Evidence(facts=Facts(readings=Readings(one_sequence=True)))
    joined = before.merge(during).facts
    assert joined is not None
    assert (joined.readings.only_pools, joined.readings.one_sequence) == (True, True)
    assert joined.opponents.same_aim == ("judge", "maker")
    assert Evidence.from_dict(json.loads(json.dumps(before.to_dict()))) == before
    older = before.to_dict()
    older["facts"] |= older["facts"].pop("opponents")  # as fields of `Facts`, but for those that are newer
    for name in ("unlimited_critic", "fixed_noise", "flat_where_sure", "held_twice", "idle_loss", "separate_losses", "undone"):
        older["facts"].pop(name, None)
    older["facts"]["moved_by_judge"] = older["facts"].pop("moved_by_critic")
    assert Evidence.from_dict(older) == before


def test_records_of_two_looks_are_in_order_and_once() -> None:
    early = Evidence(steps=steps(1, 5), samples=(Sample(step=1, layers=(), batch_size=8),), evaluations=evaluations()[:2])
    late = Evidence(
        steps=steps(4, 8),
        samples=(Sample(step=1, layers=(), batch_size=8), Sample(step=5, layers=())),
        evaluations=evaluations()[:4],
    )
    for joined in (early.merge(late), late.merge(early)):
        assert [record.step for record in joined.steps] == list(range(1, 9))
        assert [sample.step for sample in joined.samples] == [1, 5]
        assert joined.evaluations == late.evaluations


def test_the_later_look_counts_where_there_is_room_for_one() -> None:
    model, batches = looked_at()
    one, other = (probe(model, F.cross_entropy, *batch) for batch in batches)
    assert Evidence.of(one, other).probe is other
    assert Evidence(num_classes=4).merge(Evidence(num_classes=5)).num_classes == 5
    # What a probe was told about the optimizer is known, too.
    told = probe(model, F.cross_entropy, *batches[0], optimizer=torch.optim.SGD(model.parameters(), lr=0.1), clip=2.0)
    seen = Evidence(optimizer=OptimizerSettings(name="SGD", lr=0.05))
    assert Evidence(probe=told).merge(seen).optimizer == OptimizerSettings(name="SGD", lr=0.05, clip=2.0)


def test_a_step_that_is_not_a_number_equals_itself() -> None:
    one, other = (Evidence(steps=(StepRecord(step=1, loss=float("nan")),)) for _ in range(2))
    assert len(one.merge(other).steps) == 1


def test_two_trainings_are_not_one() -> None:
    with pytest.raises(ValueError, match="step 3 "):
        Evidence(steps=steps(1, 5)).merge(Evidence(steps=steps(3, 8, loss=1.0)))


def test_diagnose_takes_parts_or_evidence() -> None:
    model, batches = looked_at()
    parts = probe(model, F.cross_entropy, *batches[0]), audit_data(batches, num_classes=4), audit_metric(accuracy)
    whole = Evidence(probe=parts[0], data=parts[1], metric=parts[2])
    assert diagnose(*parts) == diagnose(whole)
    assert diagnose(parts[2], whole.merge(Evidence(metric=None)), parts[1]) == diagnose(whole)


@pytest.mark.parametrize("wrong", [None, 3, {"probe": None}, nn.Linear(2, 2), Evidence])
def test_diagnose_says_what_it_takes(wrong: object) -> None:
    with pytest.raises(ValueError, match="ProbeResult, DataAudit, MetricAudit"):
        diagnose(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ProbeResult, DataAudit, MetricAudit"):
        diagnose()


def test_evidence_of_an_older_version_counts_from_1() -> None:
    now = Evidence(steps=steps(1, 3), samples=(Sample(step=2, layers=()),), evaluations=evaluations()[:1])
    plain = now.to_dict()
    assert plain.pop("version") == 2
    for record in (*plain["steps"], *plain["samples"]):  # an evaluation's step was the number of steps before it, and is
        record["step"] -= 1
    assert Evidence.from_dict(plain) == now
    assert Evidence.from_dict(now.to_dict()) == now
    diagnosis = diagnose(now)
    older = {**diagnosis.to_dict(), "evidence": plain}
    assert Diagnosis.from_dict(older) == Diagnosis.from_dict(diagnosis.to_dict()) == diagnosis


@pytest.mark.parametrize("version", [3, "2", None])
def test_evidence_of_an_unknown_version_is_refused(version: object) -> None:
    with pytest.raises(ValueError, match=r"version .* 1 and 2"):
        Evidence.from_dict({"version": version})


def test_infinite_and_missing_numbers_survive() -> None:
    found = Evidence(steps=(StepRecord(step=1, loss=math.inf),))
    assert Evidence.from_dict(found.to_dict()) == found
