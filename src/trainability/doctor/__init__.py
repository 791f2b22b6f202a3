"""The doctor: says why a model will not train, on any PyTorch model and in anybody's loop.

report = probe(model, loss_fn, images, labels)
print(diagnose(Evidence(probe=report)))
"""

from trainability.doctor.audit_results import DataAudit, MetricAudit
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import (
    Evaluation,
    Evidence,
    LayerStats,
    OptimizerSettings,
    ProbeResult,
)
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.measure.audits import audit_data, audit_metric
from trainability.doctor.measure.monitor import Monitor
from trainability.doctor.measure.optimizer_settings import optimizer_settings
from trainability.doctor.measure.probe import probe
from trainability.doctor.rules.catalogue import RULES, diagnose
from trainability.doctor.theory.propagation import input_moments, predict
from trainability.doctor.theory.signal import expected_cross_entropy, gain_budget, plateau_steps, weight_moments
from trainability.doctor.theory.trace import trace

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
