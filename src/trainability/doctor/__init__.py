"""The doctor: says why a model will not train, on any PyTorch model and in anybody's loop.

report = probe(model, loss_fn, images, labels)
print(diagnose(Evidence(probe=report)))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainability.doctor.diagnosis import Diagnosis
    from trainability.doctor.evidence import (
        DataAudit,
        Evaluation,
        Evidence,
        LayerStats,
        MetricAudit,
        OptimizerSettings,
        ProbeResult,
    )
    from trainability.doctor.finding import Finding, Measurement
    from trainability.doctor.measure.audits import audit_data, audit_metric
    from trainability.doctor.measure.monitor import Monitor
    from trainability.doctor.measure.probe import optimizer_settings, probe
    from trainability.doctor.rules.catalogue import RULES, diagnose
    from trainability.doctor.theory.propagation import input_moments, predict
    from trainability.doctor.theory.signal import expected_cross_entropy, gain_budget, plateau_steps, weight_moments
    from trainability.doctor.theory.trace import trace

# Public names are imported when they are asked for: what only reads or draws a diagnosis needs no torch.
_HOMES = {
    "DataAudit": "trainability.doctor.evidence",
    "Diagnosis": "trainability.doctor.diagnosis",
    "Evaluation": "trainability.doctor.evidence",
    "Evidence": "trainability.doctor.evidence",
    "Finding": "trainability.doctor.finding",
    "LayerStats": "trainability.doctor.evidence",
    "Measurement": "trainability.doctor.finding",
    "MetricAudit": "trainability.doctor.evidence",
    "Monitor": "trainability.doctor.measure.monitor",
    "OptimizerSettings": "trainability.doctor.evidence",
    "ProbeResult": "trainability.doctor.evidence",
    "RULES": "trainability.doctor.rules.catalogue",
    "audit_data": "trainability.doctor.measure.audits",
    "audit_metric": "trainability.doctor.measure.audits",
    "diagnose": "trainability.doctor.rules.catalogue",
    "expected_cross_entropy": "trainability.doctor.theory.signal",
    "gain_budget": "trainability.doctor.theory.signal",
    "input_moments": "trainability.doctor.theory.propagation",
    "optimizer_settings": "trainability.doctor.measure.probe",
    "plateau_steps": "trainability.doctor.theory.signal",
    "predict": "trainability.doctor.theory.propagation",
    "probe": "trainability.doctor.measure.probe",
    "trace": "trainability.doctor.theory.trace",
    "weight_moments": "trainability.doctor.theory.signal",
}
__all__ = [
    "RULES",
    "DataAudit",
    "Diagnosis",
    "Evaluation",
    "Evidence",
    "Finding",
    "LayerStats",
    "Measurement",
    "MetricAudit",
    "Monitor",
    "OptimizerSettings",
    "ProbeResult",
    "audit_data",
    "audit_metric",
    "diagnose",
    "expected_cross_entropy",
    "gain_budget",
    "input_moments",
    "optimizer_settings",
    "plateau_steps",
    "predict",
    "probe",
    "trace",
    "weight_moments",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
