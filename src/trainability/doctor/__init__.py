"""The doctor: finds out why a model does not train, for any PyTorch model and any training loop.

report = probe(model, loss_fn, images, labels)
print(diagnose(Evidence(probe=report)))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainability.doctor.audit_results import AnswerForm as AnswerForm
    from trainability.doctor.audit_results import DataAudit as DataAudit
    from trainability.doctor.audit_results import MetricAudit as MetricAudit
    from trainability.doctor.diagnosis import Diagnosis as Diagnosis
    from trainability.doctor.evidence import Evaluation as Evaluation
    from trainability.doctor.evidence import Evidence as Evidence
    from trainability.doctor.evidence import OptimizerSettings as OptimizerSettings
    from trainability.doctor.evidence import ProbeResult as ProbeResult
    from trainability.doctor.finding import Finding as Finding
    from trainability.doctor.finding import Measurement as Measurement
    from trainability.doctor.layer_stats import LayerStats as LayerStats
    from trainability.doctor.measure.audits import audit_data as audit_data
    from trainability.doctor.measure.metric_audit import audit_metric as audit_metric
    from trainability.doctor.measure.monitor import Monitor as Monitor
    from trainability.doctor.measure.optimizer_settings import optimizer_settings as optimizer_settings
    from trainability.doctor.measure.probe import probe as probe
    from trainability.doctor.measure.probe import probe_step as probe_step
    from trainability.doctor.rules.catalogue import RULES as RULES
    from trainability.doctor.rules.catalogue import explain as explain
    from trainability.doctor.rules.verdict import diagnose as diagnose
    from trainability.doctor.theory.propagation import input_moments as input_moments
    from trainability.doctor.theory.propagation import predict as predict
    from trainability.doctor.theory.signal import expected_cross_entropy as expected_cross_entropy
    from trainability.doctor.theory.signal import gain_budget as gain_budget
    from trainability.doctor.theory.signal import plateau_steps as plateau_steps
    from trainability.doctor.theory.signal import weight_moments as weight_moments
    from trainability.doctor.theory.trace import trace as trace

_PUBLIC = {
    "AnswerForm": "audit_results",
    "RULES": "rules.catalogue",
    "DataAudit": "audit_results",
    "Diagnosis": "diagnosis",
    "Evaluation": "evidence",
    "Evidence": "evidence",
    "Finding": "finding",
    "LayerStats": "evidence",
    "Measurement": "finding",
    "MetricAudit": "audit_results",
    "Monitor": "measure.monitor",
    "OptimizerSettings": "evidence",
    "ProbeResult": "evidence",
    "audit_data": "measure.audits",
    "audit_metric": "measure.metric_audit",
    "diagnose": "rules.verdict",
    "expected_cross_entropy": "theory.signal",
    "explain": "rules.catalogue",
    "gain_budget": "theory.signal",
    "input_moments": "theory.propagation",
    "optimizer_settings": "measure.optimizer_settings",
    "plateau_steps": "theory.signal",
    "predict": "theory.propagation",
    "probe": "measure.probe",
    "probe_step": "measure.probe",
    "trace": "theory.trace",
    "weight_moments": "theory.signal",
}


def __getattr__(name: str) -> Any:
    # Imported on first access, so that `trainability explain` and the rules do not wait for torch.
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
