"""Diagnoses as text and JSON; the doctor's imports."""

import ast
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trainability.doctor
from trainability.doctor import Diagnosis, Evidence, Monitor, audit_data, audit_metric, diagnose
from trainability.doctor.evidence import StepRecord
from trainability.doctor.layer_table import number
from trainability.doctor.measure.probe import probe
from trainability.doctor.text import WIDTH


def full_evidence() -> Evidence:
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(10) for m in (nn.Linear(16, 16), nn.ReLU())], nn.Linear(16, 4))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(64, 16), torch.arange(64) % 4
    report = probe(net, F.cross_entropy, images, labels, optimizer=optimizer)
    with Monitor(net, optimizer, every=2, num_classes=4) as monitor:
        for _ in range(4):
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    seen = vars(monitor.evidence())
    audited = {
        "data": audit_data([(images, labels)]),
        "metric": audit_metric(lambda z, y: (z.argmax(1) == y).float().mean()),
    }
    return Evidence(**{**seen, **audited, "probe": report})


def test_text_tells_verdict_cause_layers_remedy_and_what_was_not_checked():
    diagnosis = diagnose(full_evidence())
    text = str(diagnosis)
    assert text.startswith("DEAD: ")
    for part in ("error gain_budget_low", "limit 10^-5", "kaiming_normal_", "trainability explain gain_budget_low"):
        assert part in text
    for title in ("Layers at the start", "Layers at step 3", "Not checked"):
        assert title in text
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_evidence_and_diagnosis_round_trip_through_strict_json():
    evidence = full_evidence()
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict(), allow_nan=False))) == evidence
    diagnosis = diagnose(evidence)
    assert Diagnosis.from_dict(json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))) == diagnosis


def test_json_spells_what_is_not_finite():
    plain = Evidence(steps=(StepRecord(step=0, loss=float("inf")),)).to_dict()
    assert plain["steps"][0]["loss"] == "inf"
    assert Evidence.from_dict(plain).steps[0].loss == float("inf")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"steps": [{"step": 0, "loss": "much"}]}, r"Evidence.steps\[0\].loss: expected a number"),
        ({"steps": [{"loss": 1.0}]}, "step"),
        ({"steps": 3}, "expected a list"),
    ],
)
def test_a_record_that_does_not_fit_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        Evidence.from_dict(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (2.5, "2.5"), (123456.0, "1.2e+05"), (1e-7, "1.0e-07"), (float("inf"), "infinite"), (1200.0, "1,200")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_doctor_imports_torch_and_the_standard_library_only():
    folder = Path(trainability.doctor.__file__).parent
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name} has a relative import; the package's are absolute"
                names = [node.module or ""]
            else:
                continue
            roots = {name.partition(".")[0] for name in names if not f"{name}.".startswith("trainability.doctor.")}
            assert roots <= {"torch"} | sys.stdlib_module_names, f"{file.name} imports {roots}"
