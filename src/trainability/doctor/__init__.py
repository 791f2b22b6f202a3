"""The doctor: says why a model will not train, on any PyTorch model and in anybody's loop.

report = probe(model, loss_fn, images, labels)
print(diagnose(Evidence(probe=report)))
"""

from .audit import audit_data, audit_metric
from .finding import (
    DataAudit,
    Diagnosis,
    Evaluation,
    Evidence,
    Finding,
    LayerStats,
    Measurement,
    MetricAudit,
    OptimizerSettings,
    ProbeResult,
)
from .monitor import Monitor
from .probe import optimizer_settings, probe
from .propagate import input_moments, predict
from .render import render_text
from .rules import RULES, diagnose
from .signal import expected_cross_entropy, gain_budget, plateau_steps, weight_moments
from .trace import trace

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
    "render_text",
    "trace",
    "weight_moments",
]
